//! The builder of a cache.

use std::{
    fmt,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use tokio::runtime::Handle;

use super::{Cache, CachedStore, entries::CacheEntries, follower::FeedState, single_flight::SingleFlight};
use crate::{ConfigError, clock::nanos, record::Generation, store::ChangeFeed};

/// Builds a [`CachedStore`].
///
/// ```
/// use std::time::Duration;
/// use tower_api_key::store::{CachedStore, MemoryStore};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), tower_api_key::ConfigError> {
/// let store = MemoryStore::new();
/// let keys = CachedStore::builder(store.clone(), store.change_feed())
///     .entries(10_000)
///     .lease(Duration::from_millis(500))
///     .ttl(Duration::from_secs(60))
///     .build()?;
/// # Ok(())
/// # }
/// ```
#[must_use = "a builder does nothing until it is built"]
pub struct CachedStoreBuilder<S, C> {
    store: S,
    changes: C,
    entries: usize,
    lease: Duration,
    ttl: Duration,
}

const MIN_LEASE: Duration = Duration::from_millis(10);

impl<S, C: ChangeFeed> CachedStoreBuilder<S, C> {
    pub(super) fn new(store: S, changes: C) -> Self {
        Self { store, changes, entries: 100_000, lease: Duration::from_secs(1), ttl: Duration::from_secs(600) }
    }

    /// Sets how many records are kept at most, and how many negative entries (default 100,000).
    ///
    /// Each of up to 64 shards has its own limit. So allow 10 % more entries than there are keys in
    /// use, or 50 % more if there are fewer than 10,000 keys.
    /// [`guide::deployment`](crate::guide::deployment) gives the size of an entry.
    pub fn entries(mut self, max: usize) -> Self {
        self.entries = max;
        self
    }

    /// Sets the lease (default 1 s): the cache answers from memory for this long after it has sent
    /// a heartbeat that came back. The cache sends four heartbeats in each lease.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// Sets the age at which an entry is looked up again (default 10 minutes).
    ///
    /// Changes that the change feed reports need no TTL. The TTL bounds how long other changes,
    /// such as a restore from a backup, stay unnoticed.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self
    }

    /// Builds the cache and spawns the task that follows the change feed.
    ///
    /// # Errors
    ///
    /// - [`ConfigError::Entries`] if the cache would hold no entries
    /// - [`ConfigError::Lease`] if the lease is shorter than 10 ms
    /// - [`ConfigError::NoRuntime`] outside of a tokio runtime
    pub fn build(self) -> Result<CachedStore<S>, ConfigError> {
        if self.entries == 0 {
            return Err(ConfigError::Entries);
        }
        if self.lease < MIN_LEASE {
            return Err(ConfigError::Lease);
        }
        let runtime = Handle::try_current().map_err(|_| ConfigError::NoRuntime)?;
        let feed = Arc::new(FeedState::new(self.lease));
        let follower = runtime.spawn(Arc::clone(&feed).follow(self.changes)).abort_handle();
        let cache = Cache {
            id: Generation::unique(),
            store: self.store,
            entries: CacheEntries::new(self.entries),
            flights: Arc::new(SingleFlight::default()),
            feed,
            ttl: nanos(self.ttl),
            lookups: AtomicU64::new(0),
            follower,
        };
        Ok(CachedStore { cache: Arc::new(cache), stale_for: None })
    }
}

impl<S, C> fmt::Debug for CachedStoreBuilder<S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CachedStoreBuilder")
            .field("entries", &self.entries)
            .field("lease", &self.lease)
            .field("ttl", &self.ttl)
            .finish_non_exhaustive()
    }
}
