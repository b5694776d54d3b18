//! Logs and counts failures of the registry. Callers see only that the store failed; the log has
//! the cause.

#[cfg(not(feature = "tracing"))]
use std::io::Write;
use std::{
    error::Error,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use super::ManageError;
use crate::{clock::Stopwatch, key::FormatError};

/// Counts each failure of background work, and logs at most one failure per interval. The work is
/// retried.
pub(super) struct Alarm {
    what: Work,
    interval: Duration,
    last: Mutex<Option<Stopwatch>>,
}

/// The work that failed.
#[derive(Clone, Copy)]
pub(super) enum Work {
    Manage,
    Usage,
    Rehash,
    Events,
    #[cfg(feature = "dashboard")]
    Session,
}

/// The minimum log interval. It applies if usage is written more often.
const SHORTEST: Duration = Duration::from_secs(1);

/// Reports a call that fails with 503. An error of the caller is not reported.
pub(super) fn failed_call(error: &ManageError) {
    if matches!(error, ManageError::Store(_) | ManageError::Format(FormatError::Generator)) {
        count(Work::Manage);
        log(Work::Manage, error);
    }
}

/// Reports that a session of the host application could not be read. Returns the error of the
/// request.
#[cfg(feature = "dashboard")]
pub(crate) fn failed_session(error: crate::error::BoxError) -> ManageError {
    let error = ManageError::Store(error);
    count(Work::Session);
    log(Work::Session, &error);
    error
}

impl Alarm {
    pub(super) fn new(what: Work, interval: Duration) -> Self {
        Self { what, interval: interval.max(SHORTEST), last: Mutex::default() }
    }

    /// Counts the failure, and logs it unless another was logged within the interval.
    pub(super) fn failed(&self, error: &ManageError) {
        count(self.what);
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.as_ref().is_none_or(|last| last.elapsed() >= self.interval) {
            *last = Some(Stopwatch::start());
            drop(last);
            log(self.what, error);
        }
    }
}

impl Work {
    fn as_str(self) -> &'static str {
        match self {
            Self::Manage => "a key management call failed",
            Self::Usage => "API key usage could not be written; it stays counted and is retried",
            Self::Events => "following the events of API keys failed; it is retried",
            Self::Rehash => "rehashing an API key to the current pepper failed",
            #[cfg(feature = "dashboard")]
            Self::Session => "the dashboard could not read a session of the application",
        }
    }
}

#[cfg(feature = "tracing")]
fn log(what: Work, error: &ManageError) {
    tracing::error!(target: "tower_api_key", error = chain(error), "{}", what.as_str());
}

#[cfg(not(feature = "tracing"))]
fn log(what: Work, error: &ManageError) {
    let _ = writeln!(std::io::stderr(), "tower-api-key: {}: {}", what.as_str(), chain(error));
}

#[cfg(feature = "metrics")]
fn count(what: Work) {
    let failures = match what {
        Work::Manage => metrics::counter!("api_key_manage_errors_total"),
        Work::Usage => metrics::counter!("api_key_usage_errors_total"),
        Work::Events => metrics::counter!("api_key_events_errors_total"),
        Work::Rehash => metrics::counter!("api_key_rehash_errors_total"),
        #[cfg(feature = "dashboard")]
        Work::Session => metrics::counter!("api_key_session_errors_total"),
    };
    failures.increment(1);
}

#[cfg(not(feature = "metrics"))]
fn count(_: Work) {}

/// Joins the texts of the error and its sources. Skips a source if the joined text already ends
/// with it.
fn chain(error: &ManageError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
