//! `[limits]`: the plans of the keys.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, de::Error};
use tower_api_key::limit::{Limit, Limits, Plans, Quota, Rate, Subject};

use crate::{database::Database, exit::Failure};

/// The plans, and which one a key without a plan has.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct LimitsConfig {
    default_plan: Option<String>,
    /// The limits of each plan, by their names.
    plans: BTreeMap<String, BTreeMap<String, LimitConfig>>,
}

/// One limit: exactly one of `rate`, `quota` and `credits`.
#[derive(Debug, Deserialize)]
#[serde(try_from = "LimitFields")]
struct LimitConfig {
    kind: Kind,
    shared_by: Option<SharedBy>,
}

#[derive(Debug)]
enum Kind {
    Rate(Rate),
    Quota(Quota),
    Credits,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct LimitFields {
    /// Such as `100/minute`.
    rate: Option<Count>,
    /// How many requests of a rate may come at once.
    burst: Option<u64>,
    /// Such as `10000/day`.
    quota: Option<Count>,
    /// Whether each request spends a credit of the key.
    credits: Option<bool>,
    shared_by: Option<SharedBy>,
}

/// Who shares a limit: all keys of an owner, or of an organization.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum SharedBy {
    Owner,
    Organization,
}

/// A number for a period, such as `100/minute`.
#[derive(Debug)]
struct Count {
    number: u64,
    period: Period,
}

#[derive(Clone, Copy, Debug)]
enum Period {
    Second,
    Minute,
    Hour,
    Day,
    Week,
    Month,
}

// === impl LimitsConfig ===

impl LimitsConfig {
    /// Returns the limits with their meters in the database, or `None` if the file has none.
    pub(crate) fn open(&self, database: &Database) -> Result<Option<Limits>, Failure> {
        let Some(plans) = self.plans() else { return Ok(None) };
        let leased = match database {
            Database::Sqlite(store) => Limits::leased(plans, store.clone()),
            Database::Postgres(store) => Limits::leased(plans, store.clone()),
        };
        leased.build().map(Some).map_err(|error| Failure::Usage(format!("[limits]: {error}")))
    }

    fn plans(&self) -> Option<Plans> {
        let Self { default_plan, plans } = self;
        if plans.is_empty() && default_plan.is_none() {
            return None;
        }
        let plans = plans.iter().fold(Plans::new(), |all, (name, limits)| {
            all.plan(name, limits.iter().map(|(limit, config)| config.limit(limit)))
        });
        Some(default_plan.iter().fold(plans, Plans::default_plan))
    }
}

// === impl LimitConfig ===

impl LimitConfig {
    fn limit(&self, name: &str) -> Limit {
        let limit = match self.kind {
            Kind::Rate(rate) => Limit::rate(name, rate),
            Kind::Quota(quota) => Limit::quota(name, quota),
            Kind::Credits => Limit::credits(name),
        };
        match self.shared_by {
            None => limit,
            Some(SharedBy::Owner) => limit.shared_by(Subject::Owner),
            Some(SharedBy::Organization) => limit.shared_by(Subject::Organization),
        }
    }
}

impl TryFrom<LimitFields> for LimitConfig {
    type Error = &'static str;

    fn try_from(fields: LimitFields) -> Result<Self, Self::Error> {
        let LimitFields { rate, burst, quota, credits, shared_by } = fields;
        let kind = match (rate, quota, credits) {
            (Some(count), None, None) => {
                let rate = count.rate()?;
                Kind::Rate(burst.map_or(rate, |burst| rate.burst(burst)))
            }
            (None, Some(_) | None, _) if burst.is_some() => return Err("only a rate has a burst"),
            (None, Some(count), None) => Kind::Quota(count.quota()?),
            (None, None, Some(true)) => Kind::Credits,
            _ => return Err("set one of rate, quota and credits = true"),
        };
        Ok(Self { kind, shared_by })
    }
}

// === impl Count ===

impl Count {
    fn rate(&self) -> Result<Rate, &'static str> {
        match self.period {
            Period::Second => Ok(Rate::per_second(self.number)),
            Period::Minute => Ok(Rate::per_minute(self.number)),
            Period::Hour => Ok(Rate::per_hour(self.number)),
            Period::Day | Period::Week | Period::Month => Err("a rate is per second, minute or hour"),
        }
    }

    fn quota(&self) -> Result<Quota, &'static str> {
        match self.period {
            Period::Day => Ok(Quota::per_day(self.number)),
            Period::Week => Ok(Quota::per_week(self.number)),
            Period::Month => Ok(Quota::per_month(self.number)),
            Period::Second | Period::Minute | Period::Hour => Err("a quota is per day, week or month"),
        }
    }
}

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let wrong = || D::Error::custom("expected a number and a period, such as 100/minute");
        let (number, period) = text.split_once('/').ok_or_else(wrong)?;
        let period = match period {
            "second" => Period::Second,
            "minute" => Period::Minute,
            "hour" => Period::Hour,
            "day" => Period::Day,
            "week" => Period::Week,
            "month" => Period::Month,
            _ => return Err(wrong()),
        };
        Ok(Self { number: number.parse().map_err(|_| wrong())?, period })
    }
}
