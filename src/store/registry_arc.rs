//! Implements `KeyRegistry` for a shared registry.

use std::{ops::RangeInclusive, sync::Arc, time::SystemTime};

use super::{
    ChangeContext, DayUsage, ExpiryClaim, IdempotencyRecord, KeyBatch, KeyFilter, KeyLimit, KeyPage, KeyRegistry,
    RegistryError, Replacement, UsageDelta, UtcDay,
};
use crate::{
    event::{EventCursor, EventFilter, KeyEvent},
    key::KeyDigest,
    record::{KeyId, KeyRecord},
};

impl<R: KeyRegistry> KeyRegistry for Arc<R> {
    async fn insert(
        &self,
        record: KeyRecord,
        limit: Option<KeyLimit>,
        context: Option<&ChangeContext>,
    ) -> Result<Result<(), RegistryError>, R::Error> {
        R::insert(self, record, limit, context).await
    }

    async fn insert_first(
        &self,
        record: KeyRecord,
        context: Option<&ChangeContext>,
    ) -> Result<Result<(), RegistryError>, R::Error> {
        R::insert_first(self, record, context).await
    }

    async fn get(&self, id: &KeyId) -> Result<Option<KeyRecord>, R::Error> {
        R::get(self, id).await
    }

    async fn list(&self, filter: &KeyFilter) -> Result<Vec<KeyRecord>, R::Error> {
        R::list(self, filter).await
    }

    async fn search(&self, filter: &KeyFilter) -> Result<KeyPage, R::Error> {
        R::search(self, filter).await
    }

    async fn update(
        &self,
        changed: KeyRecord,
        context: Option<&ChangeContext>,
    ) -> Result<Result<KeyRecord, RegistryError>, R::Error> {
        R::update(self, changed, context).await
    }

    async fn replace(
        &self,
        old: KeyRecord,
        new: KeyRecord,
        context: Option<&ChangeContext>,
    ) -> Result<Result<Replacement, RegistryError>, R::Error> {
        R::replace(self, old, new, context).await
    }

    async fn revoke(
        &self,
        id: &KeyId,
        context: Option<&ChangeContext>,
    ) -> Result<Result<KeyRecord, RegistryError>, R::Error> {
        R::revoke(self, id, context).await
    }

    async fn disable(
        &self,
        id: &KeyId,
        context: Option<&ChangeContext>,
    ) -> Result<Result<KeyRecord, RegistryError>, R::Error> {
        R::disable(self, id, context).await
    }

    async fn remove(
        &self,
        id: &KeyId,
        context: Option<&ChangeContext>,
    ) -> Result<Result<KeyRecord, RegistryError>, R::Error> {
        R::remove(self, id, context).await
    }

    async fn remove_user(
        &self,
        organization: Option<&str>,
        user: &str,
        context: Option<&ChangeContext>,
    ) -> Result<Result<Vec<KeyRecord>, RegistryError>, R::Error> {
        R::remove_user(self, organization, user, context).await
    }

    async fn change_batch(
        &self,
        batch: &KeyBatch,
        context: Option<&ChangeContext>,
    ) -> Result<Result<Vec<KeyRecord>, RegistryError>, R::Error> {
        R::change_batch(self, batch, context).await
    }

    async fn rehash(
        &self,
        id: &KeyId,
        from: &KeyDigest,
        to: &KeyDigest,
    ) -> Result<Result<KeyRecord, RegistryError>, R::Error> {
        R::rehash(self, id, from, to).await
    }

    async fn find_idempotency(
        &self,
        id: &[u8; 32],
    ) -> Result<Result<Option<IdempotencyRecord>, RegistryError>, R::Error> {
        R::find_idempotency(self, id).await
    }

    async fn record_usage(&self, usage: &[UsageDelta]) -> Result<(), R::Error> {
        R::record_usage(self, usage).await
    }

    async fn usage(&self, id: &KeyId, days: RangeInclusive<UtcDay>) -> Result<Option<Vec<DayUsage>>, R::Error> {
        R::usage(self, id, days).await
    }

    async fn prune_usage(&self, before: UtcDay) -> Result<u64, R::Error> {
        R::prune_usage(self, before).await
    }

    async fn events_since(&self, cursor: EventCursor, limit: usize) -> Result<Option<Vec<KeyEvent>>, R::Error> {
        R::events_since(self, cursor, limit).await
    }

    async fn newest_event(&self) -> Result<Option<EventCursor>, R::Error> {
        R::newest_event(self).await
    }

    async fn events(&self, filter: &EventFilter) -> Result<Option<Vec<KeyEvent>>, R::Error> {
        R::events(self, filter).await
    }

    async fn prune_events(&self, before: SystemTime, limit: usize) -> Result<usize, R::Error> {
        R::prune_events(self, before, limit).await
    }

    async fn record_expiries(&self, now: SystemTime, limit: usize) -> Result<usize, R::Error> {
        R::record_expiries(self, now, limit).await
    }

    async fn claim_expiring(&self, claim: &ExpiryClaim) -> Result<Option<Vec<KeyRecord>>, R::Error> {
        R::claim_expiring(self, claim).await
    }

    async fn release_expiring(&self, records: &[KeyRecord]) -> Result<(), R::Error> {
        R::release_expiring(self, records).await
    }
}
