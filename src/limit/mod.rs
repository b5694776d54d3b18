//! Limits on the requests of a key.
//!
//! A [plan](Plans) is a named list of limits, and the record of a key names its plan. There are
//! four kinds of limits. A [`Rate`] protects the service: so many requests in a time, with a
//! burst. A [`Quota`] is an allowance: so many requests in a day, week or month of the calendar.
//! [`Limit::credits`] is a balance that is topped up and spent. [`Limit::concurrency`] bounds the
//! requests at the same time.
//!
//! Limits count [in one process](Limits::in_process), or on [many nodes](Limits::leased) that take
//! units from one store of meters.
//!
//! # Logs and metrics
//!
//! A node logs once when the store of meters begins to fail, and once when it works again, as an
//! `ERROR` and an `INFO` event with the target `tower_api_key` (feature `tracing`), otherwise as a
//! line on standard error.
//!
//! | metric (feature `metrics`)   | labels    | value                                                |
//! |------------------------------|-----------|------------------------------------------------------|
//! | `api_key_lease_calls_total`  | `outcome` | background calls of the store: `ok`, `failed`        |
//! | `api_key_lease_seconds`      |           | histogram: how long they take                        |
//! | `api_key_leased_units_total` | `limit`   | units that the store has granted this node           |
//! | `api_key_lost_credits_total` |           | credits that this node has written off, of any node  |
//! | `api_key_outage_units_total` |           | units that this node has admitted without the store  |
//!
//! The last one counts what [`Outage::Share`] and [`Outage::Open`] admit.

mod calendar;
mod checked;
mod clock;
mod count;
mod counts;
mod demand;
mod erased_meters;
mod failures;
mod fields;
mod gcra;
mod lane;
mod lease_log;
mod leased;
mod leasing;
mod ledger;
mod limiter;
mod limits;
mod meter;
#[cfg_attr(not(feature = "sqlite"), allow(dead_code, reason = "only a store in Rust keeps this state"))]
mod meter_state;
mod metered;
mod meters;
mod numbers;
mod outage;
mod permit;
mod plans;
mod principal;
mod refiller;
mod refillers;
mod refused;
mod registry;
mod remaining;
mod reservation;
mod rule;
mod slice;
mod states;
mod taken;
mod unpaid;
#[cfg(feature = "valkey")]
mod valkey;

mod atomics {
    pub(super) use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
}

pub use calendar::Period;
pub use failures::FailureLimit;
pub(crate) use failures::Failures;
pub use fields::{FieldsForm, RateLimitFields};
pub use leasing::LeasedLimitsBuilder;
pub use ledger::MeterError;
pub(crate) use limiter::{Admitted, RouteCharge};
pub use limits::{Limits, LimitsBuilder};
pub use meter::{Ask, Balance, Grant, LeaseId, MeterId, MeterRule, Return, TopUp, TopUpId};
#[cfg(feature = "sqlite")]
pub(crate) use meter_state::MeterState;
pub(crate) use metered::Metered;
pub use meters::MeterStore;
pub use numbers::{Quota, Rate, Refill};
pub use outage::Outage;
pub(crate) use permit::Permit;
pub use plans::{Limit, Plans, Subject};
pub use remaining::Remaining;
pub use reservation::Reservation;
pub(crate) use taken::Taken;
pub(crate) use unpaid::Unpaid;
#[cfg(feature = "valkey")]
pub use valkey::{ValkeyError, ValkeyRates};
