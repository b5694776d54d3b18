//! Translates the limits of a case's policy to a plan: `rate_limit`, and `quota` with the `remaining`
//! of a key.

use serde_json::Value;
use tower_api_key::KeyRecord;

use crate::Failure;

pub(crate) use plan::CaseLimits;

/// The requirements, and the members of policies, that need the feature `limits`.
pub(crate) const NEEDED_FOR: [&str; 4] = ["rate_limit", "rate_limit_headers", "multi_limit", QUOTA];

/// The name of the limit that a policy's `quota` is.
const QUOTA: &str = "quota";

/// Sets what is left of a key's quota. A key without a number has no quota.
pub(crate) fn with_remaining(record: KeyRecord, key: &Value) -> Result<KeyRecord, Failure> {
    match &key["remaining"] {
        Value::Null => Ok(record.with_limit(QUOTA, None)),
        remaining => {
            let number = remaining.as_u64().ok_or(format!("remaining {remaining}"))?;
            Ok(record.with_limit(QUOTA, number))
        }
    }
}

#[cfg(not(feature = "limits"))]
mod plan {
    use super::KeyRecord;

    #[derive(Clone)]
    pub(crate) struct CaseLimits;

    impl CaseLimits {
        pub(crate) fn remaining(&self, _record: &KeyRecord) -> Option<u64> {
            None
        }
    }
}

#[cfg(feature = "limits")]
mod plan {
    use std::time::Duration;

    use tower_api_key::{
        Require,
        layer::ApiKeyLayerBuilder,
        limit::{FieldsForm, Limit, Limits, Plans, Quota, Rate, RateLimitFields},
    };

    use super::{Failure, KeyRecord, QUOTA, Value};
    use crate::{policy::Unbuilt, world::Now};

    /// The limits of one layer.
    #[derive(Clone)]
    pub(crate) struct CaseLimits(Limits);

    impl CaseLimits {
        /// Returns the limits of a policy. If the policy has guards, or a cost other than 1, the
        /// innermost guard takes the quota, after its checks; for a cost of 0, none does.
        pub(crate) fn new(policy: &Value, guards: &mut Vec<Require>, now: &Now) -> Result<Self, Unbuilt> {
            let mut limits = rates(&policy["rate_limit"])?;
            if let Some(cost) = cost(&policy[QUOTA])? {
                // The longest period. No case waits for its end.
                let quota = Limit::quota(QUOTA, Quota::per_month(0));
                if cost == 1 && guards.is_empty() {
                    limits.push(quota);
                } else {
                    limits.push(quota.for_routes());
                    let guard = guards.pop().or_else(|| (cost > 0).then(|| Require::predicate(|_, _| true)));
                    guards
                        .extend(guard.map(|guard| if cost > 0 { guard.costs(cost).limited_by(QUOTA) } else { guard }));
                }
            }
            let (plans, now) = (Plans::new().plan("case", limits).default_plan("case"), now.clone());
            let limits = Limits::in_process(plans).clock(move || *now.lock().unwrap()).build();
            limits.map(Self).map_err(|error| Unbuilt::Refused(error.to_string()))
        }

        /// Limits the keys of a layer. `sends_fields` is whether every response describes the limits.
        pub(crate) fn limit(&self, builder: ApiKeyLayerBuilder, sends_fields: bool) -> ApiKeyLayerBuilder {
            let always = RateLimitFields::Always(FieldsForm::Draft11);
            builder.limits(self.0.clone()).rate_limit_fields(if sends_fields { always } else { RateLimitFields::Off })
        }

        /// Returns what is left of the quota of a record.
        pub(crate) fn remaining(&self, record: &KeyRecord) -> Option<u64> {
            let remaining = self.0.remaining(record)?;
            remaining.iter().find(|left| left.limit == QUOTA).map(|left| left.requests)
        }
    }

    /// Returns one rate or several: `max` requests at once, and as many in `window_seconds`.
    fn rates(value: &Value) -> Result<Vec<Limit>, Failure> {
        let list = match value {
            Value::Null => Vec::new(),
            Value::Array(list) => list.clone(),
            one => vec![one.clone()],
        };
        list.iter().enumerate().map(|(number, value)| Ok(Limit::rate(format!("rate-{number}"), rate(value)?))).collect()
    }

    fn rate(value: &Value) -> Result<Rate, Failure> {
        only(value, &["max", "window_seconds"])?;
        let max = value["max"].as_u64().ok_or("a rate_limit without max")?;
        let window = value["window_seconds"].as_f64().ok_or("a rate_limit without window_seconds")?;
        Ok(Rate::per(max, Duration::try_from_secs_f64(window).map_err(|error| error.to_string())?))
    }

    /// Returns what a request costs in the quota; `None` without a quota.
    fn cost(quota: &Value) -> Result<Option<u32>, Failure> {
        if quota.is_null() {
            return Ok(None);
        }
        only(quota, &["cost"])?;
        let cost = quota.get("cost").map_or(Some(1), Value::as_u64).and_then(|cost| u32::try_from(cost).ok());
        Ok(Some(cost.ok_or("a quota with a cost that is no number")?))
    }

    fn only(value: &Value, members: &[&str]) -> Result<(), Failure> {
        let object = value.as_object().ok_or(format!("a limit {value}"))?;
        match object.keys().find(|member| !members.contains(&member.as_str())) {
            Some(unknown) => Err(format!("a limit with an unknown {unknown}")),
            None => Ok(()),
        }
    }
}
