//! New keys: made here, or brought from elsewhere.

use std::{sync::Arc, time::SystemTime};

use super::{
    Actor, Issued, KeyEventKind, KeyManager, ManageError, NewKey, PATIENCE, check_no_escalation, check_permissions,
    checked_name, to_micros,
};
use crate::{
    key::{ApiKey, Digests, FormatError, KeyDigest, base62_number, random_base62},
    permission::Action,
    record::{KeyId, KeyRecord, Owner},
    store::{Fault, RegistryError},
};

impl KeyManager {
    /// Makes a key. Its plain text is in the answer, once. Made by an actor whose key expires, it expires no later: then, if no expiry is
    /// named.
    ///
    /// # Errors
    ///
    /// [`ManageError::PermissionDenied`] (`create`), [`ManageError::Escalation`], [`ManageError::UserRequired`], [`ManageError::Environment`],
    /// [`ManageError::NoEnvironment`], [`ManageError::Name`], [`ManageError::PermissionName`],
    /// [`ManageError::TooManyPermissions`], [`ManageError::Expiry`], [`ManageError::OutlivesActor`],
    /// [`ManageError::OwnKeysOnly`]; [`RegistryError::LimitReached`] if the user has as many keys as users may have, or the organization as many
    /// keys of bots.
    pub async fn issue(&self, actor: &Actor, new: NewKey) -> Result<Issued, ManageError> {
        self.as_actor(actor, Action::CREATE, move |manager, actor| {
            let new = new.clone();
            async move {
                let issued = manager.generate(&actor, new)?;
                manager.insert(&actor, KeyEventKind::Issued, &issued.record).await?;
                Ok(issued)
            }
        })
        .await
    }

    /// Makes the first key of a store, for a service that starts for the first time. `None` if there is a key already, of whatever owner
    /// and status. Of several processes that start at once, one gets a key. An actor with a key makes none, since its own was there before.
    ///
    /// ```
    /// use tower_api_key::{KeyFormat, KeyManager, Owner, Permissions, store::MemoryStore};
    /// use tower_api_key::manage::{Actor, NewKey};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let manager = KeyManager::builder(MemoryStore::new()).format(KeyFormat::new("acme")?).build()?;
    /// let all = Permissions::new().grant("apiKeys", "create");
    /// let service = Actor::trusted(Owner::ServiceAccount, all.clone());
    /// let first = manager.bootstrap(&service, NewKey::service_account("admin").permissions(all.clone())).await?;
    /// assert!(first.is_some());
    /// assert!(manager.bootstrap(&service, NewKey::service_account("admin").permissions(all)).await?.is_none());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`KeyManager::issue`].
    pub async fn bootstrap(&self, actor: &Actor, new: NewKey) -> Result<Option<Issued>, ManageError> {
        if actor.key_id().is_some() {
            return Ok(None);
        }
        self.as_actor(actor, Action::CREATE, move |manager, actor| {
            let new = new.clone();
            async move {
                let issued = manager.generate(&actor, new)?;
                match manager.0.registry.clone().insert_first(issued.record.clone()).await {
                    Err(ManageError::Registry(RegistryError::NotEmpty)) => Ok(None),
                    inserted => {
                        inserted?;
                        manager.notify(KeyEventKind::Issued, &issued.record, None, &actor);
                        Ok(Some(issued))
                    }
                }
            }
        })
        .await
    }

    /// Takes over a key from elsewhere, of which the plain text is at hand.
    ///
    /// # Errors
    ///
    /// As [`KeyManager::issue`]; [`ManageError::UnsupportedKeyCharacters`] for a key that no scheme of the manager's layers can carry (of those that were
    /// built of it; before the first, of the manager's own, see [`KeyManagerBuilder::schemes`](super::KeyManagerBuilder::schemes));
    /// [`ManageError::Format`] for a key that the layer would refuse by its form, or whose form is not that
    /// of its environment;
    /// [`RegistryError::DuplicateDigest`].
    pub async fn import(&self, actor: &Actor, key: &ApiKey, new: NewKey) -> Result<KeyRecord, ManageError> {
        let (key, digest) = (key.clone(), self.0.hasher.digest(key));
        self.as_actor(actor, Action::CREATE, move |manager, actor| {
            let (key, new) = (key.clone(), new.clone());
            async move {
                if key.expose().len() > manager.0.max_key_len {
                    return Err(FormatError::TooLong(manager.0.max_key_len).into());
                }
                manager.0.formats.check_imported(&key, environment(&actor, &new)?.as_deref())?;
                manager.0.policies.admit(&key)?;
                manager.check_other_peppers(&key, digest).await?;
                let record = manager.draft(&actor, new, digest)?.with_mask(manager.mask(&key));
                manager.insert(&actor, KeyEventKind::Imported, &record).await?;
                Ok(record)
            }
        })
        .await
    }

