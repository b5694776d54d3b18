//! Changes made through a cache: the store performs them, and this cache invalidates the keys at
//! once. The change feed covers the other nodes, and changes whose result is lost.

use super::{CacheError, CachedStore};
use crate::{
    key::KeyDigest,
    record::{KeyId, KeyRecord},
    store::{ActorKey, Answered, BoxError, Invalidation, KeyFilter, KeyLimit, KeyRegistry, Replacement, UsageDelta},
};

fn failed(error: impl Into<BoxError>) -> CacheError {
    CacheError::Store(error.into().into())
}

impl<S: KeyRegistry> CachedStore<S> {
    /// Invalidates the changed keys and returns the result of the change.
    fn forgetting<T>(
        &self,
        answered: Answered<T, S::Error>,
        changed: impl FnOnce(&T) -> Vec<KeyDigest>,
    ) -> Answered<T, CacheError> {
        let answer = answered.map_err(failed)?;
        if let Ok(done) = &answer {
            for digest in changed(done) {
                self.cache.following.apply(Invalidation::Digest(digest));
            }
        }
        Ok(answer)
    }
}

impl<S: KeyRegistry> KeyRegistry for CachedStore<S> {
    async fn insert(
        &self,
        record: KeyRecord,
        cap: Option<KeyLimit>,
        actor: Option<&ActorKey>,
    ) -> Answered<(), CacheError> {
        let digest = *record.digest();
        self.forgetting(self.cache.store.insert(record, cap, actor).await, |()| vec![digest])
    }

    async fn insert_first(&self, record: KeyRecord) -> Answered<(), CacheError> {
        let digest = *record.digest();
        self.forgetting(self.cache.store.insert_first(record).await, |()| vec![digest])
    }

    async fn get(&self, id: &KeyId) -> Result<Option<KeyRecord>, CacheError> {
        self.cache.store.get(id).await.map_err(failed)
    }

    async fn list(&self, filter: &KeyFilter) -> Result<Vec<KeyRecord>, CacheError> {
        self.cache.store.list(filter).await.map_err(failed)
    }

    async fn update(&self, changed: KeyRecord, actor: Option<&ActorKey>) -> Answered<KeyRecord, CacheError> {
        self.forgetting(self.cache.store.update(changed, actor).await, |record| vec![*record.digest()])
    }

    async fn replace(
        &self,
        old: KeyRecord,
        new: KeyRecord,
        actor: Option<&ActorKey>,
    ) -> Answered<Replacement, CacheError> {
        let digest = *new.digest();
        self.forgetting(self.cache.store.replace(old, new, actor).await, |done| {
            let changed = [Some(&done.old), done.ended.as_ref()].into_iter().flatten();
            changed.map(|record| *record.digest()).chain([digest]).collect()
        })
    }

    async fn revoke(&self, id: &KeyId, actor: Option<&ActorKey>) -> Answered<KeyRecord, CacheError> {
        self.forgetting(self.cache.store.revoke(id, actor).await, |record| vec![*record.digest()])
    }

    async fn disable(&self, id: &KeyId, actor: Option<&ActorKey>) -> Answered<KeyRecord, CacheError> {
        self.forgetting(self.cache.store.disable(id, actor).await, |record| vec![*record.digest()])
    }

    async fn remove(&self, id: &KeyId, actor: Option<&ActorKey>) -> Answered<KeyRecord, CacheError> {
        self.forgetting(self.cache.store.remove(id, actor).await, |record| vec![*record.digest()])
    }

    async fn remove_user(
        &self,
        organization: Option<&str>,
        user: &str,
        actor: Option<&ActorKey>,
    ) -> Answered<Vec<KeyRecord>, CacheError> {
        self.forgetting(self.cache.store.remove_user(organization, user, actor).await, |removed| {
            removed.iter().map(|record| *record.digest()).collect()
        })
    }

    async fn rehash(&self, id: &KeyId, from: &KeyDigest, to: &KeyDigest) -> Answered<KeyRecord, CacheError> {
        self.forgetting(self.cache.store.rehash(id, from, to).await, |_| vec![*from, *to])
    }

    async fn record_usage(&self, uses: &[UsageDelta]) -> Result<(), CacheError> {
        self.cache.store.record_usage(uses).await.map_err(failed)
    }
}
