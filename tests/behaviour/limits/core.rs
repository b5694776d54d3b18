//! The core of the limits, by its own files: it computes with numbers, without a clock.

// Not every test uses all of them.
#[allow(dead_code)]
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
    pub(super) use std::sync::atomic::{AtomicU64, Ordering};
}

mod give_backs;
mod rates;
mod totality;

/// Requests that a rate has admitted: when, and at what cost.
#[derive(Default)]
struct Admitted(Vec<(u64, u64)>);

impl Admitted {
    fn add(&mut self, at: u64, cost: u64) {
        self.0.push((at, cost));
    }

    /// Returns the first window in which more passed than a burst and what the rate fills up.
    fn excess(&self, increment: u64, burst: u64) -> Option<String> {
        for (place, (begin, _)) in self.0.iter().enumerate() {
            let mut sum = 0;
            for (end, cost) in &self.0[place..] {
                sum += cost;
                if sum * increment > burst * increment + (end - begin) {
                    return Some(format!("{sum} from {begin} to {end}"));
                }
            }
        }
        None
    }
}
