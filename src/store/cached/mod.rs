//! A store's answers in memory, with a bound on how long a revoked key may still work.
//!
//! | what a request finds                                     | what becomes of it                                          |
//! |----------------------------------------------------------|-------------------------------------------------------------|
//! | an active record, and the changes are followed           | answered at once, from memory                               |
//! | a key that is unknown or off, and the changes are followed | told so when the next heartbeat is back: it may be new    |
//! | nothing, or the changes are not followed                 | the store is asked, once for all who ask at the same time   |
//! | the same, and the store fails                            | 503, unless it was told to accept what is stale             |
//!
//! Memory alone lets in; nobody is told from memory alone that a key is unknown, disabled or revoked. So a key that is made, or switched on
//! again, on one node works on all others at once. New permissions and other edits take as long as a revocation.

mod builder;
mod entries;
mod follower;
mod freshness;
mod lookup;
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
use follower::FeedState;
use single_flight::SingleFlight;

use super::ChangeFeed;
use crate::record::Generation;

/// A store, with its answers kept in memory while the changes in it are followed.
///
/// A key that is found in memory costs what it costs in a [`MemoryStore`](super::MemoryStore), and a clock that is read. Each thread has up to 64
/// records of its own at hand for that, which it may hold for longer than there is a cache. A revoked key is
/// refused by every request that arrives [`CachedStore::revocation_bound`] after the revocation was committed, or later, also while
/// the network or the database fails, and after this process was stopped: the cache answers from memory only while a heartbeat, sent through
/// the channel of the changes no longer ago than the lease (1 s), has come back. When none has, every look-up goes to the
/// store; when that fails too, it is 503.
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
/// Clones share what is kept. A [`KeyRegistry`](crate::KeyRegistry) in a cache is one still: what is changed through the cache is seen by this
/// node's next request, and by all others within the bound. Other edits (permissions, a name, times) take as long as a revocation; uses are no
/// changes, so a record from memory may tell of fewer than there were.
///
/// The bound rests on a store that answers with what was last committed (a replica that lags behind has no bound, nor have two primaries), on
/// changes that are all told, and on a monotonic clock that runs: on Linux it stands still while the whole machine is suspended.
///
/// | metric (feature `metrics`)    | what                                                                                  |
/// |-------------------------------|---------------------------------------------------------------------------------------|
/// | `api_key_cache_lookups_total` | how often the store was asked                                                         |
/// | `api_key_changes_lag_seconds` | how long a heartbeat took, there and back: a histogram                                |
/// | `api_key_changes_followed`    | 1, or 0 while the changes are not followed; feature `tracing` warns then, and says why |
///
/// The changes are followed by a task of the tokio runtime in which the cache is built, until the last clone is gone.
pub struct CachedStore<S> {
    cache: Arc<Cache<S>>,
    /// For how long this handle serves what it cannot prove, when the store fails.
    stale_for: Option<Duration>,
}

struct Cache<S> {
    id: Generation,
    store: S,
    entries: CacheEntries,
    flights: Arc<SingleFlight>,
    following: Arc<FeedState>,
    /// In nanoseconds.
    ttl: u64,
    lookups: atomic::AtomicU64,
    follower: AbortHandle,
}

/// How a cache is doing.
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
    /// Whether answers are given from memory: a heartbeat that was sent within the lease has come back.
    pub is_following: bool,
    /// How long the newest heartbeat took that came back: a change takes about half of it. Feature `metrics` exports each one.
    pub lag: Option<Duration>,
    /// The records in memory, current or not.
    pub entries: usize,
    /// The digests in memory that have no record: negative entries.
    pub negative_entries: usize,
    /// How often the store was asked.
    pub lookups: u64,
}

/// Why a [`CachedStore`] has no answer. Several requests may have waited for it, so they share it.
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
    /// The store's own error.
    #[error(transparent)]
    Store(Arc<dyn Error + Send + Sync>),
    /// The look-up ended without an answer: the store panicked, or its runtime went away.
    #[error("the look-up ended without an answer")]
    Ended,
}

/// The atomics of [`freshness`].
mod atomics {
    pub(super) use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
}

// === impl CachedStore ===

impl<S> CachedStore<S> {
    /// A cache over `store`, which follows `changes`: those of the very same store.
    pub fn builder<C: ChangeFeed>(store: S, changes: C) -> CachedStoreBuilder<S, C> {
        CachedStoreBuilder::new(store, changes)
    }

    /// A revoked key is refused by every request that arrives this long after the revocation was committed, or later.
    ///
    /// It is the lease, or what [`CachedStore::stale_if_error`] was told, whichever is longer.
    pub fn revocation_bound(&self) -> Duration {
        self.cache.following.lease.max(self.stale_for.unwrap_or_default())
    }

    /// This handle prefers availability to freshness: where the store fails, or says nothing for the length of a lease, it accepts keys that it
    /// knew to be good at most `max_staleness` ago. **A key that was revoked meanwhile works for as long.** Handles are per
    /// layer: other clones of this cache stay as strict as they were. Nobody is refused on what is stale: that is 503 still.
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

    /// How the cache is doing.
    pub fn status(&self) -> CacheStatus {
        let following = &self.cache.following;
        CacheStatus {
            is_following: following.is_proven(following.lease_start(following.now())),
            lag: following.lag(),
            entries: self.cache.entries.records(),
            negative_entries: self.cache.entries.absences(),
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
