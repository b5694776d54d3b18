//! Changes made through a cache. The store performs them, and this cache invalidates the changed
//! keys at once. The change feed invalidates the keys on the other nodes. After a change with an
//! unknown outcome, the feed invalidates them here, too.

use std::{ops::RangeInclusive, time::SystemTime};

use super::{CacheError, CachedStore};
use crate::{
    event::{EventCursor, EventFilter, KeyEvent},
    key::KeyDigest,
    record::{KeyId, KeyRecord},
    store::{
        BoxError, ChangeContext, DayUsage, ExpiryClaim, IdempotencyRecord, Invalidation, KeyBatch, KeyFilter, KeyLimit,
        KeyPage, KeyRegistry, RegistryError, Replacement, UsageDelta, UtcDay, box_error,
        registry_forward::forward_reads,
    },
};

fn map_error<T, E: Into<BoxError>>(answer: Result<T, E>) -> Result<T, CacheError> {
    box_error(answer).map_err(|error| CacheError::Store(error.into()))
}

impl<S: KeyRegistry> CachedStore<S> {
    /// Invalidates the changed keys and returns the result of the change.
    fn invalidate<T>(
        &self,
        answer: Result<Result<T, RegistryError>, S::Error>,
        changed: impl FnOnce(&T) -> Vec<KeyDigest>,
    ) -> Result<Result<T, RegistryError>, CacheError> {
        let answer = map_error(answer)?;
        if let Ok(done) = &answer {
            for digest in changed(done) {
                self.cache.feed.apply(Invalidation::Digest(digest));
            }
        }
        Ok(answer)
    }
}

impl<S: KeyRegistry> KeyRegistry for CachedStore<S> {
    async fn insert(
        &self,
        record: KeyRecord,
        limit: Option<KeyLimit>,
        context: Option<&ChangeContext>,
    ) -> Result<Result<(), RegistryError>, CacheError> {
        let digest = *record.digest();
        self.invalidate(self.cache.store.insert(record, limit, context).await, |()| vec![digest])
    }

    async fn insert_first(
        &self,
        record: KeyRecord,
        context: Option<&ChangeContext>,
    ) -> Result<Result<(), RegistryError>, CacheError> {
        let digest = *record.digest();
        self.invalidate(self.cache.store.insert_first(record, context).await, |()| vec![digest])
    }

    async fn update(
        &self,
        changed: KeyRecord,
        context: Option<&ChangeContext>,
    ) -> Result<Result<KeyRecord, RegistryError>, CacheError> {
        self.invalidate(self.cache.store.update(changed, context).await, |record| vec![*record.digest()])
    }

    async fn replace(
        &self,
        old: KeyRecord,
        new: KeyRecord,
        context: Option<&ChangeContext>,
    ) -> Result<Result<Replacement, RegistryError>, CacheError> {
        let digest = *new.digest();
        self.invalidate(self.cache.store.replace(old, new, context).await, |done| {
            let changed = [Some(&done.old), done.ended.as_ref()].into_iter().flatten();
            changed.map(|record| *record.digest()).chain([digest]).collect()
        })
    }

    async fn revoke(
        &self,
        id: &KeyId,
        context: Option<&ChangeContext>,
    ) -> Result<Result<KeyRecord, RegistryError>, CacheError> {
        self.invalidate(self.cache.store.revoke(id, context).await, |record| vec![*record.digest()])
    }

    async fn disable(
        &self,
        id: &KeyId,
        context: Option<&ChangeContext>,
    ) -> Result<Result<KeyRecord, RegistryError>, CacheError> {
        self.invalidate(self.cache.store.disable(id, context).await, |record| vec![*record.digest()])
    }

    async fn remove(
        &self,
        id: &KeyId,
        context: Option<&ChangeContext>,
    ) -> Result<Result<KeyRecord, RegistryError>, CacheError> {
        self.invalidate(self.cache.store.remove(id, context).await, |record| vec![*record.digest()])
    }

    async fn remove_user(
        &self,
        organization: Option<&str>,
        user: &str,
        context: Option<&ChangeContext>,
    ) -> Result<Result<Vec<KeyRecord>, RegistryError>, CacheError> {
        self.invalidate(self.cache.store.remove_user(organization, user, context).await, |removed| {
            removed.iter().map(|record| *record.digest()).collect()
        })
    }

    async fn change_batch(
        &self,
        batch: &KeyBatch,
        context: Option<&ChangeContext>,
    ) -> Result<Result<Vec<KeyRecord>, RegistryError>, CacheError> {
        self.invalidate(self.cache.store.change_batch(batch, context).await, |changed| {
            changed.iter().map(|record| *record.digest()).collect()
        })
    }

    async fn rehash(
        &self,
        id: &KeyId,
        from: &KeyDigest,
        to: &KeyDigest,
        context: Option<&ChangeContext>,
    ) -> Result<Result<KeyRecord, RegistryError>, CacheError> {
        self.invalidate(self.cache.store.rehash(id, from, to, context).await, |_| vec![*from, *to])
    }

    forward_reads!(self, self.cache.store, map_error);
}
