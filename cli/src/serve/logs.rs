//! The log: a line for each decision, on the standard error.

use tracing_subscriber::filter::LevelFilter;

use crate::exit::Failure;

/// Writes events of `info` and above, as text or as JSON.
pub(super) fn install(as_json: bool) -> Result<(), Failure> {
    let builder = tracing_subscriber::fmt().with_max_level(LevelFilter::INFO).with_writer(std::io::stderr);
    let installed = if as_json { builder.json().try_init() } else { builder.with_ansi(false).try_init() };
    installed.map_err(|error| Failure::Failed(format!("cannot write a log: {error}")))
}
