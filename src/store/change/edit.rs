//! Changes that neither add nor remove a key.

use std::collections::BTreeMap;

use super::{RegistryChange, lock, put};
use crate::{
    key::KeyDigest,
    record::{KeyId, KeyRecord, Status},
    store::{ActorKey, ChangeKind, ChangeScope, RegistryError, RegistryTransaction, UsageDelta},
};

pub(in crate::store) struct Update<'c> {
    pub(in crate::store) changed: &'c KeyRecord,
    pub(in crate::store) actor: Option<&'c ActorKey>,
}

/// Revokes or disables a key, whatever its version.
pub(in crate::store) struct Deactivate<'c> {
    pub(in crate::store) id: &'c KeyId,
    pub(in crate::store) status: Status,
    pub(in crate::store) actor: Option<&'c ActorKey>,
}

pub(in crate::store) struct Rehash<'c> {
    pub(in crate::store) id: &'c KeyId,
    pub(in crate::store) from: &'c KeyDigest,
    pub(in crate::store) to: &'c KeyDigest,
}

pub(in crate::store) struct RecordUsage<'c> {
    pub(in crate::store) usage: &'c [UsageDelta],
}

// === impl RegistryChange ===

impl RegistryChange for Update<'_> {
    type Output = KeyRecord;

    fn scope(&self) -> ChangeScope<'_> {
        ChangeScope::new(ChangeKind::Update(self.changed))
    }

    async fn apply<T: RegistryTransaction>(
        &self,
        transaction: &mut T,
    ) -> Result<Result<KeyRecord, RegistryError>, T::Error> {
        let locked = lock(transaction, self.actor, &[self.changed.id()]).await?;
        let updated = locked.and_then(|locked| locked.get(self.changed.id())?.apply_update(self.changed.clone()));
        put(transaction, updated).await
    }
}

impl RegistryChange for Deactivate<'_> {
    type Output = KeyRecord;

    fn scope(&self) -> ChangeScope<'_> {
        ChangeScope::new(ChangeKind::Revoke)
    }

    async fn apply<T: RegistryTransaction>(
        &self,
        transaction: &mut T,
    ) -> Result<Result<KeyRecord, RegistryError>, T::Error> {
        let locked = lock(transaction, self.actor, &[self.id]).await?;
        let deactivated = locked.and_then(|locked| {
            let stored = locked.get(self.id)?;
            // Disabling a disabled key writes nothing, so it also works on a full disk.
            let is_done = stored.status() == self.status && self.status == Status::Disabled;
            if is_done { Ok((stored.clone(), false)) } else { Ok((stored.apply_update(stored.clone())?, true)) }
        });
        match deactivated {
            Ok((record, true)) => put(transaction, Ok(record.with_status(self.status))).await,
            Ok((record, false)) => Ok(Ok(record)),
            Err(refusal) => Ok(Err(refusal)),
        }
    }
}

impl RegistryChange for Rehash<'_> {
    type Output = KeyRecord;

    fn scope(&self) -> ChangeScope<'_> {
        ChangeScope::new(ChangeKind::Maintain)
    }

    async fn apply<T: RegistryTransaction>(
        &self,
        transaction: &mut T,
    ) -> Result<Result<KeyRecord, RegistryError>, T::Error> {
        let locked = lock(transaction, None, &[self.id]).await?;
        match locked.and_then(|locked| locked.get(self.id)?.apply_rehash(self.from, *self.to)) {
            Ok(record) => Ok(transaction.set_digest(&record).await?.map(|()| record)),
            Err(refusal) => Ok(Err(refusal)),
        }
    }
}

impl RegistryChange for RecordUsage<'_> {
    type Output = ();

    fn scope(&self) -> ChangeScope<'_> {
        ChangeScope::new(ChangeKind::Maintain)
    }

    async fn apply<T: RegistryTransaction>(&self, transaction: &mut T) -> Result<Result<(), RegistryError>, T::Error> {
        let mut used = BTreeMap::<&KeyId, Vec<&UsageDelta>>::new();
        for delta in self.usage {
            used.entry(&delta.id).or_default().push(delta);
        }
        let ids: Vec<&KeyId> = used.keys().copied().collect();
        let locked = transaction.lock(&ids, None).await?;
        for stored in locked {
            // A record that a store returns twice is written once.
            let Some(deltas) = used.remove(stored.id()) else { continue };
            let record = deltas.into_iter().fold(stored, |record, delta| delta.add_to(record));
            transaction.put(&record).await?;
        }
        Ok(Ok(()))
    }
}
