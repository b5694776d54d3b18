//! Limits of one process.

use std::{collections::HashMap, fmt, sync::Arc, time::SystemTime};

use super::{
    clock::LimitClock,
    counts::Counts,
    limiter::Limiter,
    metered::MOST_LIMITS,
    plans::{Limit, Plans, Subject},
    refillers::Refillers,
    registry,
    remaining::Remaining,
    rule::Kind,
};
use crate::{
    error::ConfigError,
    record::{KeyRecord, is_limit_name},
};

/// Limits that a layer applies: see
/// [`ApiKeyLayerBuilder::limits`](crate::layer::ApiKeyLayerBuilder::limits). A clone counts
/// together with the original. [`Plans`] has an example.
#[derive(Clone)]
pub struct Limits(Arc<Limiter>);

/// Builds [`Limits`].
#[must_use = "a builder does nothing until it is built"]
pub struct LimitsBuilder {
    plans: Plans,
    clock: LimitClock,
}

// === impl Limits ===

impl Limits {
    /// Returns a builder of limits that count in this process. They are exact for one process; with
    /// several, each has its own counts. [`Plans`] has an example.
    pub fn in_process(plans: Plans) -> LimitsBuilder {
        LimitsBuilder { plans, clock: LimitClock::system() }
    }

    /// Returns what is left of the limits of a record in this process: those of the key first, then
    /// those of its owner and of its organization. Charges nothing.
    ///
    /// ```
    /// use tower_api_key::{KeyRecord, limit::{Limit, Limits, Plans, Quota}};
    ///
    /// # fn main() -> Result<(), tower_api_key::ConfigError> {
    /// let plans = Plans::new().plan("free", [Limit::quota("daily", Quota::per_day(10_000))]);
    /// let limits = Limits::in_process(plans).build()?;
    /// let record = KeyRecord::new("k1", [7; 32]).with_plan("free");
    /// assert_eq!(limits.remaining(&record).unwrap()[0].requests, 10_000);
    /// assert!(limits.remaining(&record.with_plan("fre")).is_none());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Returns `None` if the record names an unknown plan.
    pub fn remaining(&self, record: &KeyRecord) -> Option<Vec<Remaining>> {
        self.0.remaining(record)
    }

    pub(crate) fn limiter(&self) -> &Arc<Limiter> {
        &self.0
    }
}

impl fmt::Debug for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limits").field("counts", &self.0.counts.len()).finish_non_exhaustive()
    }
}

// === impl LimitsBuilder ===

impl LimitsBuilder {
    /// Reads the time from `now`, for tests. The clock of a layer has no effect on its limits.
    ///
    /// ```
    /// use std::time::{Duration, SystemTime};
    /// use tower_api_key::limit::{Limits, Plans};
    ///
    /// let noon = SystemTime::UNIX_EPOCH + Duration::from_secs(12 * 3600);
    /// let limits = Limits::in_process(Plans::new()).clock(move || noon).build();
    /// ```
    pub fn clock(mut self, now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        self.clock = LimitClock::new(now);
        self
    }

    /// Checks the plans. [`Plans`] has an example.
    ///
    /// # Errors
    ///
    /// Returns [`ConfigError::Limit`] for
    ///
    /// - a rate above 1,000,000,000 a second, with a period of zero or above 366 days, or with a
    ///   burst that takes more than 73 years to fill up,
    /// - a quota above 17,592,186,044,415, or one whose first day is out of range,
    /// - a name of a limit that the plan has twice, or that is not 1 to 64 visible ASCII characters
    ///   without `"` and `\`.
    ///
    /// Returns [`ConfigError::Plan`] for two plans of one name, for a name of a plan that is not 1
    /// to 64 visible ASCII characters, for a plan with more than 4 limits
    /// of all requests, or 4 limits for routes, and for a default plan that does not exist.
    pub fn build(self) -> Result<Limits, ConfigError> {
        build(self.plans, self.clock, None)
    }
}

/// Checks plans, and builds limits with them.
pub(super) fn build(all: Plans, clock: LimitClock, refillers: Option<Refillers>) -> Result<Limits, ConfigError> {
    let mut plans = HashMap::new();
    for (name, mut limits) in all.plans {
        let wrong = |why: &str| ConfigError::Plan(name.to_string(), why.to_owned());
        if !is_limit_name(&name) {
            return Err(wrong("a name has 1 to 64 visible characters of ASCII"));
        }
        check(&name, &limits, refillers.as_ref())?;
        for is_for_routes in [false, true] {
            if limits.iter().filter(|limit| limit.is_for_routes == is_for_routes).count() > MOST_LIMITS {
                return Err(wrong("a plan has at most 4 limits of all requests, and 4 limits for routes"));
            }
        }
        limits.sort_by_key(|limit| match limit.subject {
            Subject::Key => 0,
            Subject::Owner => 1,
            Subject::Organization => 2,
        });
        if plans.contains_key(&name) {
            return Err(wrong("two plans have this name"));
        }
        plans.insert(name, Arc::from(limits));
    }
    let default = match all.default {
        Some(name) => {
            let why = || "it is the default plan, but it is not in the list".to_owned();
            Some(plans.get(&name).cloned().ok_or_else(|| ConfigError::Plan(name.into(), why()))?)
        }
        None => None,
    };
    let limiter = Arc::new(Limiter::new(plans, default, Counts::new(), clock, refillers));
    registry::add(&limiter);
    Ok(Limits(limiter))
}

/// Checks the limits of one plan.
fn check(plan: &str, limits: &[Limit], refillers: Option<&Refillers>) -> Result<(), ConfigError> {
    for (place, limit) in limits.iter().enumerate() {
        let wrong = |why: &str| ConfigError::Limit(limit.in_plan(plan), why.to_owned());
        let rule = limit.rule().map_err(wrong)?;
        if rule.kind() == Kind::Credits && refillers.is_none() {
            return Err(wrong("credits need a store of meters: build the limits with `Limits::leased`"));
        }
        if rule.kind().is_allowance() && refillers.is_some_and(|all| !all.of_allowances().store().keeps_allowances()) {
            return Err(wrong(
                "the store of meters keeps rates alone: give `Limits::leased` a store such as `PostgresStore`, and this \
                one to `rates_in`",
            ));
        }
        if !is_limit_name(&limit.name) || limit.name.contains(['"', '\\']) {
            return Err(wrong("a name has 1 to 64 visible characters of ASCII, without \" and \\"));
        }
        if limits[..place].iter().any(|other| other.name == limit.name) {
            return Err(wrong("two limits of the plan have this name"));
        }
    }
    Ok(())
}

impl fmt::Debug for LimitsBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LimitsBuilder").field("plans", &self.plans).finish_non_exhaustive()
    }
}
