//! The changes of a registry, implemented once by means of the operations of a transaction.

mod add;
mod edit;
mod remove;

pub(super) use add::{Insert, InsertFirst, Replace};
pub(super) use edit::{Deactivate, RecordUsage, Rehash, Update};
pub(super) use remove::{Remove, RemoveUser};

use super::{ActorKey, ChangeScope, OwnerScope, RegistryError, RegistryTransaction, TransactionalStore};
use crate::record::{KeyId, KeyRecord};
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
    actor: Option<&ActorKey>,
    ids: &[&KeyId],
) -> Result<Result<Locked, RegistryError>, T::Error> {
    lock_with_owner(transaction, actor, ids, None).await
}

async fn lock_with_owner<T: RegistryTransaction>(
    transaction: &mut T,
    actor: Option<&ActorKey>,
    ids: &[&KeyId],
    owner: Option<OwnerScope<'_>>,
) -> Result<Result<Locked, RegistryError>, T::Error> {
    let actor_id = actor.map(ActorKey::id).filter(|id| !ids.contains(id));
    let ids: Vec<&KeyId> = ids.iter().copied().chain(actor_id).collect();
    let locked = if ids.is_empty() && owner.is_none() { Vec::new() } else { transaction.lock(&ids, owner).await? };
    let locked = Locked(locked);
    Ok(actor.map_or(Ok(()), |actor| actor.check(locked.get(actor.id()).ok())).map(|()| locked))
}

/// Stores the record, unless the check has refused it.
async fn put<T: RegistryTransaction>(
    transaction: &mut T,
    checked: Result<KeyRecord, RegistryError>,
) -> Result<Result<KeyRecord, RegistryError>, T::Error> {
    if let Ok(record) = &checked {
        transaction.put(record).await?;
    }
    Ok(checked)
}
