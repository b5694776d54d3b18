//! Reports that a file of keys was read again, or that its last good keys stay in use.

#[cfg(not(feature = "tracing"))]
use std::io::Write;
use std::path::Path;

use super::file_error::KeyFileError;

const FAILED: &str = "the changed file of API keys is not used: the last good keys stay in use";

#[cfg(feature = "tracing")]
pub(super) fn failed(error: &KeyFileError) {
    tracing::error!(target: "tower_api_key", error = error.to_string(), "{FAILED}");
}

#[cfg(not(feature = "tracing"))]
pub(super) fn failed(error: &KeyFileError) {
    let _ = writeln!(std::io::stderr(), "tower-api-key: {FAILED}: {error}");
}

#[allow(unused_variables, reason = "used by the feature `tracing` only")]
pub(super) fn read(path: &Path, keys: usize) {
    #[cfg(feature = "tracing")]
    tracing::info!(target: "tower_api_key", path = %path.display(), keys, "the file of API keys was read again");
}

/// Counts a check that does not use the file.
pub(super) fn count_failure() {
    #[cfg(feature = "metrics")]
    metrics::counter!("api_key_file_errors_total").increment(1);
}
