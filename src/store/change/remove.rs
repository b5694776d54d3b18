//! Changes that remove keys.

use super::{Locked, RegistryChange, lock, lock_with_owner};
use crate::{
    record::{KeyId, KeyRecord, Owner},
    store::{ActorKey, ChangeKind, ChangeScope, OwnerScope, RegistryError, RegistryTransaction},
};

pub(in crate::store) struct Remove<'c> {
    pub(in crate::store) id: &'c KeyId,
    pub(in crate::store) actor: Option<&'c ActorKey>,
}

pub(in crate::store) struct RemoveUser<'c> {
    pub(in crate::store) organization: Option<&'c str>,
    pub(in crate::store) user: Owner,
    pub(in crate::store) actor: Option<&'c ActorKey>,
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
        let locked = lock(transaction, self.actor, &[self.id]).await?;
        let removed = locked.and_then(|locked| locked.get(self.id).cloned());
        if removed.is_ok() {
            transaction.delete(&[self.id]).await?;
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
        let removed = match lock_with_owner(transaction, self.actor, &[], Some(self.owner())).await? {
            Ok(Locked(locked)) => locked.into_iter().filter(|record| self.owner().contains(record)),
            Err(refusal) => return Ok(Err(refusal)),
        };
        let mut removed: Vec<KeyRecord> = removed.collect();
        // The actor's own key may be in the list twice: it is locked by its id, and as a key of the
        // user.
        removed.sort_by(|one, other| one.id().cmp(other.id()));
        removed.dedup_by(|one, other| one.id() == other.id());
        let ids: Vec<&KeyId> = removed.iter().map(KeyRecord::id).collect();
        transaction.delete(&ids).await?;
        Ok(Ok(removed))
    }
}

impl RemoveUser<'_> {
    fn owner(&self) -> OwnerScope<'_> {
        OwnerScope { organization: self.organization, owner: Some(&self.user) }
    }
}
