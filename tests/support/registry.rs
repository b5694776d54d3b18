//! The registry of [`FaultyStore`], and an [`Api`] with keys from a manager.

use std::{
    ops::RangeInclusive,
    sync::atomic::Ordering,
    time::{Duration, SystemTime},
};

use tower_api_key::{
    KeyDigest, KeyFormat, KeyId, KeyManager, KeyRecord, KeyRegistry, Owner, Permissions,
    manage::{Actor, EventCursor, EventFilter, Issued, KeyEvent, KeyManagerBuilder, NewKey, Rotation},
    store::{
        BoxError, ChangeContext, DayUsage, IdempotencyRecord, KeyBatch, KeyFilter, KeyLimit, RegistryError,
        Replacement, UsageDelta, UtcDay,
    },
};

use super::{Api, FaultyStore};

impl Api {
    /// Returns an API without keys, and the manager of its layer.
    pub fn managed(edit: impl FnOnce(KeyManagerBuilder) -> KeyManagerBuilder) -> (Self, KeyManager) {
        let mut api = Self::new();
        let now = api.clock.clone();
        let builder = KeyManager::builder(api.store.clone()).format(KeyFormat::new("acme").unwrap());
        let manager = edit(builder.clock(move || now.get())).build().unwrap();
        api.builder = manager.layer();
        (api, manager)
    }
}

/// Returns an actor with all permissions on links and keys, in `acme`.
pub fn admin() -> Actor {
    Actor::trusted(Owner::ServiceAccount, everything()).in_organization("acme")
}

/// Returns the same actor as a user.
pub fn user(name: &str) -> Actor {
    Actor::trusted(Owner::User(name.to_owned()), everything()).in_organization("acme")
}

pub fn everything() -> Permissions {
    let actions = ["create", "read", "update", "delete"];
    ["links", "apiKeys"].into_iter().flat_map(|resource| actions.map(|action| (resource, action))).collect()
}

/// A service account's key that may read links.
pub async fn reader(manager: &KeyManager) -> Issued {
    manager.issue(&admin(), NewKey::service_account("reader").grant("links", "read")).await.unwrap()
}

/// Returns the plain text of a new key.
pub fn text(issued: &Issued) -> &str {
    issued.key().expose()
}

pub fn id(issued: &Issued) -> &str {
    issued.record().id().as_str()
}

/// Creates keys in every way, one with `a name to be found`. Returns the texts that must appear
/// nowhere: the keys, their bodies, and halves of them.
pub async fn secrets_of_new_keys(manager: &KeyManager) -> Vec<String> {
    let first = manager.issue(&user("alice"), NewKey::user("a name to be found")).await.unwrap();
    let second = manager.regenerate(&user("alice"), first.record().id().clone()).await.unwrap();
    let rotation = Rotation::grace_period(Duration::from_hours(1));
    let third = manager.rotate(&user("alice"), second.record().id().clone(), rotation).await.unwrap();
    let imported = KeyFormat::new("acme").unwrap().generate().unwrap();
    manager.import(&admin(), &imported, NewKey::service_account("imported")).await.unwrap();
    let keys = [first.key(), second.key(), third.key(), &imported];
    let parts = keys.into_iter().flat_map(|key| {
        let (body, _) = key.expose()[5..].split_at(36);
        [key.expose(), body, &body[..18], &body[18..]]
    });
    parts.map(str::to_owned).collect()
}

impl FaultyStore {
    /// Sets whether every change fails.
    pub fn break_writes(&self, broken: bool) {
        self.broken.store(broken, Ordering::Relaxed);
    }

    /// Sets whether no event can be read.
    pub fn break_events(&self, broken: bool) {
        self.broken_events.store(broken, Ordering::Relaxed);
    }

    /// Returns the number of written usage batches.
    pub fn batches(&self) -> usize {
        self.batches.load(Ordering::Relaxed)
    }

    /// Returns how often old days were removed.
    pub fn prunes(&self) -> usize {
        self.prunes.load(Ordering::Relaxed)
    }

    /// Returns how often a key was rehashed.
    pub fn rehashes(&self) -> usize {
        self.rehashes.load(Ordering::Relaxed)
    }

    /// Sets the duration of every usage batch.
    pub fn slow_batches(&self, time: Duration) {
        *self.batch_time.lock().unwrap() = time;
    }

    fn sound(&self) -> Result<(), BoxError> {
        if self.broken.load(Ordering::Relaxed) { Err("the disk is full".into()) } else { Ok(()) }
    }
}

impl KeyRegistry for FaultyStore {
    async fn insert(
        &self,
        record: KeyRecord,
        cap: Option<KeyLimit>,
        context: Option<&ChangeContext>,
    ) -> Result<Result<(), RegistryError>, BoxError> {
        self.sound()?;
        if let Some(held) = self.held_inserts.get() {
            held.fetch_add(1, Ordering::Relaxed);
            std::future::pending::<()>().await;
        }
        Ok(self.keys.insert(record, cap, context).await?)
    }

    async fn insert_first(
        &self,
        record: KeyRecord,
        context: Option<&ChangeContext>,
    ) -> Result<Result<(), RegistryError>, BoxError> {
        self.sound()?;
        Ok(self.keys.insert_first(record, context).await?)
    }

