//! Changes that neither add nor remove a key.

use std::collections::BTreeMap;

use super::{RegistryChange, lock, put, write_event};
use crate::{
    event::KeyEventKind,
    key::KeyDigest,
    record::{KeyId, KeyRecord, Status},
    store::{
        ChangeContext, ChangeKind, ChangeScope, RegistryError, RegistryTransaction, UsageDelta, change_context::Stamp,
    },
};

pub(in crate::store) struct Update<'c> {
    pub(in crate::store) changed: &'c KeyRecord,
    pub(in crate::store) context: Option<&'c ChangeContext>,
}

/// Revokes or disables a key, whatever its version.
pub(in crate::store) struct Deactivate<'c> {
    pub(in crate::store) id: &'c KeyId,
    pub(in crate::store) status: Status,
    pub(in crate::store) context: Option<&'c ChangeContext>,
}

pub(in crate::store) struct Rehash<'c> {
    pub(in crate::store) id: &'c KeyId,
    pub(in crate::store) from: &'c KeyDigest,
    pub(in crate::store) to: &'c KeyDigest,
    pub(in crate::store) context: Option<&'c ChangeContext>,
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
        let locked = lock(transaction, self.context, &[self.changed.id()]).await?;
        let updated = locked.and_then(|locked| {
            let stored = locked.get(self.changed.id())?.clone();
            let updated = stored.apply_update(self.changed.clone())?;
            Ok((stored, updated))
        });
        let (stored, updated) = match updated {
            Ok(updated) => updated,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let kind = KeyEventKind::of_update(&stored, &updated);
        put(transaction, &Stamp::of(self.context), kind, &stored, updated).await.map(Ok)
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
        let locked = lock(transaction, self.context, &[self.id]).await?;
        let deactivated = locked.and_then(|locked| {
            let stored = locked.get(self.id)?;
            // Disabling a disabled key writes nothing, so it also works on a full disk.
            let is_done = stored.status() == self.status && self.status == Status::Disabled;
            let updated = if is_done { None } else { Some(stored.apply_update(stored.clone())?) };
            Ok((stored.clone(), updated.map(|record| record.with_status(self.status))))
        });
        match deactivated {
            Ok((stored, Some(updated))) => {
                let kind = KeyEventKind::of_update(&stored, &updated);
                put(transaction, &Stamp::of(self.context), kind, &stored, updated).await.map(Ok)
            }
            Ok((stored, None)) => Ok(Ok(stored)),
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
        let locked = lock(transaction, self.context, &[self.id]).await?;
        match locked.and_then(|locked| locked.get(self.id)?.apply_rehash(self.from, *self.to)) {
            Ok(record) => {
                let event = Stamp::of(self.context).event(KeyEventKind::Rehashed, Some(&record), Some(&record));
                write_event(transaction, event).await?;
                Ok(transaction.set_digest(&record).await?.map(|()| record))
            }
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
        for delta in self.usage.iter().filter(|delta| delta.uses() > 0) {
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
