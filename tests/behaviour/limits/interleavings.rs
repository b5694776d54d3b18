//! Tests the charge of several limits under loom, over all interleavings of two threads. Includes the
//! library's own files, with loom's atomics.

// Not every test uses all of them.
#[allow(dead_code, unreachable_pub)]
#[path = "../../../src/limit/calendar.rs"]
mod calendar;
#[allow(dead_code)]
#[path = "../../../src/limit/count.rs"]
mod count;
#[allow(dead_code)]
#[path = "../../../src/limit/gcra.rs"]
mod gcra;
#[allow(dead_code)]
#[path = "../../../src/limit/lane.rs"]
mod lane;
#[allow(dead_code)]
#[path = "../../../src/limit/rule.rs"]
mod rule;

mod atomics {
    pub(super) use loom::sync::atomic::{AtomicU64, Ordering};
}

use calendar::Period;
use count::{Charge, Count, take};
use gcra::Gcra;
use lane::Lane;
use loom::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};
use rule::{Now, Rule};

const HOUR: u64 = 3_600_000_000_000;
const DAY: u64 = 86_400;

/// A burst of so many requests, one an hour.
fn rate(burst: u64) -> Rule {
    Rule::Rate(Gcra::new(1, HOUR, burst).unwrap())
}

fn quota(most: u64) -> Rule {
    Rule::Quota { most, period: Period::Day }
}

fn places(most: u64) -> Rule {
    Rule::Concurrency { most }
}

fn now() -> Now {
    Now { monotonic: 1, wall: 20_000 * DAY }
}

/// Charges these counts by a request of cost 1. The clock advances before the charge is undone.
fn request(counts: &[Count; 2], rules: [Rule; 2], clock: &AtomicU64) -> bool {
    let charges = counts.iter().zip(rules).map(|(count, rule)| Charge { count, lane: None, rule, cost: 1, whole: 1 });
    let later = || Now { monotonic: clock.fetch_add(1, Ordering::SeqCst), ..now() };
    take(charges, now(), &mut [0; 2], later)
}

/// Runs a request in each of two threads, which charge the same two counts. Asserts how many pass,
/// and what is left in both counts.
#[track_caller]
fn race(rules: [Rule; 2], expected: u64, left: [u64; 2]) {
    loom::model(move || {
        let counts = Arc::new([Count::new(), Count::new()]);
        let clock = Arc::new(AtomicU64::new(1));
        let run = || {
            let (counts, clock) = (Arc::clone(&counts), Arc::clone(&clock));
            thread::spawn(move || request(&counts, rules, &clock))
        };
        let threads = [run(), run()];
        let passed: u64 = threads.into_iter().map(|thread| u64::from(thread.join().unwrap())).sum();
        assert_eq!(passed, expected);
        let now = Now { monotonic: 100, ..now() };
        assert_eq!([0, 1].map(|place| rules[place].remaining(counts[place].state(), now)), left);
    });
}

#[test]
fn of_two_threads_one_gets_the_last_of_two_limits_and_the_other_leaves_nothing_behind() {
    for (first, second) in [
        (rate(2), rate(1)),
        (quota(2), quota(1)),
        (quota(2), rate(1)),
        (rate(2), quota(1)),
        (places(2), quota(1)),
        (rate(2), places(1)),
        (quota(2), places(1)),
    ] {
        race([first, second], 1, [1, 0]);
    }
}

#[test]
fn two_threads_share_what_is_enough_for_both() {
    race([rate(2), quota(2)], 2, [0, 0]);
    race([rate(3), places(2)], 2, [1, 0]);
    race([rate(1), quota(1)], 1, [0, 0]);
}

/// One gives back while the other is charged. The other may be refused, but the count is exact.
#[test]
fn a_charge_that_is_given_back_in_another_thread_leaves_nothing_behind() {
    for rule in [rate(1), quota(1), places(1)] {
        loom::model(move || {
            let count = Arc::new(Count::new());
            let charged = count.change(|state| rule.admit(state, now(), 1, 1)).unwrap();
            let receipt = rule.receipt(charged, now(), 1);
            let other = Arc::clone(&count);
            let thread = thread::spawn(move || other.change(|state| rule.admit(state, now(), 1, 1)).is_ok());
            count.set(|state| rule.give_back(state, receipt, now(), 1));
            let passed = thread.join().unwrap();
            assert_eq!(rule.remaining(count.state(), now()), u64::from(!passed));
        });
    }
}

/// Threads that take requests in advance admit no more than the burst. At most three preemptions.
#[test]
fn lanes_of_two_threads_admit_no_more_than_the_burst() {
    const BURST: u64 = 64;
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let gcra = Gcra::new(1, HOUR, BURST).unwrap();
        assert_eq!(gcra.most_leased(), 2);
        // Requests are taken in advance as long as half of the burst is left: here by one thread only.
        let count = Arc::new(Count::new());
        count.set(|_| gcra.charge(0, 1, BURST / 2 - 4));
        let run = |number: u64| {
            let count = Arc::clone(&count);
            thread::spawn(move || {
                let lane = Lane::new();
                let passed = (0..4).filter(|_| lane.charge(&count, number, gcra, 1).is_ok()).count();
                (passed, u64::from(lane.has_one(1)))
            })
        };
        let threads = [run(1), run(2)].map(|thread| thread.join().unwrap());
        assert_eq!(threads.map(|(passed, _)| passed), [4, 4]);
        let in_advance = threads.iter().map(|(_, held)| held).sum::<u64>();
        let used = BURST / 2 + 4 + in_advance;
        assert_eq!(gcra.remaining(count.state(), 1), BURST - used);
    });
}
