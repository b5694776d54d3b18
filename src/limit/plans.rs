//! Plans: named lists of limits, which the application writes.

use std::sync::Arc;

use super::{
    counts::meter_id,
    meter::{MeterId, MeterRule},
    numbers::{LimitKind, Quota, Rate, Refill},
    rule::Rule,
};
use crate::record::KeyRecord;

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
/// Its name is sent to clients, and identifies its count. Limits of the same name, kind and subject
/// in several plans share a count, except rates with other numbers and quotas with another period.
#[derive(Clone, Debug)]
#[must_use = "a limit does nothing until it is part of a plan"]
pub struct Limit {
    pub(super) name: Box<str>,
    /// The name as a list of one, for rejections.
    pub(super) alone: Arc<[Box<str>]>,
    pub(super) kind: LimitKind,
    /// The rule of its own numbers, or what is wrong with them.
    own_rule: Result<Rule, &'static str>,
    pub(super) subject: Subject,
    pub(super) is_for_routes: bool,
}

/// Whose requests a limit counts together. [`Plans`] has an example.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Subject {
    /// Those of one key, and of the keys that replace it.
    #[default]
    Key,
    /// Those of all keys of the owner, in the key's organization. All service accounts of an
    /// organization are one owner. For a key without an owner, and for a service account without an
    /// organization, those of the key.
    Owner,
    /// Those of all keys of the organization. For a key without an organization, those of the key.
    Organization,
}

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

    /// Limits the number of requests at the same time; 0 admits none. A request counts until the
    /// body of its response has ended, also if it is a stream, and until every clone of its
    /// [`Principal`](crate::Principal) is dropped.
    ///
    /// ```
    /// use tower_api_key::limit::{Limit, Plans};
    ///
    /// Plans::new().plan("free", [Limit::concurrency("streams", 2)]);
    /// ```
    pub fn concurrency(name: impl Into<String>, most: u32) -> Self {
        Self::new(name, LimitKind::Concurrency(most))
    }

    /// Limits requests by a balance, which is topped up and spent, across all nodes. It needs
    /// [`Limits::leased`](super::Limits::leased).
    ///
    /// A number in a record replaces the amount of the refill; 0 admits no request.
    ///
    /// ```
    /// use tower_api_key::limit::{Limit, Period, Plans, Refill};
    ///
    /// Plans::new()
    ///     .plan("prepaid", [Limit::credits("calls")])
    ///     .plan("pro", [Limit::credits("calls").refill(Refill::add(10_000, Period::Month(1)))]);
    /// ```
    pub fn credits(name: impl Into<String>) -> Self {
        Self::new(name, LimitKind::Credits(None))
    }

    /// Refills credits when a period of the calendar begins. Other limits ignore it.
    /// [`credits`](Self::credits) has an example.
    pub fn refill(self, refill: Refill) -> Self {
        match self.kind {
            LimitKind::Credits(_) => {
                let kind = LimitKind::Credits(Some(refill));
                Self { own_rule: kind.rule(), kind, ..self }
            }
            _ => self,
        }
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
        let (alone, own_rule) = ([name.clone()].into(), kind.rule());
        Self { name, alone, kind, own_rule, subject: Subject::Key, is_for_routes: false }
    }

    /// Returns the name of the limit with that of its plan, for an error.
    pub(super) fn in_plan(&self, plan: &str) -> String {
        format!("limit {:?} in the plan {plan:?}", self.name)
    }

    /// Returns the largest cost that passes; `None` if the cost does not matter.
    pub(super) fn most_cost(&self) -> Option<u64> {
        match self.rule().ok()? {
            Rule::Concurrency { .. } | Rule::Leased(_) => None,
            rule @ (Rule::Rate(_) | Rule::Quota { .. }) => Some(rule.most()),
        }
    }

    /// Returns the rule of the limit, or what is wrong with its numbers.
    pub(super) fn rule(&self) -> Result<Rule, &'static str> {
        self.own_rule
    }

    /// Returns what a store of meters has to know of the limit; `None` if it counts in each
    /// process.
    pub(super) fn meter_rule(&self, rule: Rule, number: Option<u64>) -> Option<MeterRule> {
        self.kind.meter_rule(rule, number)
    }

    pub(super) fn is_credits(&self) -> bool {
        matches!(self.kind, LimitKind::Credits(_))
    }

    /// Returns the id of the meter that the limit has for a record.
    pub(super) fn meter_id(&self, record: &KeyRecord) -> Option<MeterId> {
        Some(meter_id(self, self.rule().ok()?, record))
    }

    /// Returns the rule for a record that has `number` in place of the limit's own number. A number
    /// above the largest one counts as that.
    pub(super) fn rule_with(&self, number: u64) -> Result<Rule, &'static str> {
        self.kind.rule_with(number)
    }
}
