//! Changes that add a key.

use super::{RegistryChange, claim, insert, lock, put};
use crate::{
    event::KeyEventKind,
    record::{KeyId, KeyRecord, Status},
    store::{
        ChangeContext, ChangeKind, ChangeScope, CountedKeys, KeyLimit, OwnerScope, RegistryError, RegistryTransaction,
        Replacement, change_context::Stamp,
    },
};

pub(in crate::store) struct Insert<'c> {
    pub(in crate::store) record: &'c KeyRecord,
    pub(in crate::store) limit: Option<KeyLimit>,
    pub(in crate::store) context: Option<&'c ChangeContext>,
}

pub(in crate::store) struct InsertFirst<'c> {
    pub(in crate::store) record: &'c KeyRecord,
    pub(in crate::store) context: Option<&'c ChangeContext>,
}

pub(in crate::store) struct Replace<'c> {
    pub(in crate::store) old: &'c KeyRecord,
    pub(in crate::store) new: &'c KeyRecord,
    pub(in crate::store) context: Option<&'c ChangeContext>,
}

// === impl RegistryChange ===

impl RegistryChange for Insert<'_> {
    type Output = ();

    fn scope(&self) -> ChangeScope<'_> {
        ChangeScope::new(ChangeKind::Add).with_owner(OwnerScope::of(self.record))
    }

    async fn apply<T: RegistryTransaction>(&self, transaction: &mut T) -> Result<Result<(), RegistryError>, T::Error> {
        if let Err(refusal) = lock(transaction, self.context, &[]).await? {
            return Ok(Err(refusal));
        }
        let stamp = Stamp::of(self.context);
        if let Err(refusal) = claim(transaction, &stamp, self.record).await? {
            return Ok(Err(refusal));
        }
        let exceeded = match self.limit {
            Some(limit) => {
                let counted = CountedKeys::OfOwner(OwnerScope::of(self.record), limit.at);
                (transaction.count(counted, limit.max).await? >= limit.max).then_some(limit.max)
            }
            None => None,
        };
        // A duplicate is reported before the limit.
        let inserted = insert(transaction, &stamp, self.record).await?;
        Ok(inserted.and_then(|()| exceeded.map_or(Ok(()), |max| Err(RegistryError::LimitReached(max)))))
    }
}

impl RegistryChange for InsertFirst<'_> {
    type Output = ();

    fn scope(&self) -> ChangeScope<'_> {
        ChangeScope::new(ChangeKind::AddFirst).with_owner(OwnerScope::of(self.record))
    }

    async fn apply<T: RegistryTransaction>(&self, transaction: &mut T) -> Result<Result<(), RegistryError>, T::Error> {
        if transaction.count(CountedKeys::All, 1).await? > 0 {
            return Ok(Err(RegistryError::NotEmpty));
        }
        let stamp = Stamp::of(self.context);
        if let Err(refusal) = claim(transaction, &stamp, self.record).await? {
            return Ok(Err(refusal));
        }
        insert(transaction, &stamp, self.record).await
    }
}

impl RegistryChange for Replace<'_> {
    type Output = Replacement;

    fn scope(&self) -> ChangeScope<'_> {
        ChangeScope::new(ChangeKind::Add).with_owner(OwnerScope::of(self.new))
    }

    async fn apply<T: RegistryTransaction>(
        &self,
        transaction: &mut T,
    ) -> Result<Result<Replacement, RegistryError>, T::Error> {
        let earlier = self.old.replaces();
        let ids: Vec<&KeyId> = [self.old.id()].into_iter().chain(earlier).collect();
        let locked = match lock(transaction, self.context, &ids).await? {
            Ok(locked) => locked,
            Err(refusal) => return Ok(Err(refusal)),
        };
        // After the locks: a transaction that holds an idempotency key waits for nothing else.
        let stamp = Stamp::of(self.context);
        if let Err(refusal) = claim(transaction, &stamp, self.new).await? {
            return Ok(Err(refusal));
        }
        let updated = locked.get(self.old.id()).and_then(|stored| {
            let updated = stored.apply_update(self.old.clone())?;
            Ok((stored, updated))
        });
        let (stored, updated) = match updated {
            Ok(updated) => updated,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let kind = if updated.status() == Status::Revoked { KeyEventKind::Regenerated } else { KeyEventKind::Rotated };
        let old = put(transaction, &stamp, kind, stored, updated).await?;
        let mut ended = None;
        if let Some(before) = earlier.and_then(|id| locked.get(id).ok())
            && let Some(after) = before.end_of_grace(&old)
        {
            ended = Some(put(transaction, &stamp, KeyEventKind::Revoked, before, after).await?);
        }
        let inserted = insert(transaction, &stamp, self.new).await?;
        Ok(inserted.map(|()| Replacement::new(old, ended)))
    }
}
