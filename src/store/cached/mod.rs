//! A cache in front of a store, with a bound on how long a revoked key may still work.
//!
//! | cache entry                      | change feed | result                                   |
//! |----------------------------------|-------------|------------------------------------------|
//! | active record                    | followed    | accepted at once, from memory            |
//! | unknown, disabled or revoked key | followed    | rejected after the next heartbeat        |
//! | none                             | followed    | one store lookup for concurrent requests |
//! | any                              | lost        | one store lookup for concurrent requests |
//!
//! The number of lookups in flight is limited, and after a gap they are spread in time.
//!
//! If a store lookup fails, the response is 503, unless `stale_if_error` is set.
//!
//! A cached record can accept a key, but a cache entry alone never rejects one. So a key that one
//! node issues or enables works on all other nodes at once. New permissions and other edits take
//! as long as a revocation.

mod builder;
mod entries;
mod follower;
mod freshness;
mod jitter;
mod lookup;
mod lookup_limit;
mod registry;
mod single_flight;

use std::{
    error::Error,
    fmt,
    sync::{Arc, atomic},
    time::Duration,
};

use thiserror::Error;
use tokio::task::AbortHandle;

pub use builder::CachedStoreBuilder;
use entries::CacheEntries;
pub(in crate::store) use follower::FeedState;
use lookup_limit::LookupLimit;
use single_flight::SingleFlight;

use super::ChangeFeed;
use crate::record::Generation;

/// A store that caches lookups in memory and invalidates them through a change feed.
///
/// Requests that arrive [`CachedStore::revocation_bound`] or more after a revocation was committed
/// are rejected. This also holds while the network or the database fails, and after this process
/// was suspended. The cache answers from memory only while its lease is valid: a heartbeat through
/// the change feed proves that the cache has missed no change up to at most one lease (1 s) ago.
/// Without a lease, every lookup queries the store; if that fails too, the response is 503.
///
/// A cache hit takes as long as a lookup in a [`MemoryStore`](super::MemoryStore) plus one clock
/// read. For such hits, each thread keeps up to 64 records. They may stay in memory after the cache
/// is dropped.
///
/// ```
/// use tower_api_key::{ApiKeyLayer, KeyRecord, store::{CachedStore, MemoryStore}};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// // In a service: PostgresStore::open("postgres://…").await?
/// let store = MemoryStore::new();
/// let keys = CachedStore::builder(store.clone(), store.change_feed()).entries(50_000).build()?;
/// assert_eq!(keys.revocation_bound(), std::time::Duration::from_secs(1));
///
/// let layer = ApiKeyLayer::builder(keys).build()?;
/// # Ok(())
/// # }
/// ```
///
/// Clones share one cache. If the store is a [`KeyRegistry`](crate::KeyRegistry), so is the cache:
/// this node's next request sees a change made through it, and all other nodes see it within the
/// bound. Edits of permissions, names and times take as long as a revocation. Usage is not a
/// change, so the use count of a cached record may be too low.
///
/// The bound rests on three assumptions:
///
/// - The store returns the last committed state. There is no bound with a lagging replica, or with
///   two primaries.
/// - The change feed reports every change.
/// - The monotonic clock runs. On Linux it stops while the whole machine is suspended.
///
/// After a gap of the feed, all nodes look up all their keys again. So that they do not overrun the
/// store, [`CachedStoreBuilder::max_concurrent_lookups`] limits the lookups in flight, and each
/// lookup is delayed by a random time of up to lease / 40 (25 ms): during one lease after a lease
/// has ended, and during one lease after the first heartbeat of a subscription, also in a new
/// process. Lookups at any other time are not delayed.
///
/// | metric (feature `metrics`)    | meaning                                                     |
/// |-------------------------------|-------------------------------------------------------------|
/// | `api_key_cache_lookups_total` | lookups in the store                                        |
/// | `api_key_changes_lag_seconds` | [`CacheStatus::lag`] of each proof: a histogram             |
/// | `api_key_changes_followed`    | 1, or 0 while the feed is down (feature `tracing` logs why) |
///
/// A task follows the change feed until the last clone is dropped. It runs on the tokio runtime in
/// which the cache is built.
pub struct CachedStore<S> {
    cache: Arc<Cache<S>>,
    /// How long this handle may serve unproven records while the store fails.
    stale_for: Option<Duration>,
}

struct Cache<S> {
    id: Generation,
    store: S,
    entries: CacheEntries,
    flights: Arc<SingleFlight>,
    limit: LookupLimit,
    feed: Arc<FeedState>,
    /// In nanoseconds.
    ttl: u64,
    lookups: atomic::AtomicU64,
    follower: AbortHandle,
}

