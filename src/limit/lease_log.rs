//! Counts the calls of the store of meters, and logs when it begins to fail and works again.

#[cfg(not(feature = "tracing"))]
use std::io::Write;
use std::{fmt, time::Duration};

use super::meter::{Grant, MeterId};

const FAILS: &str = "the store of meters fails; it is asked again";
const LOST: &str = "credits are written off: a node that had leased them was killed, or is cut off";
const WORKS: &str = "the store of meters works again";

/// Shows the counters that are at zero, so that an alert sees their first increase.
pub(super) fn begin() {
    #[cfg(feature = "metrics")]
    for counter in ["api_key_lost_credits_total", "api_key_outage_units_total"] {
        metrics::counter!(counter).increment(0);
    }
}

/// Logs the first failure of an outage.
pub(super) fn failed(error: &dyn fmt::Display) {
    #[cfg(feature = "tracing")]
    tracing::error!(target: "tower_api_key", error = %error, "{FAILS}");
    #[cfg(not(feature = "tracing"))]
    let _ = writeln!(std::io::stderr(), "tower-api-key: {FAILS}: {error}");
}

/// Logs the end of an outage.
pub(super) fn recovered() {
    #[cfg(feature = "tracing")]
    tracing::info!(target: "tower_api_key", "{WORKS}");
    #[cfg(not(feature = "tracing"))]
    let _ = writeln!(std::io::stderr(), "tower-api-key: {WORKS}");
}

/// Counts a call of the store.
#[allow(unused_variables, reason = "used by the feature `metrics` only")]
pub(super) fn called(is_ok: bool, took: Duration) {
    #[cfg(feature = "metrics")]
    {
        metrics::counter!("api_key_lease_calls_total", "outcome" => if is_ok { "ok" } else { "failed" }).increment(1);
        metrics::histogram!("api_key_lease_seconds").record(took);
    }
}

/// Counts the units of a grant, and the credits that it has written off.
pub(super) fn granted(meter: &MeterId, grant: &Grant) {
    #[cfg(feature = "metrics")]
    if grant.units > 0 {
        let limit = super::counts::limit_of(meter).to_owned();
        metrics::counter!("api_key_leased_units_total", "limit" => limit).increment(grant.units);
    }
    if grant.lost > 0 {
        lost(meter, grant.lost);
    }
}

/// Counts and logs credits that the store has written off.
fn lost(meter: &MeterId, credits: u64) {
    #[cfg(feature = "metrics")]
    metrics::counter!("api_key_lost_credits_total").increment(credits);
    #[cfg(feature = "tracing")]
    tracing::warn!(target: "tower_api_key", meter = meter.as_str(), credits, "{LOST}");
    #[cfg(not(feature = "tracing"))]
    let _ = writeln!(std::io::stderr(), "tower-api-key: {LOST}: {credits} of {}", meter.as_str());
}

/// Counts what a node admits without the store while it fails.
#[allow(unused_variables, reason = "used by the feature `metrics` only")]
pub(super) fn admitted_in_outage(units: u64) {
    #[cfg(feature = "metrics")]
    metrics::counter!("api_key_outage_units_total").increment(units);
}
