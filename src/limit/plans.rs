//! Plans: named lists of limits, which the application writes.

use std::{sync::Arc, time::Duration};

use super::{
    calendar::Period,
    gcra::Gcra,
    rule::{MOST, Rule},
};

/// The plans of an application. A record names its plan: see
/// [`KeyRecord::with_plan`](crate::KeyRecord::with_plan).
///
/// ```
/// use tower_api_key::limit::{Limit, Limits, Plans, Quota, Rate, Subject};
///
/// # fn main() -> Result<(), tower_api_key::ConfigError> {
/// let plans = Plans::new()
///     .plan("free", [
///         Limit::rate("burst", Rate::per_second(10).burst(20)),
///         Limit::quota("daily", Quota::per_day(10_000)),
///     ])
///     .plan("pro", [
///         Limit::rate("burst", Rate::per_second(100)),
///         Limit::rate("organization", Rate::per_second(500)).shared_by(Subject::Organization),
///     ])
///     .default_plan("free");
/// let limits = Limits::in_process(plans).build()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "plans do nothing until limits are built with them"]
pub struct Plans {
    pub(super) plans: Vec<(Box<str>, Vec<Limit>)>,
    pub(super) default: Option<Box<str>>,
}

/// One limit of a plan.
///
/// Its name is sent to clients, and identifies its count: a limit of the same name in another plan
/// goes on with the same count, unless it is a rate with other numbers.
#[derive(Clone, Debug)]
#[must_use = "a limit does nothing until it is part of a plan"]
pub struct Limit {
    pub(super) name: Box<str>,
    /// The name as a list of one, for rejections.
    pub(super) alone: Arc<[Box<str>]>,
    pub(super) kind: LimitKind,
    pub(super) subject: Subject,
    pub(super) is_for_routes: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LimitKind {
    Rate(Rate),
    Quota(Quota),
    Concurrency(u32),
}

/// Whose requests a limit counts together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Subject {
    /// Those of one key, and of the keys that replace it.
    #[default]
    Key,
    /// Those of all keys of the owner, in the key's organization. For a key without an owner,
    /// those of the key.
    Owner,
    /// Those of all keys of the organization. For a key without an organization, those of the key.
    Organization,
}

/// So many requests in a time, with a burst: it protects the service.
///
/// A rate fills up evenly: `Rate::per_minute(60)` allows one more request each second. In any time
/// T it admits at most `burst + rate × T` requests, by the generic cell rate algorithm (GCRA).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a rate does nothing until it is part of a limit"]
pub struct Rate {
    count: u64,
    period: Duration,
    burst: Option<u64>,
}

/// So many requests in a day, a week or a month of the calendar, in UTC.
///
/// A quota counts exactly. It is full again when the next period begins, so a caller may spend two
/// quotas one after the other around that time; a [`Rate`] beside it limits that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a quota does nothing until it is part of a limit"]
pub struct Quota {
    count: u64,
    period: Period,
}

const YEAR: Duration = Duration::from_hours(366 * 24);

// === impl Subject ===

impl Subject {
    /// Returns a name for a log or a document: `key`, `owner` or `organization`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Owner => "owner",
            Self::Organization => "organization",
        }
    }
}

// === impl Plans ===

impl Plans {
    /// Returns no plans. The type's documentation has an example.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a plan. An empty list of limits is a plan without limits. The type's documentation has
    /// an example.
    pub fn plan(mut self, name: impl Into<String>, limits: impl IntoIterator<Item = Limit>) -> Self {
        self.plans.push((name.into().into(), limits.into_iter().collect()));
        self
    }

    /// Sets the plan of records that name none. Without it they have no limits. The type's
    /// documentation has an example.
    pub fn default_plan(mut self, name: impl Into<String>) -> Self {
        self.default = Some(name.into().into());
        self
    }
}

// === impl Limit ===

impl Limit {
    /// Limits the rate of requests. [`Plans`] has an example.
    pub fn rate(name: impl Into<String>, rate: Rate) -> Self {
        Self::new(name, LimitKind::Rate(rate))
    }

    /// Limits the number of requests in a period of the calendar. [`Plans`] has an example.
    pub fn quota(name: impl Into<String>, quota: Quota) -> Self {
        Self::new(name, LimitKind::Quota(quota))
    }

    /// Limits the number of requests at the same time. A request counts until the body of its
    /// response has ended, also if it is a stream.
    ///
    /// ```
    /// use tower_api_key::limit::{Limit, Plans};
    ///
    /// Plans::new().plan("free", [Limit::concurrency("streams", 2)]);
    /// ```
    pub fn concurrency(name: impl Into<String>, most: u32) -> Self {
        Self::new(name, LimitKind::Concurrency(most))
    }

    /// Sets whose requests are counted together. The default is [`Subject::Key`]. [`Plans`] has an
    /// example.
    pub fn shared_by(mut self, subject: Subject) -> Self {
        self.subject = subject;
        self
    }

