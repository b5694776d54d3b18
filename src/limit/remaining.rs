//! What is left of a limit.

use std::time::Duration;

use super::plans::Subject;

/// What is left of one limit.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Remaining {
    /// The name of the limit.
    pub limit: String,
    /// Whose requests it counts together.
    pub subject: Subject,
    /// How many requests it admits at most: the burst of a rate, the number of a quota, or the
    /// number of requests at the same time.
    pub most: u64,
    /// How many requests of cost 1 pass now.
    pub requests: u64,
    /// When the limit is full again. `None` for a limit on requests at the same time.
    pub full_after: Option<Duration>,
}
