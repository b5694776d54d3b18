//! Changes that remove keys.

use super::{Locked, RegistryChange, lock, lock_with_owner};
use crate::{
    event::KeyEventKind,
    record::{KeyId, KeyRecord, Owner},
    store::{
        ChangeContext, ChangeKind, ChangeScope, OwnerScope, RegistryError, RegistryTransaction, change_context::Stamp,
    },
};

pub(in crate::store) struct Remove<'c> {
    pub(in crate::store) id: &'c KeyId,
    pub(in crate::store) context: Option<&'c ChangeContext>,
}

pub(in crate::store) struct RemoveUser<'c> {
    pub(in crate::store) organization: Option<&'c str>,
    pub(in crate::store) user: Owner,
    pub(in crate::store) context: Option<&'c ChangeContext>,
}

// === impl RegistryChange ===

impl RegistryChange for Remove<'_> {
    type Output = KeyRecord;

    fn scope(&self) -> ChangeScope<'_> {
        ChangeScope::new(ChangeKind::Revoke)
    }

    async fn apply<T: RegistryTransaction>(
        &self,
        transaction: &mut T,
    ) -> Result<Result<KeyRecord, RegistryError>, T::Error> {
        let locked = lock(transaction, self.context, &[self.id]).await?;
        let removed = locked.and_then(|locked| locked.get(self.id).cloned());
        if let Ok(record) = &removed {
            delete(transaction, self.context, std::slice::from_ref(record)).await?;
        }
        Ok(removed)
    }
}

impl RegistryChange for RemoveUser<'_> {
    type Output = Vec<KeyRecord>;

    fn scope(&self) -> ChangeScope<'_> {
        ChangeScope::new(ChangeKind::Revoke).with_owner(self.owner())
    }

    async fn apply<T: RegistryTransaction>(
        &self,
        transaction: &mut T,
    ) -> Result<Result<Vec<KeyRecord>, RegistryError>, T::Error> {
        let removed = match lock_with_owner(transaction, self.context, &[], Some(self.owner())).await? {
            Ok(Locked(locked)) => locked.into_iter().filter(|record| self.owner().contains(record)),
            Err(refusal) => return Ok(Err(refusal)),
        };
        let mut removed: Vec<KeyRecord> = removed.collect();
        // The actor's own key may be in the list twice: it is locked by its id, and as a key of the
        // user.
        removed.sort_by(|one, other| one.id().cmp(other.id()));
        removed.dedup_by(|one, other| one.id() == other.id());
        delete(transaction, self.context, &removed).await?;
        Ok(Ok(removed))
    }
}

/// Writes the events and deletes the records.
pub(super) async fn delete<T: RegistryTransaction>(
    transaction: &mut T,
    context: Option<&ChangeContext>,
    removed: &[KeyRecord],
) -> Result<(), T::Error> {
    let stamp = Stamp::of(context);
    let events: Vec<_> =
        removed.iter().filter_map(|record| stamp.event(KeyEventKind::Removed, Some(record), None)).collect();
    transaction.record_events(&events).await?;
    let ids: Vec<&KeyId> = removed.iter().map(KeyRecord::id).collect();
    transaction.delete(&ids).await
}

impl RemoveUser<'_> {
    fn owner(&self) -> OwnerScope<'_> {
        OwnerScope { organization: self.organization, owner: Some(&self.user) }
    }
}
