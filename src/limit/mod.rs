//! Limits: how much a key may ask for.
//!
//! A [plan](Plans) is a named list of limits, and the record of a key names its plan. There are
//! three kinds of limits. A [`Rate`] protects the service: so many requests in a time, with a burst.
//! A [`Quota`] is an allowance: so many requests in a day, week or month of the calendar.
//! [`Limit::concurrency`] bounds the requests at the same time.

mod calendar;
mod count;
mod counts;
mod failures;
mod gcra;
mod limits;
mod metered;
mod plans;
mod rule;

mod atomics {
    pub(super) use std::sync::atomic::{AtomicU64, Ordering};
}

pub use failures::FailureLimit;
pub(crate) use failures::Failures;
pub(crate) use limits::{Admitted, Limiter};
pub use limits::{Limits, LimitsBuilder, Remaining};
pub(crate) use metered::Metered;
pub use plans::{Limit, Plans, Quota, Rate, Subject};
