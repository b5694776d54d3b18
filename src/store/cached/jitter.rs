//! Spreads lookups in time when many nodes have no entries at the same instant.
//!
//! | event                                          | lookups are delayed                       |
//! |------------------------------------------------|-------------------------------------------|
//! | a lease ends without a new heartbeat           | for one lease after it has ended          |
//! | the first heartbeat after a loss or a start    | for one lease after it has returned       |
//! | the feed reports [`Invalidation::All`]         | not: a SQLite file does so at every write |
//!
//! At any other time a lookup takes no random number and sets no timer.
//!
//! [`Invalidation::All`]: crate::store::Invalidation::All

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use super::follower::FeedState;
use crate::key::random_bytes;

#[derive(Default)]
pub(super) struct Jitter {
    /// When the newest gap ended, in nanoseconds; 0 before the first one.
    gap_ended_at: AtomicU64,
}

/// The longest wait is this part of the lease: 25 ms with the default lease.
const PART_OF_LEASE: u32 = 40;

impl Jitter {
    /// Records that the first heartbeat of a new subscription has returned.
    pub(super) fn record_gap(&self, now: u64) {
        self.gap_ended_at.store(now.max(1), Ordering::Relaxed);
    }
}

impl FeedState {
    /// Returns how long a lookup has to wait before it queries the store; `None` in steady state.
    pub(super) fn jitter(&self) -> Option<Duration> {
        let (proven_until, gap_ended_at) = (self.proven_until(), self.jitter.gap_ended_at.load(Ordering::Relaxed));
        let now = self.now();
        // One lease before now. A lease that ended, or a gap, is recent if it is later than this.
        let since = self.lease_start(now);
        let is_recent = |end: u64| end > 0 && end >= since;
        let has_just_ended = proven_until < now && is_recent(proven_until);
        (has_just_ended || is_recent(gap_ended_at)).then(|| random_part(self.lease / PART_OF_LEASE))
    }
}

/// Returns a random duration below `max`. Without random numbers, nothing is spread.
pub(super) fn random_part(max: Duration) -> Duration {
    let [first, second, ..] = random_bytes().unwrap_or_default();
    max / (1 << 16) * u32::from(u16::from_be_bytes([first, second]))
}
