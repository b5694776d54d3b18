//! Emits decisions as events of `tracing`, and records the key's id on the current span.

use tracing::Span;

use super::Decision;
use crate::{
    principal::Principal,
    record::KeyId,
    rejection::{Cause, Reason},
};

macro_rules! event {
    ($level:ident, $decision:ident) => {
        tracing::$level!(
            target: "tower_api_key",
            outcome = $decision.outcome().as_str(),
            reason = $decision.outcome().reason().map(Reason::as_str),
            cause = $decision.cause().map(Cause::as_str),
            scheme = $decision.scheme().map(display),
            key_id = $decision.key_id().map(KeyId::as_str),
            is_token = $decision.is_token().then_some(true),
            organization = $decision.organization(),
            error = $decision.error().map(display),
            missing_permissions = missing($decision),
            limits = limits($decision),
            client_address = $decision.client_address().map(display),
            method = $decision.method().as_str(),
            path = $decision.path(),
            "API key"
        )
    };
}

/// Emits one event per decision. The level is DEBUG for a request that passes, INFO for a mistake
/// of the caller, and ERROR for a failure of the service.
pub(super) fn event(decision: &Decision) {
    match decision.outcome().reason().map(Reason::problem) {
        None => event!(debug, decision),
        Some(problem) if problem.status().is_server_error() => event!(error, decision),
        Some(_) => event!(info, decision),
    }
}

/// Returns the missing permissions as `links:create stats:read`.
fn missing(decision: &Decision) -> Option<String> {
    let names: Vec<String> = decision.missing_permissions().iter().map(ToString::to_string).collect();
    (!names.is_empty()).then(|| names.join(" "))
}

/// Returns the limits that are full as `burst, daily`.
fn limits(decision: &Decision) -> Option<String> {
    let names: Vec<&str> = decision.violated_limits().collect();
    (!names.is_empty()).then(|| names.join(", "))
}

/// Returns whether `ERROR` events are enabled. If they are not, no decision is logged.
pub(super) fn is_on() -> bool {
    tracing::enabled!(target: "tower_api_key", tracing::Level::ERROR)
}

/// Records the key's id on the current span, if the span has the field `key_id`.
pub(super) fn record_on_span(principal: &Principal) {
    Span::current().record("key_id", principal.id().as_str());
}