    /// Counts only requests for routes that name this limit:
    /// [`Require::limited_by`](crate::Require::limited_by) has an example.
    pub fn for_routes(mut self) -> Self {
        self.is_for_routes = true;
        self
    }

    fn new(name: impl Into<String>, kind: LimitKind) -> Self {
        let name: Box<str> = name.into().into();
        Self { alone: [name.clone()].into(), name, kind, subject: Subject::Key, is_for_routes: false }
    }

    /// Returns the largest cost that passes; `None` if the cost does not matter.
    pub(super) fn most_cost(&self) -> Option<u64> {
        match self.rule(None).ok()? {
            Rule::Concurrency { .. } => None,
            rule @ (Rule::Rate(_) | Rule::Quota { .. }) => Some(rule.most()),
        }
    }

    /// Returns the rule of the limit, for a record that has `number` in place of the limit's own
    /// number. Returns what is wrong with the numbers.
    pub(super) fn rule(&self, number: Option<u64>) -> Result<Rule, &'static str> {
        match self.kind {
            LimitKind::Rate(Rate { count, period, burst }) => {
                let count = number.unwrap_or(count);
                let nanos = u64::try_from(period.as_nanos()).ok().filter(|_| period <= YEAR && !period.is_zero());
                let nanos = nanos.ok_or("the period of a rate is above zero and at most 366 days")?;
                if u128::from(count) > period.as_nanos() {
                    return Err("a rate has at most 1,000,000,000 requests a second");
                }
                let rate = Gcra::new(count, nanos, burst.unwrap_or(count));
                rate.map(Rule::Rate).ok_or("a burst takes at most 146 years to fill up")
            }
            LimitKind::Quota(Quota { count, period }) => {
                let is_valid = match period {
                    Period::Day => true,
                    Period::Week(first) => (1..=7).contains(&first),
                    Period::Month(first) => (1..=31).contains(&first),
                };
                let most = number.unwrap_or(count);
                match (is_valid, most <= MOST) {
                    (false, _) => Err("a month begins on day 1 to 31, a week on day 1 (Monday) to 7"),
                    (_, false) => Err("a quota is at most 17,592,186,044,415"),
                    _ => Ok(Rule::Quota { most, period }),
                }
            }
            LimitKind::Concurrency(most) => Ok(Rule::Concurrency { most: number.unwrap_or(most.into()) }),
        }
    }
}

// === impl Rate ===

impl Rate {
    /// Allows so many requests a second. [`Plans`] has an example.
    pub const fn per_second(count: u64) -> Self {
        Self::per(count, Duration::from_secs(1))
    }

    /// Allows so many requests a minute.
    pub const fn per_minute(count: u64) -> Self {
        Self::per(count, Duration::from_secs(60))
    }

    /// Allows so many requests an hour.
    pub const fn per_hour(count: u64) -> Self {
        Self::per(count, Duration::from_secs(3600))
    }

    /// Allows so many requests in any other time, up to 366 days.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_api_key::limit::Rate;
    ///
    /// let rate = Rate::per(1, Duration::from_millis(250));
    /// assert_ne!(rate, Rate::per_second(4)); // the same rate, with a burst of 1 in place of 4
    /// ```
    pub const fn per(count: u64, period: Duration) -> Self {
        Self { count, period, burst: None }
    }

    /// Allows so many requests at once, after a pause. The default is the number of the rate: 10
    /// for `per_second(10)`. [`Plans`] has an example.
    pub const fn burst(mut self, requests: u64) -> Self {
        self.burst = Some(requests);
        self
    }
}

// === impl Quota ===

impl Quota {
    /// Allows so many requests a day, from midnight to midnight. [`Plans`] has an example.
    pub const fn per_day(count: u64) -> Self {
        Self { count, period: Period::Day }
    }

    /// Allows so many requests a week, from Monday on.
    pub const fn per_week(count: u64) -> Self {
        Self { count, period: Period::Week(1) }
    }

    /// Allows so many requests a month, from its first day on.
    pub const fn per_month(count: u64) -> Self {
        Self { count, period: Period::Month(1) }
    }

    /// Sets the day on which a month begins, 1 to 31, or a week, 1 (Monday) to 7. In a month that
    /// is shorter, the period begins on its last day: Jan 31, Feb 28, Mar 31. A day has no such
    /// setting.
    ///
    /// ```
    /// use tower_api_key::limit::Quota;
    ///
    /// let quota = Quota::per_month(10_000).from_day(31);
    /// ```
    pub const fn from_day(mut self, day: u8) -> Self {
        self.period = match self.period {
            Period::Day => Period::Day,
            Period::Week(_) => Period::Week(day),
            Period::Month(_) => Period::Month(day),
        };
        self
    }
}
