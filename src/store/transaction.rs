//! The trait to implement for a database: a store with transactions.

use std::{ops::RangeInclusive, time::SystemTime};

use super::{
    ChangeScope, DayUsage, ExpiryClaim, IdempotencyRecord, KeyFilter, KeyPage, KeyStore, RegistryChange, RegistryError,
    RegistryTransaction, UsageDelta, UtcDay, change, search::Search,
};
use crate::{
    event::{EventCursor, EventFilter, KeyEvent},
    record::{KeyId, KeyRecord},
};

/// A store over a database with transactions. Every implementation is also a
/// [`KeyRegistry`](super::KeyRegistry).
///
/// Implement it for a database of your own: [`read`](Self::read), [`read_page`](Self::read_page),
/// [`begin`](Self::begin), and the six operations of [`RegistryTransaction`]. This library applies
/// the rules of each change by calling these operations, so your store does not implement the
/// rules. All other methods have defaults.
///
/// The example `custom_store` implements it over SQLite in at most 80 lines. `store::testkit`
/// (feature `testkit`) tests an implementation.
///
/// ```
/// use tower_api_key::store::{MemoryStore, TransactionalStore};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = MemoryStore::new();
/// assert!(store.read(&"k1".into()).await?.is_none());
/// # Ok(())
/// # }
/// ```
///
/// # Locks
///
/// What a transaction reads must stay true until it ends. A store with one writer at a time needs
/// no other lock: for example a map behind a mutex, or SQLite after `begin immediate`. In a
/// database that locks rows, [`begin`](Self::begin) takes the locks that [`ChangeScope`] asks for,
/// and [`RegistryTransaction::lock`] locks rows in the order of their ids, so that no two
/// transactions wait for each other.
pub trait TransactionalStore: KeyStore {
    /// A transaction that has begun.
    type Transaction<'s>: RegistryTransaction<Error = Self::Error>
    where
        Self: 's;

    /// Returns the record with this id. [`KeyRegistry::get`](super::KeyRegistry::get) returns the
    /// same.
    ///
    /// # Errors
    ///
    /// The store failed.
    fn read(&self, id: &KeyId) -> impl Future<Output = Result<Option<KeyRecord>, Self::Error>> + Send;

    /// Returns the records that match `filter`: in descending order of their ids, after
    /// `filter.after`, at most `filter.limit`. [`KeyRegistry::list`](super::KeyRegistry::list)
    /// returns the same.
    ///
    /// # Errors
    ///
    /// The store failed.
    fn read_page(&self, filter: &KeyFilter) -> impl Future<Output = Result<Vec<KeyRecord>, Self::Error>> + Send;

    /// Returns the record of an idempotency key, by its digest.
    ///
    /// By default it finds none. Implement it together with
    /// [`claim`](RegistryTransaction::claim). With it, the answer to a repeated request names the
    /// new key, although the old one has been replaced by now.
    ///
    /// # Errors
    ///
    /// The store failed.
    fn read_idempotency(
        &self,
        id: &[u8; 32],
    ) -> impl Future<Output = Result<Option<IdempotencyRecord>, Self::Error>> + Send {
        let _ = id;
        async { Ok(None) }
    }

    /// Returns one page of a search. [`KeyRegistry::search`](super::KeyRegistry::search) returns
    /// the same.
    ///
    /// # Errors
    ///
    /// The store failed.
    fn search_page(&self, filter: &KeyFilter) -> impl Future<Output = Result<KeyPage, Self::Error>> + Send {
        async move {
            let mut search = Search::new(filter);
            loop {
                let records = self.read_page(search.list()).await?;
                if let Some(page) = search.add(records) {
                    return Ok(page);
                }
            }
        }
    }

