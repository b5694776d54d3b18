//! The builder of a cache.

use std::{
    fmt,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use tokio::runtime::Handle;

use super::{
    Cache, CachedStore, entries::CacheEntries, follower::FeedState, lookup_limit::LookupLimit,
    single_flight::SingleFlight,
};
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
    max_concurrent_lookups: usize,
}

const MIN_LEASE: Duration = Duration::from_millis(10);

impl<S, C: ChangeFeed> CachedStoreBuilder<S, C> {
    pub(super) fn new(store: S, changes: C) -> Self {
        Self {
            store,
            changes,
            entries: 100_000,
            lease: Duration::from_secs(1),
            ttl: Duration::from_secs(600),
            max_concurrent_lookups: 256,
        }
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
    /// a heartbeat that came back. The cache sends four heartbeats in each lease. Over PostgreSQL,
    /// one node sends four for all nodes. Use the same lease for all of them.
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

    /// Sets how many lookups query the store at the same time (default 256).
    ///
    /// The rest wait for their turn, first come first served. A request for a key whose lookup
    /// waits joins that lookup. A lookup that no request waits for any more leaves the queue. Keys
    /// without a record in memory use at most three quarters of `max`, so a flood of unknown keys
    /// does not block known keys.
    ///
    /// If the store hangs, `max` lookups hang, and no other key is looked up until their requests
    /// give up. Until then, requests that wait get a 503 at the
    /// [`deadline`](crate::layer::ApiKeyLayerBuilder::deadline) of the layer. Keys that the cache
    /// answers from memory are not affected.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tower_api_key::ConfigError> {
    /// use tower_api_key::store::{CachedStore, MemoryStore};
    ///
    /// let store = MemoryStore::new();
    /// let keys = CachedStore::builder(store.clone(), store.change_feed()).max_concurrent_lookups(32).build()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn max_concurrent_lookups(mut self, max: usize) -> Self {
        self.max_concurrent_lookups = max;
        self
    }

    /// Builds the cache and spawns the task that follows the change feed.
    ///
    /// # Errors
    ///
    /// - [`ConfigError::Entries`] if the cache would hold no entries
    /// - [`ConfigError::Lease`] if the lease is shorter than 10 ms
    /// - [`ConfigError::ConcurrentLookups`] if no lookup could query the store
    /// - [`ConfigError::NoRuntime`] outside of a tokio runtime
    pub fn build(self) -> Result<CachedStore<S>, ConfigError> {
        if self.entries == 0 {
            return Err(ConfigError::Entries);
        }
        if self.lease < MIN_LEASE {
            return Err(ConfigError::Lease);
        }
        if self.max_concurrent_lookups == 0 {
            return Err(ConfigError::ConcurrentLookups);
        }
        let runtime = Handle::try_current().map_err(|_| ConfigError::NoRuntime)?;
        let feed = Arc::new(FeedState::new(self.lease));
        let follower = runtime.spawn(Arc::clone(&feed).follow(self.changes)).abort_handle();
        let cache = Cache {
            id: Generation::unique(),
            store: self.store,
            entries: CacheEntries::new(self.entries),
            flights: Arc::new(SingleFlight::default()),
            limit: LookupLimit::new(self.max_concurrent_lookups),
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
            .field("max_concurrent_lookups", &self.max_concurrent_lookups)
            .finish_non_exhaustive()
    }
}
