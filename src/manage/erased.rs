//! Type-erased registries.

use std::{ops::RangeInclusive, pin::Pin, sync::Arc, time::SystemTime};

use super::ManageError;
use crate::{
    event::{EventCursor, EventFilter, KeyEvent},
    key::KeyDigest,
    record::{KeyId, KeyRecord},
    store::{
        BoxError, ChangeContext, DayUsage, ExpiryClaim, IdempotencyRecord, KeyBatch, KeyFilter, KeyLimit, KeyPage,
        KeyRegistry, RegistryError, Replacement, UsageDelta, UtcDay, box_error,
    },
};

pub(super) type Done<T> = Pin<Box<dyn Future<Output = Result<T, ManageError>> + Send>>;

/// A [`KeyRegistry`] of any type.
pub(super) trait ErasedRegistry: Send + Sync {
    fn insert(self: Arc<Self>, record: KeyRecord, cap: Option<KeyLimit>, context: ChangeContext) -> Done<()>;
    fn insert_first(self: Arc<Self>, record: KeyRecord, context: ChangeContext) -> Done<()>;
    fn get(self: Arc<Self>, id: KeyId) -> Done<Option<KeyRecord>>;
    fn search(self: Arc<Self>, filter: KeyFilter) -> Done<KeyPage>;
    fn update(self: Arc<Self>, changed: KeyRecord, context: ChangeContext) -> Done<KeyRecord>;
    fn replace(self: Arc<Self>, old: KeyRecord, new: KeyRecord, context: ChangeContext) -> Done<Replacement>;
    fn revoke(self: Arc<Self>, id: KeyId, context: ChangeContext) -> Done<KeyRecord>;
    fn disable(self: Arc<Self>, id: KeyId, context: ChangeContext) -> Done<KeyRecord>;
    fn remove(self: Arc<Self>, id: KeyId, context: ChangeContext) -> Done<KeyRecord>;
    fn remove_user(
        self: Arc<Self>,
        organization: Option<String>,
        user: String,
        context: ChangeContext,
    ) -> Done<Vec<KeyRecord>>;
    fn change_batch(self: Arc<Self>, batch: KeyBatch, context: ChangeContext) -> Done<Vec<KeyRecord>>;
    fn rehash(self: Arc<Self>, id: KeyId, from: KeyDigest, to: KeyDigest) -> Done<KeyRecord>;
    fn find_idempotency(self: Arc<Self>, id: [u8; 32]) -> Done<Option<IdempotencyRecord>>;
    fn record_usage(self: Arc<Self>, usage: Vec<UsageDelta>) -> Done<()>;
    fn claim_expiring(self: Arc<Self>, claim: ExpiryClaim) -> Done<Option<Vec<KeyRecord>>>;
    fn release_expiring(self: Arc<Self>, records: Vec<KeyRecord>) -> Done<()>;
    fn usage(self: Arc<Self>, id: KeyId, days: RangeInclusive<UtcDay>) -> Done<Option<Vec<DayUsage>>>;
    fn prune_usage(self: Arc<Self>, before: UtcDay) -> Done<u64>;
    fn events_since(self: Arc<Self>, cursor: EventCursor, limit: usize) -> Done<Option<Vec<KeyEvent>>>;
    fn newest_event(self: Arc<Self>) -> Done<Option<EventCursor>>;
    fn events(self: Arc<Self>, filter: EventFilter) -> Done<Option<Vec<KeyEvent>>>;
    fn prune_events(self: Arc<Self>, before: SystemTime, limit: usize) -> Done<usize>;
    fn record_expiries(self: Arc<Self>, now: SystemTime, limit: usize) -> Done<usize>;
}

impl<R: KeyRegistry> ErasedRegistry for R {
    fn insert(self: Arc<Self>, record: KeyRecord, cap: Option<KeyLimit>, context: ChangeContext) -> Done<()> {
        Box::pin(async move { map_registry_error(KeyRegistry::insert(&*self, record, cap, Some(&context)).await) })
    }

    fn insert_first(self: Arc<Self>, record: KeyRecord, context: ChangeContext) -> Done<()> {
        Box::pin(async move { map_registry_error(KeyRegistry::insert_first(&*self, record, Some(&context)).await) })
    }

    fn get(self: Arc<Self>, id: KeyId) -> Done<Option<KeyRecord>> {
        Box::pin(async move { map_store_error(KeyRegistry::get(&*self, &id).await) })
    }

    fn search(self: Arc<Self>, filter: KeyFilter) -> Done<KeyPage> {
        Box::pin(async move { map_store_error(KeyRegistry::search(&*self, &filter).await) })
    }

    fn update(self: Arc<Self>, changed: KeyRecord, context: ChangeContext) -> Done<KeyRecord> {
        Box::pin(async move { map_registry_error(KeyRegistry::update(&*self, changed, Some(&context)).await) })
    }