    /// Begins a transaction, with the locks of `scope`.
    ///
    /// # Errors
    ///
    /// The store failed.
    fn begin(&self, scope: ChangeScope<'_>) -> impl Future<Output = Result<Self::Transaction<'_>, Self::Error>> + Send;

    /// Makes a change: begins a transaction, applies the change, and commits it unless it is
    /// refused.
    ///
    /// Override it to add a timeout, or to repeat a change that met a conflict in the database.
    ///
    /// # Errors
    ///
    /// The store failed: see [Failures](super::KeyRegistry#failures).
    fn transact<C: RegistryChange>(
        &self,
        change: &C,
    ) -> impl Future<Output = Result<Result<C::Output, RegistryError>, Self::Error>> + Send {
        change::run(self, change)
    }

    /// Adds to the use counts: see [`KeyRegistry::record_usage`](super::KeyRegistry::record_usage).
    ///
    /// By default it reads and stores each record. Override it if your database can do this in one
    /// statement.
    ///
    /// # Errors
    ///
    /// The store failed: see [Failures](super::KeyRegistry#failures).
    fn record_usage(&self, usage: &[UsageDelta]) -> impl Future<Output = Result<(), Self::Error>> + Send {
        async move { self.transact(&change::RecordUsage { usage }).await.map(drop) }
    }

    /// Returns the usage of a key by day. [`KeyRegistry::usage`](super::KeyRegistry::usage) returns
    /// the same.
    ///
    /// By default it returns `None`: the store does not keep usage by day. If you override it, also
    /// override [`record_usage`](Self::record_usage) and [`prune_usage`](Self::prune_usage), and
    /// delete the usage of a key together with the key.
    ///
    /// # Errors
    ///
    /// The store failed.
    fn read_usage(
        &self,
        _id: &KeyId,
        _days: RangeInclusive<UtcDay>,
    ) -> impl Future<Output = Result<Option<Vec<DayUsage>>, Self::Error>> + Send {
        async { Ok(None) }
    }

    /// Removes usage of old days: see
    /// [`KeyRegistry::prune_usage`](super::KeyRegistry::prune_usage). By default it does nothing.
    ///
    /// # Errors
    ///
    /// The store failed.
    fn prune_usage(&self, _before: UtcDay) -> impl Future<Output = Result<u64, Self::Error>> + Send {
        async { Ok(0) }
    }

    /// Returns the events after this cursor, in order: see
    /// [`KeyRegistry::events_since`](super::KeyRegistry::events_since).
    ///
    /// By default the store keeps no events. A store that keeps them implements the four methods
    /// below, too, and [`RegistryTransaction::record_events`].
    ///
    /// # Errors
    ///
    /// The store failed.
    fn read_events_since(
        &self,
        _cursor: EventCursor,
        _limit: usize,
    ) -> impl Future<Output = Result<Option<Vec<KeyEvent>>, Self::Error>> + Send {
        async { Ok(None) }
    }

    /// Returns the cursor after all events so far: see
    /// [`KeyRegistry::newest_event`](super::KeyRegistry::newest_event).
    ///
    /// # Errors
    ///
    /// The store failed.
    fn read_newest_event(&self) -> impl Future<Output = Result<Option<EventCursor>, Self::Error>> + Send {
        async { Ok(None) }
    }

    /// Returns a page of events: see [`KeyRegistry::events`](super::KeyRegistry::events).
    ///
    /// # Errors
    ///
    /// The store failed.
    fn read_events(
        &self,
        _filter: &EventFilter,
    ) -> impl Future<Output = Result<Option<Vec<KeyEvent>>, Self::Error>> + Send {
        async { Ok(None) }
    }

    /// Deletes old events: see [`KeyRegistry::prune_events`](super::KeyRegistry::prune_events).
    ///
    /// # Errors
    ///
    /// The store failed.
    fn delete_events(
        &self,
        _before: SystemTime,
        _limit: usize,
    ) -> impl Future<Output = Result<usize, Self::Error>> + Send {
        async { Ok(0) }
    }

    /// Writes the events of keys that have expired: see
    /// [`KeyRegistry::record_expiries`](super::KeyRegistry::record_expiries).
    ///
    /// # Errors
    ///
    /// The store failed.
    fn write_expiries(
        &self,
        _now: SystemTime,
        _limit: usize,
    ) -> impl Future<Output = Result<usize, Self::Error>> + Send {
        async { Ok(0) }
    }

    /// Marks expiries as announced: see
    /// [`KeyRegistry::claim_expiring`](super::KeyRegistry::claim_expiring). By default it returns
    /// `None`: the store keeps no marks.
    ///
    /// # Errors
    ///
    /// The store failed: see [Failures](super::KeyRegistry#failures).
    fn claim_expiring(
        &self,
        _claim: &ExpiryClaim,
    ) -> impl Future<Output = Result<Option<Vec<KeyRecord>>, Self::Error>> + Send {
        async { Ok(None) }
    }

    /// Removes marks: see
    /// [`KeyRegistry::release_expiring`](super::KeyRegistry::release_expiring). By default it does
    /// nothing.
    ///
    /// # Errors
    ///
    /// The store failed: see [Failures](super::KeyRegistry#failures).
    fn release_expiring(&self, _records: &[KeyRecord]) -> impl Future<Output = Result<(), Self::Error>> + Send {
        async { Ok(()) }
    }
}
