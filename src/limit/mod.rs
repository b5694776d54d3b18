//! Limits on the requests of a key.
//!
//! A [plan](Plans) is a named list of limits, and the record of a key names its plan. There are
//! three kinds of limits. A [`Rate`] protects the service: so many requests in a time, with a
//! burst. A [`Quota`] is an allowance: so many requests in a day, week or month of the calendar.
//! [`Limit::concurrency`] bounds the requests at the same time.

mod calendar;
mod checked;
mod clock;
mod count;
mod counts;
mod failures;
mod fields;
mod gcra;
mod lane;
mod limiter;
mod limits;
mod meter;
#[cfg_attr(not(feature = "sqlite"), allow(dead_code, reason = "only a store in Rust keeps this state"))]
mod meter_state;
mod meter_store;
mod metered;
mod numbers;
mod permit;
mod plans;
mod principal;
mod refused;
mod registry;
mod remaining;
mod reservation;
mod rule;
mod states;
mod taken;

mod atomics {
    pub(super) use std::sync::atomic::{AtomicU64, Ordering};
}

pub use calendar::Period;
pub use failures::FailureLimit;
pub(crate) use failures::Failures;
pub use fields::{FieldsForm, RateLimitFields};
pub(crate) use limiter::{Admitted, RouteCharge};
pub use limits::{Limits, LimitsBuilder};
pub use meter::{Ask, Balance, Grant, LeaseId, MeterId, MeterRule, Refill, Return, TopUp, TopUpId};
#[cfg(feature = "sqlite")]
pub(crate) use meter_state::MeterState;
pub use meter_store::MeterStore;
pub(crate) use metered::Metered;
pub use numbers::{Quota, Rate};
pub(crate) use permit::Permit;
pub use plans::{Limit, Plans, Subject};
pub use remaining::Remaining;
pub use reservation::Reservation;
pub(crate) use taken::Taken;