    fn replace(self: Arc<Self>, old: KeyRecord, new: KeyRecord, context: ChangeContext) -> Done<Replacement> {
        Box::pin(async move { map_registry_error(KeyRegistry::replace(&*self, old, new, Some(&context)).await) })
    }

    fn revoke(self: Arc<Self>, id: KeyId, context: ChangeContext) -> Done<KeyRecord> {
        Box::pin(async move { map_registry_error(KeyRegistry::revoke(&*self, &id, Some(&context)).await) })
    }

    fn disable(self: Arc<Self>, id: KeyId, context: ChangeContext) -> Done<KeyRecord> {
        Box::pin(async move { map_registry_error(KeyRegistry::disable(&*self, &id, Some(&context)).await) })
    }

    fn remove(self: Arc<Self>, id: KeyId, context: ChangeContext) -> Done<KeyRecord> {
        Box::pin(async move { map_registry_error(KeyRegistry::remove(&*self, &id, Some(&context)).await) })
    }

    fn remove_user(
        self: Arc<Self>,
        organization: Option<String>,
        user: String,
        context: ChangeContext,
    ) -> Done<Vec<KeyRecord>> {
        Box::pin(async move {
            map_registry_error(KeyRegistry::remove_user(&*self, organization.as_deref(), &user, Some(&context)).await)
        })
    }

    fn change_batch(self: Arc<Self>, batch: KeyBatch, context: ChangeContext) -> Done<Vec<KeyRecord>> {
        Box::pin(async move { map_registry_error(KeyRegistry::change_batch(&*self, &batch, Some(&context)).await) })
    }

    fn rehash(self: Arc<Self>, id: KeyId, from: KeyDigest, to: KeyDigest) -> Done<KeyRecord> {
        Box::pin(async move { map_registry_error(KeyRegistry::rehash(&*self, &id, &from, &to).await) })
    }

    fn find_idempotency(self: Arc<Self>, id: [u8; 32]) -> Done<Option<IdempotencyRecord>> {
        Box::pin(async move { map_registry_error(KeyRegistry::find_idempotency(&*self, &id).await) })
    }

    fn record_usage(self: Arc<Self>, usage: Vec<UsageDelta>) -> Done<()> {
        Box::pin(async move { map_store_error(KeyRegistry::record_usage(&*self, &usage).await) })
    }

    fn claim_expiring(self: Arc<Self>, claim: ExpiryClaim) -> Done<Option<Vec<KeyRecord>>> {
        Box::pin(async move { map_store_error(KeyRegistry::claim_expiring(&*self, &claim).await) })
    }

    fn release_expiring(self: Arc<Self>, records: Vec<KeyRecord>) -> Done<()> {
        Box::pin(async move { map_store_error(KeyRegistry::release_expiring(&*self, &records).await) })
    }

    fn usage(self: Arc<Self>, id: KeyId, days: RangeInclusive<UtcDay>) -> Done<Option<Vec<DayUsage>>> {
        Box::pin(async move { map_store_error(KeyRegistry::usage(&*self, &id, days).await) })
    }

    fn prune_usage(self: Arc<Self>, before: UtcDay) -> Done<u64> {
        Box::pin(async move { map_store_error(KeyRegistry::prune_usage(&*self, before).await) })
    }

    fn events_since(self: Arc<Self>, cursor: EventCursor, limit: usize) -> Done<Option<Vec<KeyEvent>>> {
        Box::pin(async move { map_store_error(KeyRegistry::events_since(&*self, cursor, limit).await) })
    }

    fn newest_event(self: Arc<Self>) -> Done<Option<EventCursor>> {
        Box::pin(async move { map_store_error(KeyRegistry::newest_event(&*self).await) })
    }

    fn events(self: Arc<Self>, filter: EventFilter) -> Done<Option<Vec<KeyEvent>>> {
        Box::pin(async move { map_store_error(KeyRegistry::events(&*self, &filter).await) })
    }

    fn prune_events(self: Arc<Self>, before: SystemTime, limit: usize) -> Done<usize> {
        Box::pin(async move { map_store_error(KeyRegistry::prune_events(&*self, before, limit).await) })
    }

    fn record_expiries(self: Arc<Self>, now: SystemTime, limit: usize) -> Done<usize> {
        Box::pin(async move { map_store_error(KeyRegistry::record_expiries(&*self, now, limit).await) })
    }
}

fn map_store_error<T, E: Into<BoxError>>(answer: Result<T, E>) -> Result<T, ManageError> {
    box_error(answer).map_err(ManageError::Store)
}

fn map_registry_error<T, E: Into<BoxError>>(answer: Result<Result<T, RegistryError>, E>) -> Result<T, ManageError> {
    Ok(map_store_error(answer)??)
}
