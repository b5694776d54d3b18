//! The traits to implement for a database: a store with transactions, and the six operations of a
//! transaction.

use std::{ops::RangeInclusive, time::SystemTime};

use super::{
    BoxError, ChangeScope, CountedKeys, DayUsage, IdempotencyRecord, KeyFilter, KeyPage, KeyStore, OwnerScope,
    RegistryChange, RegistryError, UsageDelta, UtcDay, change, search::Search,
};
use crate::{
    event::KeyEvent,
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
}

/// The operations of a transaction. Nothing is visible outside before [`commit`](Self::commit); a
/// transaction that is dropped is rolled back.
///
/// Each change calls [`lock`](Self::lock) at most once, before it writes. Return a database error
/// as the outer `Err`. Return a duplicate as the inner [`RegistryError`]: the change then decides
/// what to return and is rolled back.
///
/// ```
/// use tower_api_key::{KeyRecord, store::{ChangeKind, ChangeScope, MemoryStore, RegistryTransaction, TransactionalStore}};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = MemoryStore::new();
/// let mut transaction = store.begin(ChangeScope::new(ChangeKind::Add)).await?;
/// transaction.insert(&KeyRecord::new("k1", [7; 32])).await??;
/// transaction.commit().await?;
/// assert!(store.read(&"k1".into()).await?.is_some());
/// # Ok(())
/// # }
/// ```
pub trait RegistryTransaction: Send {
    /// The error of a store that failed.
    type Error: Into<BoxError>;

    /// Returns the records with these ids, and every record of `owner`, in any order. None of them
    /// may change until the transaction ends. An id without a record is left out, and a record that
    /// is selected twice may be returned twice.
    ///
    /// Take exclusive locks. With a shared lock (`for share`), overlapping changes by one actor
    /// could block a revocation of the actor's key forever.
    ///
    /// # Errors
    ///
    /// The store failed.
    fn lock(
        &mut self,
        ids: &[&KeyId],
        owner: Option<OwnerScope<'_>>,
    ) -> impl Future<Output = Result<Vec<KeyRecord>, Self::Error>> + Send;

    /// Inserts a record. Refuses with [`RegistryError::DuplicateId`], then with
    /// [`RegistryError::DuplicateDigest`].
    ///
    /// # Errors
    ///
    /// The store failed.
    fn insert(
        &mut self,
        record: &KeyRecord,
    ) -> impl Future<Output = Result<Result<(), RegistryError>, Self::Error>> + Send;

    /// Stores this record in place of the locked one with its id. Its digest, owner, organization
    /// and environment are those of the locked record.
    ///
    /// # Errors
    ///
    /// The store failed.
    fn put(&mut self, record: &KeyRecord) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Deletes locked records.
    ///
    /// # Errors
    ///
    /// The store failed.
    fn delete(&mut self, ids: &[&KeyId]) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Counts records, up to `max`: a store may stop there.
    ///
    /// # Errors
    ///
    /// The store failed.
    fn count(&mut self, keys: CountedKeys<'_>, max: u32) -> impl Future<Output = Result<u32, Self::Error>> + Send;

    /// Stores the digest and the version of this record. All other fields equal those of the locked
    /// record. Refuses with [`RegistryError::DuplicateDigest`].
    ///
    /// # Errors
    ///
    /// The store failed.
    fn set_digest(
        &mut self,
        record: &KeyRecord,
    ) -> impl Future<Output = Result<Result<(), RegistryError>, Self::Error>> + Send;

    /// Stores the idempotency key of a request, to be committed with the key that it makes.
    ///
    /// If a record with this id is stored and expires after `now`, refuses with its
    /// [`answer`](IdempotencyRecord::answer). An expired record is replaced. Of two transactions
    /// with the same id, one waits until the other one ends: a unique index does that.
    ///
    /// Remove some expired records too. By default it refuses with
    /// [`RegistryError::IdempotencyUnsupported`].
    ///
    /// # Errors
    ///
    /// The store failed.
    fn claim(
        &mut self,
        claim: &IdempotencyRecord,
        now: SystemTime,
    ) -> impl Future<Output = Result<Result<(), RegistryError>, Self::Error>> + Send {
        let _ = (claim, now);
        async { Ok(Err(RegistryError::IdempotencyUnsupported)) }
    }

    /// Writes the events of the change, in this order, to be committed with it.
    ///
    /// By default it writes nothing: the store then keeps no events.
    ///
    /// # Errors
    ///
    /// The store failed.
    fn record_events(&mut self, events: &[KeyEvent]) -> impl Future<Output = Result<(), Self::Error>> + Send {
        let _ = events;
        async { Ok(()) }
    }

    /// Commits. When it returns, the change is durable and visible to every lookup.
    ///
    /// # Errors
    ///
    /// The store failed. Whether the change was made is then unknown.
    fn commit(self) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Rolls back a change that was refused. By default it drops the transaction.
    ///
    /// # Errors
    ///
    /// The store failed.
    fn rollback(self) -> impl Future<Output = Result<(), Self::Error>> + Send
    where
        Self: Sized,
    {
        drop(self);
        async { Ok(()) }
    }
}
