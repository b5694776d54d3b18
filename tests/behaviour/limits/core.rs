//! The core of the limits, by its own files: it computes with numbers, without a clock.
//!
//! Each of these changes of the core was made once, and fails the test that is named:
//!
//! - `max` left out of `Gcra::after`, `<` in place of `<=` in a rate:
//!   `rates::a_rate_gives_the_verdicts_and_the_waits_of_governor`;
//! - `<` in place of `<=` in a quota, and in a number of requests at the same time:
//!   `rates::as_many_pass_as_a_limit_says_are_left`;
//! - an increment that is rounded down:
//!   `rates::an_increment_is_rounded_up_so_that_a_rate_admits_no_more`;
//! - requests of a lane that do not shorten the burst, or that are kept for ever:
//!   `rates::lanes_admit_no_more_than_a_burst_and_the_rate_in_any_window`;
//! - a period that includes its end:
//!   `rates::who_waits_as_long_as_a_quota_says_passes_and_not_before`;
//! - a day or a month that ends a day late:
//!   `calendar::tests::periods_follow_each_other_without_a_gap_on_every_day_from_2024_to_2028`;
//! - no look at all counts before the first is charged:
//!   `give_backs::a_rejected_request_leaves_no_charge_behind`;
//! - no undo of the earlier charges: the same, and
//!   `of_two_threads_one_gets_the_last_of_two_limits_and_the_other_leaves_nothing_behind`;
//! - `give_back` without `min`:
//!   `give_backs::a_rate_admits_no_more_than_without_the_charges_that_are_given_back`;
//! - a quota that is given back in a later period:
//!   `give_backs::a_quota_counts_exactly_what_is_not_given_back_in_its_period`.

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
