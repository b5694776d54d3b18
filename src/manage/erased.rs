//! Type-erased registries.

use std::{pin::Pin, sync::Arc};

use super::ManageError;
use crate::{
    key::KeyDigest,
    record::{KeyId, KeyRecord},
    store::{ActorKey, BoxError, KeyFilter, KeyLimit, KeyRegistry, RegistryError, Replacement, UsageDelta, box_error},
};

pub(super) type Done<T> = Pin<Box<dyn Future<Output = Result<T, ManageError>> + Send>>;

/// A [`KeyRegistry`] of any type.
pub(super) trait ErasedRegistry: Send + Sync {
    fn insert(self: Arc<Self>, record: KeyRecord, cap: Option<KeyLimit>, actor: Option<ActorKey>) -> Done<()>;
    fn insert_first(self: Arc<Self>, record: KeyRecord) -> Done<()>;
    fn get(self: Arc<Self>, id: KeyId) -> Done<Option<KeyRecord>>;
    fn list(self: Arc<Self>, filter: KeyFilter) -> Done<Vec<KeyRecord>>;
    fn update(self: Arc<Self>, changed: KeyRecord, actor: Option<ActorKey>) -> Done<KeyRecord>;
    fn replace(self: Arc<Self>, old: KeyRecord, new: KeyRecord, actor: Option<ActorKey>) -> Done<Replacement>;
    fn revoke(self: Arc<Self>, id: KeyId, actor: Option<ActorKey>) -> Done<KeyRecord>;
    fn disable(self: Arc<Self>, id: KeyId, actor: Option<ActorKey>) -> Done<KeyRecord>;
    fn remove(self: Arc<Self>, id: KeyId, actor: Option<ActorKey>) -> Done<KeyRecord>;
    fn remove_user(
        self: Arc<Self>,
        organization: Option<String>,
        user: String,
        actor: Option<ActorKey>,
    ) -> Done<Vec<KeyRecord>>;
    fn rehash(self: Arc<Self>, id: KeyId, from: KeyDigest, to: KeyDigest) -> Done<KeyRecord>;
    fn record_usage(self: Arc<Self>, usage: Vec<UsageDelta>) -> Done<()>;
}

impl<R: KeyRegistry> ErasedRegistry for R {
    fn insert(self: Arc<Self>, record: KeyRecord, cap: Option<KeyLimit>, actor: Option<ActorKey>) -> Done<()> {
        Box::pin(async move { map_registry_error(KeyRegistry::insert(&*self, record, cap, actor.as_ref()).await) })
    }

    fn insert_first(self: Arc<Self>, record: KeyRecord) -> Done<()> {
        Box::pin(async move { map_registry_error(KeyRegistry::insert_first(&*self, record).await) })
    }

    fn get(self: Arc<Self>, id: KeyId) -> Done<Option<KeyRecord>> {
        Box::pin(async move { map_store_error(KeyRegistry::get(&*self, &id).await) })
    }

    fn list(self: Arc<Self>, filter: KeyFilter) -> Done<Vec<KeyRecord>> {
        Box::pin(async move { map_store_error(KeyRegistry::list(&*self, &filter).await) })
    }

    fn update(self: Arc<Self>, changed: KeyRecord, actor: Option<ActorKey>) -> Done<KeyRecord> {
        Box::pin(async move { map_registry_error(KeyRegistry::update(&*self, changed, actor.as_ref()).await) })
    }

    fn replace(self: Arc<Self>, old: KeyRecord, new: KeyRecord, actor: Option<ActorKey>) -> Done<Replacement> {
        Box::pin(async move { map_registry_error(KeyRegistry::replace(&*self, old, new, actor.as_ref()).await) })
    }

    fn revoke(self: Arc<Self>, id: KeyId, actor: Option<ActorKey>) -> Done<KeyRecord> {
        Box::pin(async move { map_registry_error(KeyRegistry::revoke(&*self, &id, actor.as_ref()).await) })
    }

    fn disable(self: Arc<Self>, id: KeyId, actor: Option<ActorKey>) -> Done<KeyRecord> {
        Box::pin(async move { map_registry_error(KeyRegistry::disable(&*self, &id, actor.as_ref()).await) })
    }

    fn remove(self: Arc<Self>, id: KeyId, actor: Option<ActorKey>) -> Done<KeyRecord> {
        Box::pin(async move { map_registry_error(KeyRegistry::remove(&*self, &id, actor.as_ref()).await) })
    }

    fn remove_user(
        self: Arc<Self>,
        organization: Option<String>,
        user: String,
        actor: Option<ActorKey>,
    ) -> Done<Vec<KeyRecord>> {
        Box::pin(async move {
            map_registry_error(KeyRegistry::remove_user(&*self, organization.as_deref(), &user, actor.as_ref()).await)
        })
    }

    fn rehash(self: Arc<Self>, id: KeyId, from: KeyDigest, to: KeyDigest) -> Done<KeyRecord> {
        Box::pin(async move { map_registry_error(KeyRegistry::rehash(&*self, &id, &from, &to).await) })
    }

    fn record_usage(self: Arc<Self>, usage: Vec<UsageDelta>) -> Done<()> {
        Box::pin(async move { map_store_error(KeyRegistry::record_usage(&*self, &usage).await) })
    }
}

fn map_store_error<T, E: Into<BoxError>>(answer: Result<T, E>) -> Result<T, ManageError> {
    box_error(answer).map_err(ManageError::Store)
}

fn map_registry_error<T, E: Into<BoxError>>(answer: Result<Result<T, RegistryError>, E>) -> Result<T, ManageError> {
    Ok(map_store_error(answer)??)
}
