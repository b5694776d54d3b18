//! Implements `KeyRegistry` for every store with transactions.

use std::{ops::RangeInclusive, time::SystemTime};

use super::{
    ChangeContext, DayUsage, ExpiryClaim, IdempotencyRecord, KeyBatch, KeyFilter, KeyLimit, KeyPage, KeyRegistry,
    RegistryError, Replacement, TransactionalStore, UsageDelta, UtcDay, change,
};
use crate::{
    event::{EventCursor, EventFilter, KeyEvent},
    key::KeyDigest,
    record::{KeyId, KeyRecord, Owner, Status},
};

impl<S: TransactionalStore> KeyRegistry for S {
    async fn insert(
        &self,
        record: KeyRecord,
        limit: Option<KeyLimit>,
        context: Option<&ChangeContext>,
    ) -> Result<Result<(), RegistryError>, S::Error> {
        self.transact(&change::Insert { record: &record, limit, context }).await
    }

    async fn insert_first(
        &self,
        record: KeyRecord,
        context: Option<&ChangeContext>,
    ) -> Result<Result<(), RegistryError>, S::Error> {
        self.transact(&change::InsertFirst { record: &record, context }).await
    }

    async fn get(&self, id: &KeyId) -> Result<Option<KeyRecord>, S::Error> {
        self.read(id).await
    }

    async fn list(&self, filter: &KeyFilter) -> Result<Vec<KeyRecord>, S::Error> {
        self.read_page(filter).await
    }

    async fn search(&self, filter: &KeyFilter) -> Result<KeyPage, S::Error> {
        self.search_page(filter).await
    }

    async fn update(
        &self,
        changed: KeyRecord,
        context: Option<&ChangeContext>,
    ) -> Result<Result<KeyRecord, RegistryError>, S::Error> {
        self.transact(&change::Update { changed: &changed, context }).await
    }

    async fn replace(
        &self,
        old: KeyRecord,
        new: KeyRecord,
        context: Option<&ChangeContext>,
    ) -> Result<Result<Replacement, RegistryError>, S::Error> {
        self.transact(&change::Replace { old: &old, new: &new, context }).await
    }

    async fn revoke(
        &self,
        id: &KeyId,
        context: Option<&ChangeContext>,
    ) -> Result<Result<KeyRecord, RegistryError>, S::Error> {
        self.transact(&change::Deactivate { id, status: Status::Revoked, context }).await
    }

    async fn disable(
        &self,
        id: &KeyId,
        context: Option<&ChangeContext>,
    ) -> Result<Result<KeyRecord, RegistryError>, S::Error> {
        self.transact(&change::Deactivate { id, status: Status::Disabled, context }).await
    }

    async fn remove(
        &self,
        id: &KeyId,
        context: Option<&ChangeContext>,
    ) -> Result<Result<KeyRecord, RegistryError>, S::Error> {
        self.transact(&change::Remove { id, context }).await
    }

    async fn remove_user(
        &self,
        organization: Option<&str>,
        user: &str,
        context: Option<&ChangeContext>,
    ) -> Result<Result<Vec<KeyRecord>, RegistryError>, S::Error> {
        self.transact(&change::RemoveUser { organization, user: Owner::User(user.to_owned()), context }).await
    }

    async fn change_batch(
        &self,
        batch: &KeyBatch,
        context: Option<&ChangeContext>,
    ) -> Result<Result<Vec<KeyRecord>, RegistryError>, S::Error> {
        self.transact(&change::ChangeBatch { batch, context }).await
    }

    async fn rehash(
        &self,
        id: &KeyId,
        from: &KeyDigest,
        to: &KeyDigest,
        context: Option<&ChangeContext>,
    ) -> Result<Result<KeyRecord, RegistryError>, S::Error> {
        self.transact(&change::Rehash { id, from, to, context }).await
    }

    async fn find_idempotency(
        &self,
        id: &[u8; 32],
    ) -> Result<Result<Option<IdempotencyRecord>, RegistryError>, S::Error> {
        self.read_idempotency(id).await.map(Ok)
    }

    async fn record_usage(&self, usage: &[UsageDelta]) -> Result<(), S::Error> {
        TransactionalStore::record_usage(self, usage).await
    }

    async fn usage(&self, id: &KeyId, days: RangeInclusive<UtcDay>) -> Result<Option<Vec<DayUsage>>, S::Error> {
        self.read_usage(id, days).await
    }

    async fn prune_usage(&self, before: UtcDay) -> Result<u64, S::Error> {
        TransactionalStore::prune_usage(self, before).await
    }

    async fn events_since(&self, cursor: EventCursor, limit: usize) -> Result<Option<Vec<KeyEvent>>, S::Error> {
        self.read_events_since(cursor, limit).await
    }

    async fn newest_event(&self) -> Result<Option<EventCursor>, S::Error> {
        self.read_newest_event().await
    }

    async fn events(&self, filter: &EventFilter) -> Result<Option<Vec<KeyEvent>>, S::Error> {
        self.read_events(filter).await
    }

    async fn prune_events(&self, before: SystemTime, limit: usize) -> Result<usize, S::Error> {
        self.delete_events(before, limit).await
    }

    async fn record_expiries(&self, now: SystemTime, limit: usize) -> Result<usize, S::Error> {
        self.write_expiries(now, limit).await
    }

    async fn claim_expiring(&self, claim: &ExpiryClaim) -> Result<Option<Vec<KeyRecord>>, S::Error> {
        TransactionalStore::claim_expiring(self, claim).await
    }

    async fn release_expiring(&self, records: &[KeyRecord]) -> Result<(), S::Error> {
        TransactionalStore::release_expiring(self, records).await
    }
}