/// The state of a cache, as returned by [`CachedStore::status`].
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), tower_api_key::ConfigError> {
/// use tower_api_key::store::{CachedStore, MemoryStore};
///
/// let store = MemoryStore::new();
/// let keys = CachedStore::builder(store.clone(), store.change_feed()).build()?;
/// assert!(!keys.status().is_following); // not yet
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheStatus {
    /// Whether the cache answers from memory: it has a proof, within the lease, that it has missed
    /// no change.
    pub is_following: bool,
    /// The age of the newest proof when it arrived. For most feeds, it is the round-trip time of a
    /// heartbeat. With [`PostgresChangeFeed`](super::PostgresChangeFeed), whose nodes share one
    /// heartbeat, it is usually up to a quarter of the lease. The feature `metrics` exports the age
    /// of every proof.
    pub lag: Option<Duration>,
    /// The number of records in memory, current or not.
    pub entries: usize,
    /// The number of negative entries in memory: digests without a record.
    pub negative_entries: usize,
    /// The number of lookups in the store since the cache was built.
    pub lookups: u64,
}

/// An error of a [`CachedStore`]. Concurrent requests that wait for one lookup share its error.
///
/// ```
/// use std::sync::Arc;
/// use tower_api_key::store::CacheError;
///
/// let error = CacheError::Store(Arc::new(std::io::Error::other("the database is down")));
/// assert_eq!(error.to_string(), "the database is down");
/// ```
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum CacheError {
    /// The store returned this error.
    #[error(transparent)]
    Store(Arc<dyn Error + Send + Sync>),
    /// The lookup ended without a result: the store panicked, or its runtime shut down.
    #[error("the lookup ended without a result")]
    Ended,
}

/// The atomics that [`freshness`] uses.
mod atomics {
    pub(super) use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
}

// === impl CachedStore ===

impl<S> CachedStore<S> {
    /// Returns a builder for a cache over `store` that follows `changes`, the feed of that store.
    ///
    /// See [`CachedStore`] for an example.
    pub fn builder<C: ChangeFeed>(store: S, changes: C) -> CachedStoreBuilder<S, C> {
        CachedStoreBuilder::new(store, changes)
    }

    /// Returns the longest time for which a revoked key may still be accepted.
    ///
    /// Requests that arrive this long after the revocation was committed, or later, are rejected.
    /// The bound is the lease or the `max_staleness` of [`CachedStore::stale_if_error`], whichever
    /// is longer. See [`CachedStore`] for an example.
    pub fn revocation_bound(&self) -> Duration {
        self.cache.feed.lease.max(self.stale_for.unwrap_or_default())
    }

    /// Makes this handle accept stale records while the store fails (compare RFC 5861 §4).
    ///
    /// If the store fails, or does not answer within a lease, this handle accepts keys that were
    /// known to be valid at most `max_staleness` ago. **A key that was revoked in the meantime
    /// works for that long.** The setting belongs to this handle, so use one handle per layer:
    /// other clones of the cache stay strict. Stale entries never reject a key; the response is
    /// then 503.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tower_api_key::ConfigError> {
    /// use tower_api_key::store::{CachedStore, MemoryStore};
    ///
    /// let store = MemoryStore::new();
    /// let strict = CachedStore::builder(store.clone(), store.change_feed()).build()?;
    /// let lenient = strict.clone().stale_if_error(Duration::from_secs(300));
    /// assert_eq!(strict.revocation_bound(), Duration::from_secs(1));
    /// assert_eq!(lenient.revocation_bound(), Duration::from_secs(300));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn stale_if_error(mut self, max_staleness: Duration) -> Self {
        self.stale_for = Some(max_staleness);
        self
    }

    /// Returns the current state of the cache. See [`CacheStatus`] for an example.
    pub fn status(&self) -> CacheStatus {
        let feed = &self.cache.feed;
        CacheStatus {
            is_following: feed.is_proven(feed.lease_start(feed.now())),
            lag: feed.lag(),
            entries: self.cache.entries.record_count(),
            negative_entries: self.cache.entries.negative_count(),
            lookups: self.cache.lookups.load(atomic::Ordering::Relaxed),
        }
    }
}

impl<S> Clone for CachedStore<S> {
    fn clone(&self) -> Self {
        Self { cache: Arc::clone(&self.cache), stale_for: self.stale_for }
    }
}

impl<S> fmt::Debug for CachedStore<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CachedStore")
            .field("status", &self.status())
            .field("revocation_bound", &self.revocation_bound())
            .finish_non_exhaustive()
    }
}

impl<S> Drop for Cache<S> {
    fn drop(&mut self) {
        self.follower.abort();
    }
}