    /// Takes over a key from elsewhere, of which only the digest is at hand: as the manager's own hasher makes it. Its form cannot
    /// be checked, nor whether any scheme can carry it: the layer takes the key if it has one of the manager's formats. Nor does it see the same key under another pepper.
    ///
    /// # Errors
    ///
    /// As [`KeyManager::issue`]; [`RegistryError::DuplicateDigest`].
    pub async fn import_digest(
        &self,
        actor: &Actor,
        digest: impl Into<KeyDigest>,
        new: NewKey,
    ) -> Result<KeyRecord, ManageError> {
        let digest = digest.into();
        self.as_actor(actor, Action::CREATE, move |manager, actor| {
            let new = new.clone();
            async move {
                let record = manager.draft(&actor, new, digest)?;
                manager.insert(&actor, KeyEventKind::Imported, &record).await?;
                Ok(record)
            }
        })
        .await
    }

    /// Whether the key is there already under another pepper: revoked, perhaps, which an import would undo.
    async fn check_other_peppers(&self, key: &ApiKey, newest: KeyDigest) -> Result<(), ManageError> {
        let mut others = self.0.hasher.others(key.expose().as_bytes(), newest);
        let Some(first) = others.next() else {
            return Ok(());
        };
        let digests = Digests { first, rest: others.collect() };
        match Arc::clone(&self.0.store).find(digests, PATIENCE).await {
            Ok(None) => Ok(()),
            Ok(Some(_)) => Err(RegistryError::DuplicateDigest.into()),
            Err(Fault::Failed(error)) => Err(ManageError::Store(error)),
            Err(Fault::Slow) => Err(ManageError::Store("the key store is too slow".into())),
        }
    }

    async fn insert(&self, actor: &Actor, kind: KeyEventKind, record: &KeyRecord) -> Result<(), ManageError> {
        self.0.registry.clone().insert(record.clone(), self.cap(record), self.key_of(actor)).await?;
        self.notify(kind, record, None, actor);
        Ok(())
    }

    /// A new key that this actor may make, not stored yet.
    fn generate(&self, actor: &Actor, new: NewKey) -> Result<Issued, ManageError> {
        let key = self.0.formats.generate(environment(actor, &new)?.as_deref())?;
        let record = self.draft(actor, new, self.0.hasher.digest(&key))?.with_mask(self.mask(&key));
        Ok(Issued { key, record })
    }

    /// The record of a key that this actor may make.
    fn draft(&self, actor: &Actor, new: NewKey, digest: KeyDigest) -> Result<KeyRecord, ManageError> {
        check_permissions(&new.permissions)?;
        check_no_escalation(actor, &new.permissions)?;
        new.metadata.iter().try_for_each(|(name, _)| checked_name(name).map(drop))?;
        let now = self.now();
        let (not_before, expires_at) =
            (new.not_before.map(to_micros), actor.end_of_new(new.expires_at.map(to_micros))?);
        check_times(now, not_before, expires_at)?;
        let mut record = KeyRecord::new(new_id(now)?, digest)
            .with_owner(owner(actor, new.is_bot)?)
            .with_name(checked_name(&new.name)?)
            .with_created_at(now)
            .with_not_before(not_before)
            .with_expires_at(expires_at);
        if let Some(environment) = environment(actor, &new)? {
            record = record.with_environment(environment);
        }
        if let Some(organization) = actor.organization() {
            record = record.with_organization(organization);
        }
        let record = record.with_permissions(new.permissions);
        Ok(new.metadata.into_iter().fold(record, |record, (name, text)| record.with_metadata(name, text)))
    }
}

/// Whether a key would ever work.
pub(super) fn check_times(
    now: SystemTime,
    not_before: Option<SystemTime>,
    expires_at: Option<SystemTime>,
) -> Result<(), ManageError> {
    let begin = now.max(not_before.unwrap_or(now));
    if expires_at.is_none_or(|end| begin < end) { Ok(()) } else { Err(ManageError::Expiry) }
}

fn owner(actor: &Actor, is_bot: bool) -> Result<Owner, ManageError> {
    match actor.owner() {
        _ if is_bot && actor.is_own_keys_only() => Err(ManageError::OwnKeysOnly),
        _ if is_bot => Ok(Owner::ServiceAccount),
        Some(user @ Owner::User(_)) => Ok(user.clone()),
        Some(Owner::ServiceAccount) | None => Err(ManageError::UserRequired),
    }
}

/// The environment of a new key: the one that is named, if the actor may name it, or the actor's own.
fn environment(actor: &Actor, new: &NewKey) -> Result<Option<String>, ManageError> {
    match (actor.environment(), &new.environment) {
        (Some(own), Some(named)) if own != named => Err(ManageError::Environment(named.clone())),
        (Some(own), _) => Ok(Some(own.to_owned())),
        (None, Some(named)) => Ok(Some(checked_name(named)?.to_owned())),
        (None, None) => Ok(None),
    }
}

/// Begins with the time in milliseconds, so that ids are in the order in which they were made; 71 random bits follow.
pub(super) fn new_id(now: SystemTime) -> Result<KeyId, FormatError> {
    let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let millis = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
    let random = random_base62(12)?;
    let mut id = String::from("key_");
    id.extend(base62_number::<8>(millis).iter().chain(&*random).map(|digit| char::from(*digit)));
    Ok(id.into())
}