    async fn get(&self, id: &KeyId) -> Result<Option<KeyRecord>, BoxError> {
        self.gets.fetch_add(1, Ordering::Relaxed);
        let read = self.keys.get(id).await?;
        if let Some(record) = &read
            && self.renamed.get() == Some(id)
        {
            let name = format!("{}, renamed", record.version());
            // A revoked key keeps its name.
            let _ = self.keys.update(record.clone().with_name(name), None).await?;
        }
        Ok(read)
    }

    async fn list(&self, filter: &KeyFilter) -> Result<Vec<KeyRecord>, BoxError> {
        Ok(self.keys.list(filter).await?)
    }

    async fn update(
        &self,
        changed: KeyRecord,
        context: Option<&ChangeContext>,
    ) -> Result<Result<KeyRecord, RegistryError>, BoxError> {
        self.sound()?;
        self.before_change(changed.id()).await?;
        Ok(self.keys.update(changed, context).await?)
    }

    async fn replace(
        &self,
        old: KeyRecord,
        new: KeyRecord,
        context: Option<&ChangeContext>,
    ) -> Result<Result<Replacement, RegistryError>, BoxError> {
        self.sound()?;
        // Runs the concurrent change of another task here.
        tokio::task::yield_now().await;
        Ok(self.keys.replace(old, new, context).await?)
    }

    async fn revoke(
        &self,
        id: &KeyId,
        context: Option<&ChangeContext>,
    ) -> Result<Result<KeyRecord, RegistryError>, BoxError> {
        self.sound()?;
        self.before_change(id).await?;
        Ok(self.keys.revoke(id, context).await?)
    }

    async fn disable(
        &self,
        id: &KeyId,
        context: Option<&ChangeContext>,
    ) -> Result<Result<KeyRecord, RegistryError>, BoxError> {
        self.sound()?;
        self.before_change(id).await?;
        Ok(self.keys.disable(id, context).await?)
    }

    async fn remove(
        &self,
        id: &KeyId,
        context: Option<&ChangeContext>,
    ) -> Result<Result<KeyRecord, RegistryError>, BoxError> {
        self.sound()?;
        Ok(self.keys.remove(id, context).await?)
    }

    async fn remove_user(
        &self,
        organization: Option<&str>,
        user: &str,
        context: Option<&ChangeContext>,
    ) -> Result<Result<Vec<KeyRecord>, RegistryError>, BoxError> {
        self.sound()?;
        Ok(self.keys.remove_user(organization, user, context).await?)
    }

    async fn change_batch(
        &self,
        batch: &KeyBatch,
        context: Option<&ChangeContext>,
    ) -> Result<Result<Vec<KeyRecord>, RegistryError>, BoxError> {
        self.sound()?;
        // Runs the concurrent change of another task here.
        tokio::task::yield_now().await;
        Ok(self.keys.change_batch(batch, context).await?)
    }

    async fn rehash(
        &self,
        id: &KeyId,
        from: &KeyDigest,
        to: &KeyDigest,
        context: Option<&ChangeContext>,
    ) -> Result<Result<KeyRecord, RegistryError>, BoxError> {
        self.sound()?;
        self.rehashes.fetch_add(1, Ordering::Relaxed);
        // Slow enough that the key is used in the meantime.
        tokio::task::yield_now().await;
        Ok(self.keys.rehash(id, from, to, context).await?)
    }

    async fn find_idempotency(
        &self,
        id: &[u8; 32],
    ) -> Result<Result<Option<IdempotencyRecord>, RegistryError>, BoxError> {
        Ok(self.keys.find_idempotency(id).await?)
    }

    async fn record_usage(&self, uses: &[UsageDelta]) -> Result<(), BoxError> {
        self.sound()?;
        self.batches.fetch_add(1, Ordering::Relaxed);
        let time = *self.batch_time.lock().unwrap();
        if !time.is_zero() {
            tokio::time::sleep(time).await;
        }
        Ok(self.keys.record_usage(uses).await?)
    }

    async fn usage(&self, id: &KeyId, days: RangeInclusive<UtcDay>) -> Result<Option<Vec<DayUsage>>, BoxError> {
        Ok(self.keys.usage(id, days).await?)
    }

    async fn prune_usage(&self, before: UtcDay) -> Result<u64, BoxError> {
        self.sound()?;
        self.prunes.fetch_add(1, Ordering::Relaxed);
        Ok(self.keys.prune_usage(before).await?)
    }

    async fn events_since(&self, cursor: EventCursor, limit: usize) -> Result<Option<Vec<KeyEvent>>, BoxError> {
        if self.broken_events.load(Ordering::Relaxed) {
            return Err("the events cannot be read".into());
        }
        Ok(self.keys.events_since(cursor, limit).await?)
    }

    async fn newest_event(&self) -> Result<Option<EventCursor>, BoxError> {
        Ok(self.keys.newest_event().await?)
    }

    async fn events(&self, filter: &EventFilter) -> Result<Option<Vec<KeyEvent>>, BoxError> {
        Ok(self.keys.events(filter).await?)
    }

    async fn prune_events(&self, before: SystemTime, limit: usize) -> Result<usize, BoxError> {
        Ok(self.keys.prune_events(before, limit).await?)
    }

    async fn record_expiries(&self, now: SystemTime, limit: usize) -> Result<usize, BoxError> {
        Ok(self.keys.record_expiries(now, limit).await?)
    }
}
