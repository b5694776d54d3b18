//! Tests rates: their bound in every window, the same verdicts as governor, and exact waits.

use std::{num::NonZeroU32, time::Duration};

use governor::{RateLimiter, clock::FakeRelativeClock};
use proptest::{collection::vec, prelude::*};

use super::{
    Admitted,
    calendar::Period,
    count::Count,
    gcra::{Full, Gcra, LEASE},
    lane::Lane,
    rule::{Now, Rule},
};

const SECOND: u64 = 1_000_000_000;

/// A pause, the thread that is next, and how many requests it serves: often a few, so that it keeps
/// some for later, and sometimes more than the burst.
fn lane_step() -> impl Strategy<Value = (u64, usize, usize)> {
    let pause = prop_oneof![Just(0), 0_u64..LEASE / 8, LEASE / 2..LEASE, 0_u64..20 * LEASE, Just(100 * SECOND)];
    (pause, 0_usize..3, prop_oneof![6 => 1_usize..8, 1 => 1_usize..400])
}

fn at(monotonic: u64) -> Now {
    Now { monotonic, wall: 0 }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    /// The clock stops, advances, and is set back.
    #[test]
    fn a_rate_admits_no_more_than_a_burst_and_its_rate_in_any_window(
        count in 1_u64..50, period in 1_u64..1000, burst in 1_u64..50,
        steps in vec((prop_oneof![Just(0), 0_u64..200], prop_oneof![3 => Just(0), 1 => 0_u64..100], 1_u64..6), 1..200),
    ) {
        let (rate, increment) = (Gcra::new(count, period, burst).unwrap(), period.div_ceil(count));
        let (mut latest, mut time, mut state, mut admitted) = (0, 1000_u64, 0, Admitted::default());
        for (forward, back, cost) in steps {
            time = time + forward - back.min(time);
            match rate.admit(state, time, cost, cost) {
                Ok(next) => {
                    state = next;
                    latest = latest.max(time);
                    admitted.add(latest, cost);
                }
                Err(Full::For(_)) => latest = latest.max(time),
                Err(Full::Forever) => prop_assert!(cost > burst),
                Err(Full::Ask) => prop_assert!(false, "a rate asks nobody"),
            }
        }
        prop_assert_eq!(admitted.excess(increment, burst), None);
    }

    /// Threads that take requests in advance use them later, for up to 10 ms.
    #[test]
    fn lanes_admit_no_more_than_a_burst_and_the_rate_in_any_window(
        increment in 300_000_u64..5_000_000, burst in 64_u64..300, steps in vec(lane_step(), 1..60),
    ) {
        let rate = Gcra::new(1, increment, burst).unwrap();
        let (count, lanes) = (Count::new(), [Lane::new(), Lane::new(), Lane::new()]);
        let (mut now, mut admitted) = (SECOND, Admitted::default());
        for (pause, thread, requests) in steps {
            now += pause;
            let passed = (0..requests).filter(|_| lanes[thread].charge(&count, u32::try_from(thread).unwrap() + 1, rate, now).is_ok());
            admitted.add(now, passed.count() as u64);
        }
        prop_assert_eq!(admitted.excess(increment, burst), None);
    }

    #[test]
    fn a_rate_gives_the_verdicts_and_the_waits_of_governor(
        increment in 1_u64..500_000_000, burst in 1_u32..30, steps in vec((0_u64..2_000_000_000, 1_u32..4), 1..200),
    ) {
        let clock = FakeRelativeClock::default();
        let quota = governor::Quota::with_period(Duration::from_nanos(increment)).unwrap();
        let quota = quota.allow_burst(NonZeroU32::new(burst).unwrap());
        let theirs = RateLimiter::direct_with_clock(quota, clock.clone());
        let ours = Gcra::new(1, increment, burst.into()).unwrap();
        let (mut now, mut state) = (0, 0);
        for (pause, cost) in steps {
            clock.advance(Duration::from_nanos(pause));
            now += pause;
            let our = ours.admit(state, now, cost.into(), cost.into());
            match theirs.check_n(NonZeroU32::new(cost).unwrap()) {
                Ok(Ok(())) => state = our.unwrap(),
                Ok(Err(until)) => {
                    let wait = until.wait_time_from(governor::clock::Clock::now(&clock)).as_nanos();
                    prop_assert_eq!(our, Err(Full::For(u64::try_from(wait).unwrap())));
                }
                Err(_) => prop_assert_eq!(our, Err(Full::Forever)),
            }
        }
    }

    #[test]
    fn who_waits_as_long_as_a_rate_says_passes_and_not_before(
        count in 1_u64..50, period in 1_u64..1000, burst in 1_u64..50, whole in 1_u64..10, part in 1_u64..10,
        now in 0_u64..1_000_000, used in 0_u64..200, pause in 0_u64..1000,
    ) {
        let rule = Rule::Rate(Gcra::new(count, period, burst).unwrap());
        // The charges may go into debt.
        let (state, now, part) = (rule.charge(0, at(now), used), now + pause, part.min(whole));
        match rule.admit(state, at(now), part, whole) {
            Ok(_) => {}
            Err(Full::For(wait)) => {
                prop_assert!(rule.admit(state, at(now + wait), part, whole).is_ok());
                prop_assert_eq!(rule.admit(state, at(now + wait - 1), part, whole), Err(Full::For(1)));
            }
            Err(Full::Forever) => {
                prop_assert!(whole > burst);
                prop_assert_eq!(rule.admit(0, at(u64::MAX / 4), part, whole), Err(Full::Forever));
            }
            Err(Full::Ask) => prop_assert!(false, "a rate asks nobody"),
        }
    }

    #[test]
    fn who_waits_as_long_as_a_quota_says_passes_and_not_before(
        most in 1_u64..50, first in 1_u8..=31, used in 0_u64..80, whole in 1_u64..60, part in 1_u64..10,
        wall in 0_u64..8_000_000_000,
    ) {
        let day = Period::Week(first % 7 + 1);
        for period in [Period::Day, day, Period::Month(first)] {
            let (rule, now) = (Rule::Quota { most, period }, Now { monotonic: 0, wall });
            let (state, part) = (rule.charge(0, now, used), part.min(whole));
            match rule.admit(state, now, part, whole) {
                Ok(_) => prop_assert!(used + part <= most),
                Err(Full::For(wait)) => {
                    prop_assert!(used + part > most && wait % SECOND == 0);
                    let later = |seconds| Now { monotonic: 0, wall: wall + seconds };
                    prop_assert!(rule.admit(state, later(wait / SECOND), part, whole).is_ok());
                    prop_assert_eq!(rule.admit(state, later(wait / SECOND - 1), part, whole), Err(Full::For(SECOND)));
                }
                Err(Full::Forever) => prop_assert!(whole > most),
                Err(Full::Ask) => prop_assert!(false, "a quota asks nobody"),
            }
        }
    }

    /// That threads keep requests changes no number that a caller sees.
    #[test]
    fn a_rate_says_the_same_of_requests_that_threads_keep(
        increment in 1_u64..1000, burst in 2_u64..200, taken in 1_u64..100, now in 0_u64..1_000_000, pause in 0_u64..200_000,
    ) {
        let rate = Gcra::new(1, increment, burst).unwrap();
        let taken = taken.min(burst / 2);
        let [kept, used] = [rate.lease(0, now, taken).unwrap(), rate.admit(0, now, taken, taken).unwrap()];
        prop_assert_ne!(kept, used);
        let says = |state| {
            let (rule, now) = (Rule::Rate(rate), at(now + pause));
            (rule.remaining(state, now), rule.full_after(state, now), rule.more_after(state, now))
        };
        prop_assert_eq!(says(kept), says(used));
    }

    /// What a rate says is left is what passes.
    #[test]
    fn as_many_pass_as_a_limit_says_are_left(
        count in 1_u64..50, period in 1_u64..1000, burst in 0_u64..50, now in 0_u64..10_000, used in 0_u64..60, pause in 0_u64..500,
    ) {
        for rule in [
            Rule::Rate(Gcra::new(count, period, burst).unwrap()),
            Rule::Quota { most: burst, period: Period::Day },
            Rule::Concurrency { most: burst },
        ] {
            let mut state = rule.charge(0, at(now), used);
            let now = at(now + pause);
            let left = rule.remaining(state, now);
            let mut passed = 0;
            while let Ok(next) = rule.admit(state, now, 1, 1) {
                (state, passed) = (next, passed + 1);
            }
            prop_assert_eq!(passed, left);
            prop_assert!(passed <= rule.most());
        }
    }
}

#[test]
fn an_increment_is_rounded_up_so_that_a_rate_admits_no_more() {
    let rate = Gcra::new(3, 10, 1).unwrap();
    let state = rate.admit(0, 100, 1, 1).unwrap();
    assert_eq!((state, rate.admit(state, 103, 1, 1)), (104, Err(Full::For(1))));
    assert_eq!(rate.admit(state, 104, 1, 1), Ok(108));
}
