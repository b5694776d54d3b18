//! Any registry behind one type.

use std::{pin::Pin, sync::Arc};

use super::ManageError;
use crate::{
    key::KeyDigest,
    record::{KeyId, KeyRecord},
    store::{ActorKey, Answered, BoxError, Cap, Filter, KeyRegistry, Replacement, Use},
};

pub(super) type Done<T> = Pin<Box<dyn Future<Output = Result<T, ManageError>> + Send>>;

/// A [`KeyRegistry`] of whatever type.
pub(super) trait ErasedRegistry: Send + Sync {
    fn insert(self: Arc<Self>, record: KeyRecord, cap: Option<Cap>, actor: Option<ActorKey>) -> Done<()>;
    fn insert_first(self: Arc<Self>, record: KeyRecord) -> Done<()>;
    fn get(self: Arc<Self>, id: KeyId) -> Done<Option<KeyRecord>>;
    fn list(self: Arc<Self>, filter: Filter) -> Done<Vec<KeyRecord>>;
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
    fn record_uses(self: Arc<Self>, uses: Vec<Use>) -> Done<()>;
}

impl<R: KeyRegistry> ErasedRegistry for R {
    fn insert(self: Arc<Self>, record: KeyRecord, cap: Option<Cap>, actor: Option<ActorKey>) -> Done<()> {
        Box::pin(async move { answered(KeyRegistry::insert(&*self, record, cap, actor.as_ref()).await) })
    }

    fn insert_first(self: Arc<Self>, record: KeyRecord) -> Done<()> {
        Box::pin(async move { answered(KeyRegistry::insert_first(&*self, record).await) })
    }

    fn get(self: Arc<Self>, id: KeyId) -> Done<Option<KeyRecord>> {
        Box::pin(async move { sound(KeyRegistry::get(&*self, &id).await) })
    }

    fn list(self: Arc<Self>, filter: Filter) -> Done<Vec<KeyRecord>> {
        Box::pin(async move { sound(KeyRegistry::list(&*self, &filter).await) })
    }

    fn update(self: Arc<Self>, changed: KeyRecord, actor: Option<ActorKey>) -> Done<KeyRecord> {
        Box::pin(async move { answered(KeyRegistry::update(&*self, changed, actor.as_ref()).await) })
    }

    fn replace(self: Arc<Self>, old: KeyRecord, new: KeyRecord, actor: Option<ActorKey>) -> Done<Replacement> {
        Box::pin(async move { answered(KeyRegistry::replace(&*self, old, new, actor.as_ref()).await) })
    }

    fn revoke(self: Arc<Self>, id: KeyId, actor: Option<ActorKey>) -> Done<KeyRecord> {
        Box::pin(async move { answered(KeyRegistry::revoke(&*self, &id, actor.as_ref()).await) })
    }

    fn disable(self: Arc<Self>, id: KeyId, actor: Option<ActorKey>) -> Done<KeyRecord> {
        Box::pin(async move { answered(KeyRegistry::disable(&*self, &id, actor.as_ref()).await) })
    }

    fn remove(self: Arc<Self>, id: KeyId, actor: Option<ActorKey>) -> Done<KeyRecord> {
        Box::pin(async move { answered(KeyRegistry::remove(&*self, &id, actor.as_ref()).await) })
    }

    fn remove_user(
        self: Arc<Self>,
        organization: Option<String>,
        user: String,
        actor: Option<ActorKey>,
    ) -> Done<Vec<KeyRecord>> {
        Box::pin(async move {
            answered(KeyRegistry::remove_user(&*self, organization.as_deref(), &user, actor.as_ref()).await)
        })
    }

    fn rehash(self: Arc<Self>, id: KeyId, from: KeyDigest, to: KeyDigest) -> Done<KeyRecord> {
        Box::pin(async move { answered(KeyRegistry::rehash(&*self, &id, &from, &to).await) })
    }

    fn record_uses(self: Arc<Self>, uses: Vec<Use>) -> Done<()> {
        Box::pin(async move { sound(KeyRegistry::record_uses(&*self, &uses).await) })
    }
}

fn sound<T, E: Into<BoxError>>(answer: Result<T, E>) -> Result<T, ManageError> {
    answer.map_err(|error| ManageError::Failed(error.into()))
}

fn answered<T, E: Into<BoxError>>(answer: Answered<T, E>) -> Result<T, ManageError> {
    Ok(sound(answer)??)
}
