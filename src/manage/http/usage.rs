//! The usage of a key by day: its query string, its handler and its response.

use axum::{
    Json,
    extract::{FromRequestParts, State},
    http::{StatusCode, request::Parts},
};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

#[cfg(feature = "limits")]
use super::top_ups::CreditBalance;
use super::{
    extract::{ApiError, CanRead, RequestActor},
    handlers::{IdInPath, key_id},
    responses::ProblemBody,
};
#[cfg(feature = "limits")]
use crate::{
    clock::whole_seconds,
    limit::{Balance, Remaining, Subject},
};
use crate::{
    manage::{KeyManager, problem::PROBLEM_JSON},
    store::{DayUsage, UtcDay},
};

/// The days to show, both included.
#[derive(Debug, PartialEq, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct UsageDays {
    /// The first day, `YYYY-MM-DD` in UTC; by default 29 days before the last one.
    #[param(value_type = String, format = Date, required = false)]
    from: Option<UtcDay>,
    /// The last day; by default today. At most 400 days can be shown at once.
    #[param(value_type = String, format = Date, required = false)]
    to: Option<UtcDay>,
}

/// The usage of a key.
#[derive(Serialize, ToSchema)]
pub(super) struct Usage {
    /// Each day, in ascending order, also those without requests.
    days: Vec<UsageOfDay>,
    total: UsageCounts,
    /// What is left of the limits of the key on all nodes. It is missing if the service has no
    /// limits, if the plan of the key is unknown, and while the store of meters fails.
    #[cfg(feature = "limits")]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Vec<LimitLeft>, required = false)]
    limits: Option<Vec<LimitLeft>>,
}

/// The requests with a key on one day.
#[derive(Serialize, ToSchema)]
pub(super) struct UsageOfDay {
    /// The day in UTC.
    #[schema(format = Date)]
    day: String,
    #[serde(flatten)]
    counts: UsageCounts,
}

/// Numbers of requests, by outcome.
#[derive(Serialize, ToSchema)]
pub(super) struct UsageCounts {
    /// Requests that no guard rejected.
    accepted: u64,
    /// Requests with a valid key that were rejected with 403 or 404.
    forbidden: u64,
    /// Requests whose key was rejected with 401: revoked, disabled, expired, and so on.
    rejected: u64,
    /// Requests that were rejected with 429.
    limited: u64,
}

#[cfg(feature = "limits")]
/// What is left of one limit.
#[derive(Serialize, ToSchema)]
pub(super) struct LimitLeft {
    name: String,
    /// Whose requests the limit counts together.
    subject: LimitSubject,
    /// The burst of a rate, the number of a quota, or the number of requests at the same time. For
    /// credits, those that are left.
    most: u64,
    /// How many requests pass now.
    remaining: u64,
    /// When the limit is full again, in seconds from now, rounded up. It is missing for a limit on
    /// requests at the same time, and for credits.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = u64, required = false)]
    full_after: Option<u64>,
    /// Only credits have it. It is as of their last refill.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = CreditBalance, required = false)]
    balance: Option<CreditBalance>,
}

#[cfg(feature = "limits")]
/// Whose requests a limit counts together: those of the key, of its owner or of its organization.
#[derive(Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum LimitSubject {
    Key,
    Owner,
    Organization,
}

/// The number of days that are shown by default.
const DEFAULT: u32 = 30;

/// The maximum number of days.
const MAX: u32 = 400;

