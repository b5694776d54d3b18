//! The log: a line for each decision, on the standard error.

use tracing_appender::non_blocking::WorkerGuard;
use tracing_subscriber::filter::LevelFilter;

use crate::exit::Failure;

/// Writes events of `info` and above, as text or as JSON.
///
/// A thread writes them. If nothing reads the standard error, lines are dropped: requests do not
/// wait for a log. The log ends with the guard.
pub(super) fn install(as_json: bool) -> Result<WorkerGuard, Failure> {
    let (writer, guard) = tracing_appender::non_blocking(std::io::stderr());
    let builder = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::INFO)
        // An error of the log cannot be logged, and must not end a request.
        .log_internal_errors(false)
        .with_writer(writer);
    let installed = if as_json { builder.json().try_init() } else { builder.with_ansi(false).try_init() };
    installed.map_err(|error| Failure::Failed(format!("cannot write a log: {error}")))?;
    Ok(guard)
}
