//! Rejections of a service that is not set up correctly.

#[cfg(not(feature = "tracing"))]
use std::io::{self, Write};

use super::{Reason, Rejection};

impl Rejection {
    /// Returns a rejection with 500, for a guard or an extractor without a layer around it. Logs an
    /// error.
    pub(crate) fn misconfigured(what: &str) -> Self {
        let advice = "ran without an ApiKeyLayer around it, so every request to it is rejected with 500: with axum, add \
                      the ApiKeyLayer after it, since the last layer is the outermost";
        Self::broken(&format!("{what} {advice}"))
    }

    /// Returns a rejection with 500, and logs why.
    pub(crate) fn broken(why: &str) -> Self {
        #[cfg(feature = "tracing")]
        tracing::error!(target: "tower_api_key", "{why}");
        #[cfg(not(feature = "tracing"))]
        let _ = writeln!(io::stderr(), "tower-api-key: {why}");
        Self::new(Reason::Misconfigured)
    }
}