#[utoipa::path(get, path = "/{id}/usage", operation_id = "show_usage", tag = "keys", params(("id" = String, Path), UsageDays), responses(
    (status = 200, description = "The requests with the key, by day and outcome", body = Usage),
    (status = 404, description = "There is no such key", body = ProblemBody, content_type = PROBLEM_JSON),
    (status = 501, description = "The key store does not keep usage by day", body = ProblemBody, content_type = PROBLEM_JSON),
))]
pub(super) async fn usage(
    State(manager): State<KeyManager>,
    caller: RequestActor<CanRead>,
    id: IdInPath,
    days: UsageDays,
) -> Result<Json<Usage>, ApiError> {
    let (from, to) = days.range(manager.clock().now().into()).map_err(ApiError::bad_query)?;
    let id = key_id(id)?;
    let kept = caller.map_err(manager.usage(caller.actor(), id.clone(), from..=to).await)?;
    #[cfg_attr(not(feature = "limits"), expect(unused_mut))]
    let mut usage = Usage::new(from, to, &kept);
    #[cfg(feature = "limits")]
    {
        let left = caller.map_err(manager.left_and_balances(caller.actor(), id).await)?;
        usage.limits =
            left.map(|(left, balances)| left.into_iter().map(|left| LimitLeft::new(left, &balances)).collect());
    }
    Ok(Json(usage))
}

// === impl UsageDays, Usage ===

impl UsageDays {
    /// Parses a query string. The error names the parameter, never its value.
    fn parse(query: &str) -> Result<Self, &'static str> {
        let mut days = Self { from: None, to: None };
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let (day, wrong, twice) = match &*name {
                "from" => (&mut days.from, "from: must be a day such as 2027-01-15.", "from: given twice."),
                "to" => (&mut days.to, "to: must be a day such as 2027-01-15.", "to: given twice."),
                _ => return Err("Unknown parameter: use from or to."),
            };
            if day.replace(value.parse().map_err(|_| wrong)?).is_some() {
                return Err(twice);
            }
        }
        Ok(days)
    }

    /// Returns the first and the last day.
    fn range(&self, today: UtcDay) -> Result<(UtcDay, UtcDay), &'static str> {
        let to = self.to.unwrap_or(today);
        let from = self.from.unwrap_or(to.minus(DEFAULT - 1));
        match to.number().checked_sub(from.number()) {
            None => Err("from: must not be after to, which is today by default."),
            Some(MAX..) => Err("from: at most 400 days can be shown at once."),
            Some(_) => Ok((from, to)),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for UsageDays {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        Self::parse(parts.uri.query().unwrap_or_default()).map_err(ApiError::bad_query)
    }
}

impl ApiError {
    fn bad_query(detail: &str) -> Self {
        Self::problem(StatusCode::BAD_REQUEST, detail)
    }
}

impl Usage {
    /// Adds the days without requests to those that are kept.
    fn new(from: UtcDay, to: UtcDay, kept: &[DayUsage]) -> Self {
        let mut kept = kept.iter().peekable();
        let mut total = DayUsage::new(to);
        let days = (from.number()..=to.number()).map(UtcDay::from_number).map(|day| {
            let usage = kept.next_if(|usage| usage.day == day).copied().unwrap_or(DayUsage::new(day));
            total.add(&usage);
            UsageOfDay { day: day.to_string(), counts: UsageCounts::from(&usage) }
        });
        Self {
            days: days.collect(),
            total: UsageCounts::from(&total),
            #[cfg(feature = "limits")]
            limits: None,
        }
    }
}

impl From<&DayUsage> for UsageCounts {
    fn from(usage: &DayUsage) -> Self {
        let &DayUsage { accepted, forbidden, rejected, limited, .. } = usage;
        Self { accepted, forbidden, rejected, limited }
    }
}

#[cfg(feature = "limits")]
impl LimitLeft {
    fn new(left: Remaining, balances: &[(String, Balance)]) -> Self {
        let Remaining { limit: name, subject, most, requests: remaining, full_after } = left;
        let full_after = full_after.map(whole_seconds);
        let balance = balances.iter().find(|(limit, _)| *limit == name).map(|(_, balance)| (*balance).into());
        Self { name, subject: subject.into(), most, remaining, full_after, balance }
    }
}

#[cfg(feature = "limits")]
impl From<Subject> for LimitSubject {
    fn from(subject: Subject) -> Self {
        match subject {
            Subject::Key => Self::Key,
            Subject::Owner => Self::Owner,
            Subject::Organization => Self::Organization,
        }
    }
}
