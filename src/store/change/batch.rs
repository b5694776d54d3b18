//! The change of many keys at once.

use super::{RegistryChange, lock, remove::delete};
use crate::{
    event::KeyEventKind,
    record::{KeyId, KeyRecord, Status},
    store::{
        BulkChange, ChangeContext, ChangeKind, ChangeScope, KeyBatch, RegistryError, RegistryTransaction,
        change_context::Stamp,
    },
};

/// Changes the keys of a batch that meet its condition under their locks.
pub(in crate::store) struct ChangeBatch<'c> {
    pub(in crate::store) batch: &'c KeyBatch,
    pub(in crate::store) context: Option<&'c ChangeContext>,
}

impl RegistryChange for ChangeBatch<'_> {
    type Output = Vec<KeyRecord>;

    fn scope(&self) -> ChangeScope<'_> {
        ChangeScope::new(ChangeKind::Revoke)
    }

    async fn apply<T: RegistryTransaction>(
        &self,
        transaction: &mut T,
    ) -> Result<Result<Vec<KeyRecord>, RegistryError>, T::Error> {
        let ids: Vec<&KeyId> = self.batch.ids.iter().collect();
        let selected: Vec<KeyRecord> = match lock(transaction, self.context, &ids).await? {
            Ok(locked) => self.batch.ids.iter().filter_map(|id| locked.get(id).ok().cloned()).collect(),
            Err(refusal) => return Ok(Err(refusal)),
        };
        let selected: Vec<KeyRecord> = selected.into_iter().filter(|record| self.batch.applies_to(record)).collect();
        let status = match self.batch.change {
            BulkChange::Revoke => Status::Revoked,
            BulkChange::Disable => Status::Disabled,
            BulkChange::Remove => {
                delete(transaction, self.context, &selected).await?;
                return Ok(Ok(selected));
            }
        };
        let stamp = Stamp::of(self.context);
        let (mut changed, mut events) = (Vec::with_capacity(selected.len()), Vec::new());
        for before in &selected {
            let after = match before.apply_update(before.clone()) {
                Ok(after) => stamp.changed(before, after.with_status(status)),
                Err(refusal) => return Ok(Err(refusal)),
            };
            events.extend(stamp.event(KeyEventKind::of_update(before, &after), Some(before), Some(&after)));
            changed.push(after);
        }
        transaction.record_events(&events).await?;
        for record in &changed {
            transaction.put(record).await?;
        }
        Ok(Ok(changed))
    }
}
