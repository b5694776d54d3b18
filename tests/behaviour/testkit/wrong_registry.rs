//! A registry with one mistake.

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use tower_api_key::{
    KeyDigest, KeyId, KeyRecord, KeyRegistry, KeyStore, Lookup, Owner, Status,
    store::{
        ActorKey, ChangeContext, ExpiryClaim, IdempotencyRecord, KeyBatch, KeyFilter, KeyLimit, MemoryStore,
        RegistryError, Replacement, UsageDelta,
    },
};

use super::mistake::{Method, Mistake};

pub(super) struct Wrong {
    pub(super) keys: MemoryStore,
    pub(super) mistake: Mistake,
    cache: Arc<Mutex<HashMap<[u8; 32], KeyRecord>>>,
    pub(super) removed: Arc<Mutex<Vec<KeyId>>>,
}

impl Wrong {
    pub(super) fn new(mistake: Mistake) -> Self {
        Self { keys: MemoryStore::new(), mistake, cache: Arc::default(), removed: Arc::default() }
    }

    pub(super) fn is(&self, mistake: Mistake) -> bool {
        self.mistake == mistake
    }

    /// Restores a record unconditionally.
    async fn overwrite(&self, record: KeyRecord) {
        let _ = self.keys.remove(record.id(), None).await;
        let _ = self.keys.insert(record, None, None).await;
    }

    /// Returns the actor that this method passes on, or `Err` if it was rejected here.
    async fn actor(
        &self,
        method: Method,
        context: Option<&ChangeContext>,
    ) -> Result<Option<ChangeContext>, RegistryError> {
        let Some((context, actor)) = context.and_then(|context| Some((context, context.actor_key()?))) else {
            return Ok(context.cloned());
        };
        let with = |key| Ok(Some(context.clone().with_actor_key(key)));
        let Ok(stored) = self.keys.get(actor.id()).await;
        match self.mistake {
            Mistake::ActorBesideTheChange => {
                actor.check(stored.as_ref())?;
                for _ in 0..4 {
                    tokio::task::yield_now().await;
                }
                with(None)
            }
            Mistake::ActorOfAnyVersion => {
                with(Some(ActorKey::new(actor.id().clone(), stored.map_or(0, |stored| stored.version()))))
            }
            Mistake::ActorBeyondItsExpiry => with(Some(actor.clone().with_clock(|| SystemTime::UNIX_EPOCH))),
            Mistake::RemovedActorTrusted if stored.is_none() => with(None),
            Mistake::NoActorAt(careless) if careless == method => with(None),
            _ => Ok(Some(context.clone())),
        }
    }
}

