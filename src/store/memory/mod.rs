//! Keys in memory, for tests and for services that load their keys.

mod announcements;
mod change_feed;
mod event_log;
mod index;
mod order;
mod permission_interner;
mod requests;
mod table;
mod transaction;
mod usage;
#[cfg(feature = "webhooks")]
mod webhooks;
mod write_lock;

use std::{
    convert::Infallible,
    ops::RangeInclusive,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::SystemTime,
};

use tokio::sync::broadcast;

pub use change_feed::MemoryChangeFeed;
pub use transaction::MemoryTransaction;

use super::{
    ChangeScope, DayUsage, ExpiryClaim, IdempotencyRecord, Invalidation, KeyFilter, KeyOrder, KeyPage, KeyStore,
    Lookup, RegistryError, TransactionalStore, UsageDelta, UtcDay,
    search::{self, Search},
};
use crate::{
    event::{EventCursor, EventFilter, KeyEvent},
    key::KeyDigest,
    record::{KeyId, KeyRecord},
};
use event_log::EventLog;
use index::Index;
use requests::Requests;
use table::DigestTable;
use write_lock::WriteLock;

/// A store that keeps keys in memory. Clones share the keys, and the next request sees a change.
///
/// Add keys with [`MemoryStore::add`], or let a [`KeyManager`](crate::KeyManager) issue and change
/// them.
///
/// - **Lookups.** A lookup of a key that this thread has used recently takes no lock. Any other
///   lookup read-locks one of 256 shards; a change of a key in the same shard locks it for some
///   nanoseconds.
/// - **Changes.** One change is made at a time. It sees all earlier changes, and no change undoes a
///   revocation.
/// - **Lists.** A list reads the keys of its organization, or of one owner in it. It reads revoked
///   keys only if the filter includes them. After 256 records it lets changes and other tasks run,
///   so no change waits for a list of millions. As a result, a page that reads more than 256
///   records is not a snapshot. A list of one environment reads the keys of all environments. A
///   search reads the keys of its list one by one; ordered by expiry or name, it reads all of them.
///   Removing a user reads all keys of that user at once.
/// - **Memory.** Equal permission sets are stored once. Each thread that looks up keys keeps
///   handles of at most 256 records, which can stay in memory after a change or a removal, but are
///   not returned any more.
/// - **Usage.** Each day on which a key is used takes 40 bytes, until it is removed after
///   [`usage_days`](crate::manage::KeyManagerBuilder::usage_days).
/// - **Events.** The newest 100,000 events are kept, unless they are pruned earlier. They are lost
///   with the store.
/// - **Hash flooding.** A lookup uses a seeded hash of the first eight bytes of the digest. Keys
///   with similar SHA-256 digests collide only if these eight bytes are equal. Only stored keys can
///   collide, and unknown keys are never stored.
///
/// ```
/// use tower_api_key::{KeyFormat, KeyHasher, KeyRecord, store::MemoryStore};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let keys = MemoryStore::new();
/// let key = KeyFormat::new("acme")?.generate()?;
/// keys.add(KeyRecord::for_key("k1", &key, &KeyHasher::sha256()).grant("stats", "read"))?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
pub struct MemoryStore(Arc<MemoryState>);

#[derive(Default)]
struct MemoryState {
    /// Read by requests.
    by_digest: DigestTable,
    /// Held by a transaction from its begin to its end.
    writer: WriteLock,
    /// Read by lists and transactions, and written when a transaction is committed.
    index: RwLock<Index>,
    /// Held while waiting for the index. So later readers queue behind a waiting writer. With the
    /// `RwLock` alone, they could starve the writer.
    gate: Mutex<()>,
    /// Written when a transaction is committed.
    requests: Mutex<Requests>,
    /// Sends changes in their order, once a change feed has subscribed.
    changes: OnceLock<broadcast::Sender<Invalidation>>,
    events: EventLog,
    #[cfg(feature = "webhooks")]
    webhooks: webhooks::WebhookQueue,
}

/// The maximum number of usage records in one transaction.
const USAGE_BATCH: usize = 32;

// === impl MemoryStore, MemoryState ===

impl MemoryStore {
    /// Creates a store without keys.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a record, without a limit. It is not a change, so it has no event.
    ///
    /// # Errors
    ///
    /// [`RegistryError::DuplicateId`], [`RegistryError::DuplicateDigest`].
    pub fn add(&self, record: KeyRecord) -> Result<(), RegistryError> {
        let mut transaction = MemoryTransaction::begin(&self.0);
        transaction.insert_record(record)?;
        transaction.apply();
        Ok(())
    }

    /// Returns a feed for a `CachedStore`. It reports the changes that are made after it has
    /// subscribed.
    pub fn change_feed(&self) -> MemoryChangeFeed {
        MemoryChangeFeed::new(self.clone())
    }

    #[inline]
    fn find_record(&self, digest: &KeyDigest) -> Option<KeyRecord> {
        self.0.by_digest.find(digest)
    }
}

