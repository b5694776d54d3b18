//! The changes of a registry, implemented once by means of the operations of a transaction.

mod add;
mod batch;
mod edit;
mod remove;

pub(super) use add::{Insert, InsertFirst, Replace};
pub(super) use batch::ChangeBatch;
pub(super) use edit::{Deactivate, RecordUsage, Rehash, Update};
pub(super) use remove::{Remove, RemoveUser};

use super::{
    ActorKey, ChangeContext, ChangeScope, OwnerScope, RegistryError, RegistryTransaction, TransactionalStore,
    change_context::Stamp,
};
use crate::{
    event::{KeyEvent, KeyEventKind},
    record::{KeyId, KeyRecord},
};
use sealed::Sealed;

/// A change of a registry, for stores that override [`TransactionalStore::transact`]. Only this
/// crate implements it.
///
/// See [`TransactionalStore`] for an example of a store.
pub trait RegistryChange: Sealed + Sync {
    /// The value that the change returns.
    type Output: Send;

    /// Returns what the change does, and the locks that it needs.
    fn scope(&self) -> ChangeScope<'_>;

    /// Checks and applies the change. After an inner [`RegistryError`] the transaction must be
    /// rolled back.
    ///
    /// # Errors
    ///
    /// The store failed.
    fn apply<T: RegistryTransaction>(
        &self,
        transaction: &mut T,
    ) -> impl Future<Output = Result<Result<Self::Output, RegistryError>, T::Error>> + Send;
}

mod sealed {
    /// Keeps other crates from implementing changes.
    pub trait Sealed {}
}

impl Sealed for Insert<'_> {}
impl Sealed for InsertFirst<'_> {}
impl Sealed for Replace<'_> {}
impl Sealed for Update<'_> {}
impl Sealed for Deactivate<'_> {}
impl Sealed for Rehash<'_> {}
impl Sealed for RecordUsage<'_> {}
impl Sealed for ChangeBatch<'_> {}
impl Sealed for Remove<'_> {}
impl Sealed for RemoveUser<'_> {}

/// Makes a change in a transaction of its own.
pub(super) async fn run<S: TransactionalStore + ?Sized, C: RegistryChange>(
    store: &S,
    change: &C,
) -> Result<Result<C::Output, RegistryError>, S::Error> {
    let mut transaction = store.begin(change.scope()).await?;
    let answer = change.apply(&mut transaction).await?;
    match answer {
        Ok(_) => transaction.commit().await?,
        Err(_) => transaction.rollback().await?,
    }
    Ok(answer)
}

// === within a transaction ===

/// The records that a change has locked.
struct Locked(Vec<KeyRecord>);

impl Locked {
    fn get(&self, id: &KeyId) -> Result<&KeyRecord, RegistryError> {
        self.0.iter().find(|record| record.id() == id).ok_or_else(|| RegistryError::NotFound(id.clone()))
    }
}

/// Locks the records of a change and the record of its actor, then checks the actor. The check is
/// last, because the key may change or expire during the wait for the locks.
async fn lock<T: RegistryTransaction>(
    transaction: &mut T,
    context: Option<&ChangeContext>,
    ids: &[&KeyId],
) -> Result<Result<Locked, RegistryError>, T::Error> {
    lock_with_owner(transaction, context, ids, None).await
}

async fn lock_with_owner<T: RegistryTransaction>(
    transaction: &mut T,
    context: Option<&ChangeContext>,
    ids: &[&KeyId],
    owner: Option<OwnerScope<'_>>,
) -> Result<Result<Locked, RegistryError>, T::Error> {
    let actor = context.and_then(ChangeContext::actor_key);
    let actor_id = actor.map(ActorKey::id).filter(|id| !ids.contains(id));
    let ids: Vec<&KeyId> = ids.iter().copied().chain(actor_id).collect();
    let locked = if ids.is_empty() && owner.is_none() { Vec::new() } else { transaction.lock(&ids, owner).await? };
    let locked = Locked(locked);
    Ok(actor.map_or(Ok(()), |actor| actor.check(locked.get(actor.id()).ok())).map(|()| locked))
}

/// Stores the record in place of the locked one, and writes the event.
async fn put<T: RegistryTransaction>(
    transaction: &mut T,
    stamp: &Stamp<'_>,
    kind: KeyEventKind,
    before: &KeyRecord,
    after: KeyRecord,
) -> Result<KeyRecord, T::Error> {
    let after = stamp.changed(before, after);
    write_event(transaction, stamp.event(kind, Some(before), Some(&after))).await?;
    transaction.put(&after).await?;
    Ok(after)
}

/// Stores the idempotency key of the request that makes this key, if it has one.
async fn claim<T: RegistryTransaction>(
    transaction: &mut T,
    stamp: &Stamp<'_>,
    made: &KeyRecord,
) -> Result<Result<(), RegistryError>, T::Error> {
    match stamp.claim(made.id()) {
        Some((claim, now)) => transaction.claim(&claim, now).await,
        None => Ok(Ok(())),
    }
}

/// Inserts the record and writes its event. A database refuses a duplicate before the event is
/// written.
async fn insert<T: RegistryTransaction>(
    transaction: &mut T,
    stamp: &Stamp<'_>,
    record: &KeyRecord,
) -> Result<Result<(), RegistryError>, T::Error> {
    let record = stamp.created(record);
    let event = stamp.event(KeyEventKind::Issued, None, Some(&record));
    let inserted = transaction.insert(&record).await?;
    if inserted.is_ok() {
        write_event(transaction, event).await?;
    }
    Ok(inserted)
}

async fn write_event<T: RegistryTransaction>(transaction: &mut T, event: Option<KeyEvent>) -> Result<(), T::Error> {
    match event {
        Some(event) => transaction.record_events(&[event]).await,
        None => Ok(()),
    }
}
