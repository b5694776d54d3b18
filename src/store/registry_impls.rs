//! Implements `KeyRegistry` for every store with transactions, and for a shared registry.

use std::sync::Arc;

use super::{
    ActorKey, KeyFilter, KeyLimit, KeyRegistry, RegistryError, Replacement, TransactionalStore, UsageDelta, change,
};
use crate::{
    key::KeyDigest,
    record::{KeyId, KeyRecord, Owner, Status},
};

impl<S: TransactionalStore> KeyRegistry for S {
    async fn insert(
        &self,
        record: KeyRecord,
        limit: Option<KeyLimit>,
        actor: Option<&ActorKey>,
    ) -> Result<Result<(), RegistryError>, S::Error> {
        self.transact(&change::Insert { record: &record, limit, actor }).await
    }

    async fn insert_first(&self, record: KeyRecord) -> Result<Result<(), RegistryError>, S::Error> {
        self.transact(&change::InsertFirst { record: &record }).await
    }

    async fn get(&self, id: &KeyId) -> Result<Option<KeyRecord>, S::Error> {
        self.read(id).await
    }

    async fn list(&self, filter: &KeyFilter) -> Result<Vec<KeyRecord>, S::Error> {
        self.read_page(filter).await
    }

    async fn update(
        &self,
        changed: KeyRecord,
        actor: Option<&ActorKey>,
    ) -> Result<Result<KeyRecord, RegistryError>, S::Error> {
        self.transact(&change::Update { changed: &changed, actor }).await
    }

    async fn replace(
        &self,
        old: KeyRecord,
        new: KeyRecord,
        actor: Option<&ActorKey>,
    ) -> Result<Result<Replacement, RegistryError>, S::Error> {
        self.transact(&change::Replace { old: &old, new: &new, actor }).await
    }

    async fn revoke(&self, id: &KeyId, actor: Option<&ActorKey>) -> Result<Result<KeyRecord, RegistryError>, S::Error> {
        self.transact(&change::Deactivate { id, status: Status::Revoked, actor }).await
    }

    async fn disable(
        &self,
        id: &KeyId,
        actor: Option<&ActorKey>,
    ) -> Result<Result<KeyRecord, RegistryError>, S::Error> {
        self.transact(&change::Deactivate { id, status: Status::Disabled, actor }).await
    }

    async fn remove(&self, id: &KeyId, actor: Option<&ActorKey>) -> Result<Result<KeyRecord, RegistryError>, S::Error> {
        self.transact(&change::Remove { id, actor }).await
    }

    async fn remove_user(
        &self,
        organization: Option<&str>,
        user: &str,
        actor: Option<&ActorKey>,
    ) -> Result<Result<Vec<KeyRecord>, RegistryError>, S::Error> {
        self.transact(&change::RemoveUser { organization, user: Owner::User(user.to_owned()), actor }).await
    }

    async fn rehash(
        &self,
        id: &KeyId,
        from: &KeyDigest,
        to: &KeyDigest,
    ) -> Result<Result<KeyRecord, RegistryError>, S::Error> {
        self.transact(&change::Rehash { id, from, to }).await
    }

    async fn record_usage(&self, usage: &[UsageDelta]) -> Result<(), S::Error> {
        TransactionalStore::record_usage(self, usage).await
    }
}

impl<R: KeyRegistry> KeyRegistry for Arc<R> {
    async fn insert(
        &self,
        record: KeyRecord,
        limit: Option<KeyLimit>,
        actor: Option<&ActorKey>,
    ) -> Result<Result<(), RegistryError>, R::Error> {
        R::insert(self, record, limit, actor).await
    }

    async fn insert_first(&self, record: KeyRecord) -> Result<Result<(), RegistryError>, R::Error> {
        R::insert_first(self, record).await
    }

    async fn get(&self, id: &KeyId) -> Result<Option<KeyRecord>, R::Error> {
        R::get(self, id).await
    }

    async fn list(&self, filter: &KeyFilter) -> Result<Vec<KeyRecord>, R::Error> {
        R::list(self, filter).await
    }

    async fn update(
        &self,
        changed: KeyRecord,
        actor: Option<&ActorKey>,
    ) -> Result<Result<KeyRecord, RegistryError>, R::Error> {
        R::update(self, changed, actor).await
    }

    async fn replace(
        &self,
        old: KeyRecord,
        new: KeyRecord,
        actor: Option<&ActorKey>,
    ) -> Result<Result<Replacement, RegistryError>, R::Error> {
        R::replace(self, old, new, actor).await
    }

    async fn revoke(&self, id: &KeyId, actor: Option<&ActorKey>) -> Result<Result<KeyRecord, RegistryError>, R::Error> {
        R::revoke(self, id, actor).await
    }

    async fn disable(
        &self,
        id: &KeyId,
        actor: Option<&ActorKey>,
    ) -> Result<Result<KeyRecord, RegistryError>, R::Error> {
        R::disable(self, id, actor).await
    }

    async fn remove(&self, id: &KeyId, actor: Option<&ActorKey>) -> Result<Result<KeyRecord, RegistryError>, R::Error> {
        R::remove(self, id, actor).await
    }

    async fn remove_user(
        &self,
        organization: Option<&str>,
        user: &str,
        actor: Option<&ActorKey>,
    ) -> Result<Result<Vec<KeyRecord>, RegistryError>, R::Error> {
        R::remove_user(self, organization, user, actor).await
    }

    async fn rehash(
        &self,
        id: &KeyId,
        from: &KeyDigest,
        to: &KeyDigest,
    ) -> Result<Result<KeyRecord, RegistryError>, R::Error> {
        R::rehash(self, id, from, to).await
    }

    async fn record_usage(&self, usage: &[UsageDelta]) -> Result<(), R::Error> {
        R::record_usage(self, usage).await
    }
}