fn in_seconds(record: KeyRecord) -> KeyRecord {
    let Some(since) = record.expires_at().and_then(|end| end.duration_since(SystemTime::UNIX_EPOCH).ok()) else {
        return record;
    };
    let seconds = since.as_secs() + u64::from(since.subsec_nanos() > 0);
    record.with_expires_at(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
}

impl KeyStore for Wrong {
    type Error = Infallible;

    async fn find(&self, digest: &KeyDigest) -> Result<Option<KeyRecord>, Infallible> {
        let Lookup::Found(record) = self.keys.try_find(digest) else {
            let former = self.cache.lock().unwrap().get(digest.as_bytes()).cloned();
            return Ok(former.filter(|_| self.is(Mistake::RehashKeepsTheOld)));
        };
        if self.is(Mistake::StaleCache) {
            let mut cache = self.cache.lock().unwrap();
            return Ok(Some(cache.entry(*digest.as_bytes()).or_insert(record).clone()));
        }
        Ok(Some(record))
    }
}

impl KeyRegistry for Wrong {
    async fn insert(
        &self,
        record: KeyRecord,
        cap: Option<KeyLimit>,
        context: Option<&ChangeContext>,
    ) -> Result<Result<(), RegistryError>, Infallible> {
        let context = match self.actor(Method::Insert, context).await {
            Ok(context) => context,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let context = match self.once(&record, context).await {
            Ok(context) => context,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let context = context.as_ref();
        let record = if self.is(Mistake::ExpiryRoundedUp) { in_seconds(record) } else { record };
        let cap = cap.filter(|_| !self.is(Mistake::BotsWithoutCap) || record.owner() != Some(&Owner::ServiceAccount));
        let Some(counting) =
            cap.filter(|_| self.is(Mistake::CapPerEnvironment) || self.is(Mistake::CapBesideTheInsert))
        else {
            if self.is(Mistake::OnceAfterTheInsert) {
                return Ok(self.insert_then_claim(record, cap, context).await);
            }
            return self.keys.insert(record, cap, context).await;
        };
        let mut filter = KeyFilter::default();
        filter.organization = record.organization().map(str::to_owned);
        filter.owner = record.owner().cloned();
        let mut counted = self.keys.list(&filter).await?;
        let everywhere = !self.is(Mistake::CapPerEnvironment);
        counted.retain(|other| {
            counting.counts(other)
                && other.owner() == record.owner()
                && (everywhere || other.environment() == record.environment())
        });
        if !everywhere {
            let cap = cap.filter(|_| counted.len() >= counting.max as usize);
            return self.keys.insert(record, cap, context).await;
        }
        tokio::task::yield_now().await;
        if counted.len() >= counting.max as usize {
            Ok(Err(RegistryError::LimitReached(counting.max)))
        } else {
            self.keys.insert(record, None, context).await
        }
    }

    async fn insert_first(
        &self,
        record: KeyRecord,
        context: Option<&ChangeContext>,
    ) -> Result<Result<(), RegistryError>, Infallible> {
        if self.is(Mistake::FirstBesideTheInsert) {
            let mut any = KeyFilter::default().with_revoked();
            any.limit = 1;
            any.organization = record.organization().map(str::to_owned);
            let is_empty = self.keys.list(&any).await?.is_empty();
            tokio::task::yield_now().await;
            return if is_empty {
                self.keys.insert(record, None, None).await
            } else {
                Ok(Err(RegistryError::NotEmpty))
            };
        }
        self.keys.insert_first(record, context).await
    }

    async fn get(&self, id: &KeyId) -> Result<Option<KeyRecord>, Infallible> {
        self.keys.get(id).await
    }

    async fn list(&self, filter: &KeyFilter) -> Result<Vec<KeyRecord>, Infallible> {
        if !self.is(Mistake::LimitBeforeFilter) {
            return self.keys.list(filter).await;
        }
        let mut all = filter.clone();
        (all.owner, all.environment, all.revoked) = (None, None, true);
        let mut page = self.keys.list(&all).await?;
        page.retain(|record| filter.matches(record));
        Ok(page)
    }

    async fn update(
        &self,
        changed: KeyRecord,
        context: Option<&ChangeContext>,
    ) -> Result<Result<KeyRecord, RegistryError>, Infallible> {
        let context = match self.actor(Method::Update, context).await {
            Ok(context) => context,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let context = context.as_ref();
        let Some(stored) = self.keys.get(changed.id()).await? else {
            return self.keys.update(changed, context).await;
        };
        tokio::task::yield_now().await;
        let updated = self.keys.update(changed.clone(), context).await?;
        match (&updated, self.mistake) {
            (Ok(record), Mistake::UpdateLosesUses) => {
                self.overwrite(record.clone().with_usage(stored.use_count(), stored.last_used_at())).await;
            }
            (Err(RegistryError::NotFound(_)), Mistake::UpdateBringsBack) => self.overwrite(changed.clone()).await,
            (Err(RegistryError::Revoked(_)), Mistake::RevocationUndone)
            | (Err(RegistryError::VersionConflict(_)), Mistake::UpdateUndoesRehash) => {
                self.overwrite(changed.clone()).await;
                return Ok(Ok(changed));
            }
            _ => {}
        }
        Ok(updated)
    }

    async fn replace(
        &self,
        old: KeyRecord,
        new: KeyRecord,
        context: Option<&ChangeContext>,
    ) -> Result<Result<Replacement, RegistryError>, Infallible> {
        let context = match self.actor(Method::Replace, context).await {
            Ok(context) => context,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let context = context.map(|context| match self.mistake {
            Mistake::OnceIgnored | Mistake::OnceIgnoredAtReplace => context.with_idempotency_key(None),
            _ => context,
        });
        let context = context.as_ref();
        if self.is(Mistake::ReplaceInTwoSteps) {
            let updated = self.keys.update(old, context).await?;
            if updated.is_ok()
                && let Err(refusal) = self.keys.insert(new, None, None).await?
            {
                return Ok(Err(refusal));
            }
            return Ok(updated.map(|old| Replacement::new(old, None)));
        }
        tokio::task::yield_now().await;
        let origin = match old.replaces() {
            Some(origin) => self.keys.get(origin).await?,
            None => None,
        };
        let replaced = self.keys.replace(old.clone(), new.clone(), context).await?;
        let done = |()| Replacement::new(old.clone(), None);
        match (&replaced, self.mistake) {
            (Err(RegistryError::Replaced(_)), Mistake::ReplacedTwice) => {
                Ok(self.keys.insert(new, None, None).await?.map(done))
            }
            (Err(RegistryError::Revoked(_)), Mistake::ReplaceOverRevocation) => {
                self.overwrite(old.clone()).await;
                Ok(self.keys.insert(new, None, None).await?.map(done))
            }
            (Ok(Replacement { old, ended: Some(_), .. }), Mistake::GraceAfterGrace) => {
                self.overwrite(origin.unwrap()).await;
                Ok(Ok(Replacement::new(old.clone(), None)))
            }
            (Ok(Replacement { old, ended: Some(_), .. }), Mistake::GraceEndsUnsaid) => {
                let origin = origin.unwrap();
                let ended = origin.clone().with_status(Status::Revoked).with_version(origin.version());
                self.overwrite(ended.clone()).await;
                Ok(Ok(Replacement::new(old.clone(), Some(ended))))
            }
            (Ok(_), Mistake::EndsOthersKeys) => {
                if let Some(origin) = origin {
                    let _ = self.keys.revoke(origin.id(), None).await?;
                }
                Ok(replaced)
            }
            _ => Ok(replaced),
        }
    }

    async fn revoke(
        &self,
        id: &KeyId,
        context: Option<&ChangeContext>,
    ) -> Result<Result<KeyRecord, RegistryError>, Infallible> {
        let context = match self.actor(Method::Revoke, context).await {
            Ok(context) => context,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let context = context.as_ref();
        if self.is(Mistake::ActorLast)
            && let None | Some(Status::Revoked) = self.keys.get(id).await?.map(|stored| stored.status())
        {
            return self.keys.revoke(id, None).await;
        }
        self.keys.revoke(id, context).await
    }

    async fn remove(
        &self,
        id: &KeyId,
        context: Option<&ChangeContext>,
    ) -> Result<Result<KeyRecord, RegistryError>, Infallible> {
        let context = match self.actor(Method::Remove, context).await {
            Ok(context) => context,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let context = context.as_ref();
        self.removed.lock().unwrap().push(id.clone());
        self.keys.remove(id, context).await
    }

    async fn remove_user(
        &self,
        organization: Option<&str>,
        user: &str,
        context: Option<&ChangeContext>,
    ) -> Result<Result<Vec<KeyRecord>, RegistryError>, Infallible> {
        let context = match self.actor(Method::RemoveUser, context).await {
            Ok(context) => context,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let context = context.as_ref();
        let removed = self.keys.remove_user(organization, user, context).await?;
        if self.is(Mistake::UsersWithoutCase) {
            let _ = self
                .keys
                .remove_user(organization, &format!("{}{}", user[..1].to_uppercase(), &user[1..]), None)
                .await?;
        }
        Ok(removed)
    }

    async fn change_batch(
        &self,
        batch: &KeyBatch,
        context: Option<&ChangeContext>,
    ) -> Result<Result<Vec<KeyRecord>, RegistryError>, Infallible> {
        match self.mistake {
            Mistake::BatchOfWhatWasRead => {
                let all = KeyBatch::new(batch.change, batch.ids.iter().cloned());
                self.keys.change_batch(&all, context).await
            }
            Mistake::BatchWithoutActor => self.keys.change_batch(batch, None).await,
            _ => self.keys.change_batch(batch, context).await,
        }
    }

    async fn rehash(
        &self,
        id: &KeyId,
        from: &KeyDigest,
        to: &KeyDigest,
        context: Option<&ChangeContext>,
    ) -> Result<Result<KeyRecord, RegistryError>, Infallible> {
        let rehashed = self.keys.rehash(id, from, to, context).await?;
        match (&rehashed, self.mistake) {
            (Ok(record), Mistake::RehashKeepsTheOld) => {
                self.cache.lock().unwrap().insert(*from.as_bytes(), record.clone());
            }
            (Err(RegistryError::Revoked(_)), Mistake::RehashOverRevocation) => {
                let revoked = self.keys.remove(id, None).await?.unwrap();
                return Ok(Ok(revoked));
            }
            _ => {}
        }
        Ok(rehashed)
    }

    async fn find_idempotency(
        &self,
        id: &[u8; 32],
    ) -> Result<Result<Option<IdempotencyRecord>, RegistryError>, Infallible> {
        self.keys.find_idempotency(id).await
    }

    async fn record_usage(&self, uses: &[UsageDelta]) -> Result<(), Infallible> {
        if !self.is(Mistake::LastUseWins) {
            return self.keys.record_usage(uses).await;
        }
        let by_id: HashMap<_, _> = uses.iter().map(|one| (one.id.clone(), one.clone())).collect();
        self.keys.record_usage(&by_id.into_values().collect::<Vec<_>>()).await
    }

    async fn claim_expiring(&self, claim: &ExpiryClaim) -> Result<Option<Vec<KeyRecord>>, Infallible> {
        let claimed = self.keys.claim_expiring(claim).await?;
        if self.is(Mistake::AnnouncedTwice) {
            self.keys.release_expiring(claimed.as_deref().unwrap_or_default()).await?;
        }
        Ok(claimed)
    }

    async fn release_expiring(&self, records: &[KeyRecord]) -> Result<(), Infallible> {
        self.keys.release_expiring(records).await
    }
}