impl MemoryState {
    /// Locks the index for a reader outside of transactions.
    fn read(&self) -> RwLockReadGuard<'_, Index> {
        let _gate = self.gate.lock();
        self.read_as_writer()
    }

    /// Locks the index for the transaction that holds the write lock. It is the only writer, so no
    /// writer waits for the index.
    fn read_as_writer(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// A write cannot fail midway, so a poisoned lock is safe to use.
    fn write(&self) -> RwLockWriteGuard<'_, Index> {
        let _gate = self.gate.lock();
        self.index.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn requests(&self) -> MutexGuard<'_, Requests> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn newest(&self, filter: &KeyFilter) -> Vec<KeyRecord> {
        let mut page = Vec::new();
        let mut after = filter.after.clone();
        loop {
            after = self.read().read_on(filter, after.as_ref(), &mut page);
            if after.is_none() {
                return page;
            }
            tokio::task::yield_now().await;
        }
    }

    fn notify(&self, changed: &KeyDigest) {
        if let Some(changes) = self.changes.get() {
            // Fails if every feed was dropped.
            let _ = changes.send(Invalidation::Digest(*changed));
        }
    }
}

impl KeyStore for MemoryStore {
    type Error = Infallible;

    async fn find(&self, digest: &KeyDigest) -> Result<Option<KeyRecord>, Infallible> {
        Ok(self.find_record(digest))
    }

    fn try_find(&self, digest: &KeyDigest) -> Lookup {
        self.find_record(digest).into()
    }
}

impl TransactionalStore for MemoryStore {
    type Transaction<'s> = MemoryTransaction<'s>;

    async fn read(&self, id: &KeyId) -> Result<Option<KeyRecord>, Infallible> {
        Ok(self.0.read().find(id))
    }

    async fn read_page(&self, filter: &KeyFilter) -> Result<Vec<KeyRecord>, Infallible> {
        if filter.order == KeyOrder::Newest {
            Ok(self.0.newest(filter).await)
        } else {
            search::listed(self, filter).await
        }
    }

    async fn search_page(&self, filter: &KeyFilter) -> Result<KeyPage, Infallible> {
        let mut search = Search::new(filter);
        loop {
            if let Some(page) = search.add(self.0.newest(search.list()).await) {
                return Ok(page);
            }
        }
    }

    async fn read_idempotency(&self, id: &[u8; 32]) -> Result<Option<IdempotencyRecord>, Infallible> {
        Ok(self.0.requests().find(id).cloned())
    }

    /// Blocks while another transaction is open: do not wait for anything else before you end it.
    async fn begin(&self, _: ChangeScope<'_>) -> Result<MemoryTransaction<'_>, Infallible> {
        Ok(MemoryTransaction::begin(&self.0))
    }

    async fn record_usage(&self, usage: &[UsageDelta]) -> Result<(), Infallible> {
        // Do not await between the transactions: a caller that drops the future there would lose
        // the rest of the usage.
        for batch in usage.chunks(USAGE_BATCH) {
            let mut transaction = MemoryTransaction::begin(&self.0);
            for delta in batch {
                transaction.add_usage(delta);
            }
            transaction.apply();
        }
        Ok(())
    }

    async fn read_usage(&self, id: &KeyId, days: RangeInclusive<UtcDay>) -> Result<Option<Vec<DayUsage>>, Infallible> {
        Ok(Some(self.0.read().usage.of(id, &days)))
    }

    async fn prune_usage(&self, before: UtcDay) -> Result<u64, Infallible> {
        let (mut removed, mut after) = (0, None);
        loop {
            let pruned = {
                let _turn = self.0.writer.acquire();
                self.0.write().usage.prune(before, after.as_ref())
            };
            (removed, after) = (removed + pruned.0, pruned.1);
            if after.is_none() {
                return Ok(removed);
            }
            tokio::task::yield_now().await;
        }
    }

    async fn read_events_since(&self, cursor: EventCursor, limit: usize) -> Result<Option<Vec<KeyEvent>>, Infallible> {
        Ok(Some(self.0.events.since(cursor, limit)))
    }

    async fn read_newest_event(&self) -> Result<Option<EventCursor>, Infallible> {
        Ok(Some(self.0.events.newest()))
    }

    async fn read_events(&self, filter: &EventFilter) -> Result<Option<Vec<KeyEvent>>, Infallible> {
        Ok(Some(self.0.page_of_events(filter).await))
    }

    async fn delete_events(&self, before: SystemTime, limit: usize) -> Result<usize, Infallible> {
        Ok(self.0.prune_events(before, limit))
    }

    async fn write_expiries(&self, now: SystemTime, limit: usize) -> Result<usize, Infallible> {
        if self.0.read().due(now).next().is_none() {
            return Ok(0);
        }
        Ok(MemoryTransaction::begin(&self.0).announce_expiries(now, limit))
    }

    async fn claim_expiring(&self, claim: &ExpiryClaim) -> Result<Option<Vec<KeyRecord>>, Infallible> {
        let _writer = self.0.writer.acquire();
        Ok(Some(self.0.write().claim_expiring(claim)))
    }

    async fn release_expiring(&self, records: &[KeyRecord]) -> Result<(), Infallible> {
        let _writer = self.0.writer.acquire();
        self.0.write().release_expiring(records);
        Ok(())
    }
}

impl std::fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryStore").field("keys", &self.0.read().len()).finish()
    }
}
