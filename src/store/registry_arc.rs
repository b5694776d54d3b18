//! Implements `KeyRegistry` for a shared registry.

use std::{convert::identity, ops::RangeInclusive, sync::Arc, time::SystemTime};

use super::{
    ChangeContext, DayUsage, ExpiryClaim, IdempotencyRecord, KeyBatch, KeyFilter, KeyLimit, KeyPage, KeyRegistry,
    RegistryError, Replacement, UsageDelta, UtcDay, registry_forward::forward_reads,
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
        context: Option<&ChangeContext>,
    ) -> Result<Result<KeyRecord, RegistryError>, R::Error> {
        R::rehash(self, id, from, to, context).await
    }

    forward_reads!(self, **self, identity);
}
