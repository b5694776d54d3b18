//! The six operations of a transaction, to implement for a database.

use std::time::SystemTime;

use super::{BoxError, CountedKeys, IdempotencyRecord, OwnerScope, RegistryError};
use crate::{
    event::KeyEvent,
    record::{KeyId, KeyRecord},
};

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
