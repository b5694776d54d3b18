#![allow(dead_code)]
#[path = "../src/gcra.rs"] mod gcra;
#[path = "../src/calendar.rs"] mod calendar;
#[path = "../src/rule.rs"] mod rule;
#[path = "../src/count.rs"] mod count;
mod atomics { pub(super) use loom::sync::atomic::{AtomicU64, Ordering}; }
use count::*; use rule::*; use gcra::*;
use loom::{sync::{Arc, atomic::{AtomicU64, Ordering}}, thread};

/// Two requests race for the last of two limits. A third limit of its own is full for one of them, later in the order.
#[test]
fn two_threads_two_limits() {
    loom::model(|| {
        let hour = 3_600_000_000_000;
        let rate = |burst| Rule::Rate(Gcra::new(1, hour, burst).unwrap());
        let counts = Arc::new([Count::new(), Count::new()]);
        let time = Arc::new(AtomicU64::new(1));
        let run = |first: Rule, second: Rule| {
            let (counts, time) = (Arc::clone(&counts), Arc::clone(&time));
            thread::spawn(move || {
                let read = || Now { monotonic: time.fetch_add(1, Ordering::SeqCst), wall: 0 };
                let charges = [Charge { count: &counts[0], rule: first, cost: 1, whole: 1 }, Charge { count: &counts[1], rule: second, cost: 1, whole: 1 }];
                take(&charges, read(), &mut Default::default(), read)
            })
        };
        let one = run(rate(2), rate(1));
        let other = run(rate(2), rate(1));
        let passed = usize::from(one.join().unwrap()) + usize::from(other.join().unwrap());
        assert_eq!(passed, 1);
        let now = Now { monotonic: 100, wall: 0 };
        // the loser left nothing in the first limit
        assert_eq!(rate(2).remaining(counts[0].state(), now), 1);
        assert_eq!(rate(1).remaining(counts[1].state(), now), 0);
    });
}
