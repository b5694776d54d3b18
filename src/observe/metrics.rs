//! Counts decisions, with the `metrics` facade.

use metrics::{counter, histogram};

use super::{Decision, Outcome};
use crate::rejection::Reason;

pub(super) fn count(decision: &Decision) {
    let requests = match decision.outcome() {
        // A label that is a constant does not allocate.
        Outcome::Accepted => counter!("api_key_requests_total", "outcome" => "accepted", "reason" => "none"),
        outcome => {
            let reason = outcome.reason().map_or("none", Reason::as_str);
            match decision.cause() {
                None => counter!("api_key_requests_total", "outcome" => outcome.as_str(), "reason" => reason),
                Some(cause) => {
                    counter!("api_key_requests_total", "outcome" => outcome.as_str(), "reason" => reason, "cause" => cause.as_str())
                }
            }
        }
    };
    requests.increment(1);
    for limit in decision.violated_limits() {
        counter!("api_key_limited_total", "limit" => limit.to_owned()).increment(1);
    }
    if let Some(time) = decision.store_time() {
        histogram!("api_key_store_seconds").record(time);
    }
    if let Some(reason @ (Reason::StoreFailed | Reason::StoreTimeout)) = decision.outcome().reason() {
        counter!("api_key_store_errors_total", "reason" => reason.as_str()).increment(1);
    }
}
