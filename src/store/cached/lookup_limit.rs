//! Limits the lookups in flight. The rest wait for their turn, first come first served.
//!
//! Keys without a record in memory take at most three quarters of the turns. So a flood of unknown
//! keys does not block known keys after a gap, when every known key is looked up again: a known key
//! waits behind a limited number of unknown ones, however many wait. In one queue it would wait
//! behind all of them.

use tokio::sync::{Semaphore, SemaphorePermit};

pub(super) struct LookupLimit {
    all: Semaphore,
    /// Taken before `all`, by the lookups of keys without a record in memory.
    without_record: Semaphore,
}

/// The right to query the store. Dropping it admits the next lookup, also after a panic.
pub(super) struct Turn<'a> {
    _of_all: SemaphorePermit<'a>,
    _without_record: Option<SemaphorePermit<'a>>,
}

impl LookupLimit {
    /// `max` must not be zero.
    pub(super) fn new(max: usize) -> Self {
        let max = max.min(Semaphore::MAX_PERMITS);
        Self { all: Semaphore::new(max), without_record: Semaphore::new(max - max / 4) }
    }

    /// Waits for a turn. Dropping the future leaves the queue. The semaphores are never closed, so
    /// the result is always `Some`.
    pub(super) async fn turn(&self, has_record: bool) -> Option<Turn<'_>> {
        let without_record = if has_record { None } else { Some(self.without_record.acquire().await.ok()?) };
        Some(Turn { _of_all: self.all.acquire().await.ok()?, _without_record: without_record })
    }
}
