//! Changes that add a key.

use super::{RegistryChange, lock, put};
use crate::{
    record::{KeyId, KeyRecord},
    store::{
        ActorKey, ChangeKind, ChangeScope, CountedKeys, KeyLimit, OwnerScope, RegistryError, RegistryTransaction,
        Replacement,
    },
};

pub(in crate::store) struct Insert<'c> {
    pub(in crate::store) record: &'c KeyRecord,
    pub(in crate::store) limit: Option<KeyLimit>,
    pub(in crate::store) actor: Option<&'c ActorKey>,
}

pub(in crate::store) struct InsertFirst<'c> {
    pub(in crate::store) record: &'c KeyRecord,
}

pub(in crate::store) struct Replace<'c> {
    pub(in crate::store) old: &'c KeyRecord,
    pub(in crate::store) new: &'c KeyRecord,
    pub(in crate::store) actor: Option<&'c ActorKey>,
}

// === impl RegistryChange ===

impl RegistryChange for Insert<'_> {
    type Output = ();

    fn scope(&self) -> ChangeScope<'_> {
        ChangeScope::new(ChangeKind::Add).with_owner(OwnerScope::of(self.record))
    }

    async fn apply<T: RegistryTransaction>(&self, transaction: &mut T) -> Result<Result<(), RegistryError>, T::Error> {
        if let Err(refusal) = lock(transaction, self.actor, &[]).await? {
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
        let inserted = transaction.insert(self.record).await?;
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
        transaction.insert(self.record).await
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
        let locked = match lock(transaction, self.actor, &ids).await? {
            Ok(locked) => locked,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let updated = locked.get(self.old.id()).and_then(|stored| stored.apply_update(self.old.clone()));
        let old = match put(transaction, updated).await? {
            Ok(old) => old,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let ended = earlier.and_then(|id| locked.get(id).ok()?.end_of_grace(&old));
        if let Some(ended) = &ended {
            transaction.put(ended).await?;
        }
        let inserted = transaction.insert(self.new).await?;
        Ok(inserted.map(|()| Replacement::new(old, ended)))
    }
}
