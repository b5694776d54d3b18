//! New keys.

use std::time::SystemTime;

use super::{
    Actor, Issued, KeyEventKind, KeyManager, ManageError, NewKey,
    concurrency::WorkKind,
    idempotency::Request,
    limiting::limiting_of_new,
    roles::check_roles,
    to_micros,
    validation::{check_metadata, check_permissions, checked_name},
};
use crate::{
    key::{FormatError, KeyDigest, base62_number, random_base62},
    permission::Action,
    record::{KeyId, KeyRecord, Owner},
    store::{IdempotencyKey, RegistryError},
};

impl KeyManager {
    /// Issues a key. The result is the only place with its plain text: show it once.
    ///
    /// If the actor's key has an expiry, the new key expires no later. The default is the same
    /// expiry. Likewise the new key is accepted from no other addresses than the actor's key.
    ///
    /// ```
    /// use tower_api_key::{KeyManager, manage::{Actor, ManageError, NewKey}};
    ///
    /// async fn issue(manager: &KeyManager, actor: &Actor) -> Result<String, ManageError> {
    ///     let new = NewKey::service_account("nightly build").grant("links", "read");
    ///     let issued = manager.issue(actor, new).await?;
    ///     Ok(issued.key().expose().to_owned())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// - [`ManageError::PermissionDenied`] (`create`), [`ManageError::Escalation`],
    ///   [`ManageError::OwnKeysOnly`], [`ManageError::UserRequired`].
    /// - [`ManageError::Environment`], [`ManageError::NoEnvironment`].
    /// - [`ManageError::Name`], [`ManageError::Metadata`], [`ManageError::PermissionName`],
    ///   [`ManageError::TooManyPermissions`].
    /// - [`ManageError::RoleName`], [`ManageError::UnknownRole`].
    /// - [`ManageError::Expiry`], [`ManageError::OutlivesActor`].
    /// - [`ManageError::AddressEscalation`], [`ManageError::TooManyNetworks`].
    /// - [`ManageError::LifetimeTooLong`], [`ManageError::LifetimeTooShort`],
    ///   [`ManageError::ExpiryRequired`] if an [`ExpiryPolicy`](super::ExpiryPolicy) applies.
    /// - [`ManageError::OperatorRequired`], [`ManageError::Limits`]: see [`NewKey::plan`].
    /// - [`RegistryError::LimitReached`] if the user, or the service accounts of the organization,
    ///   have the maximum number of keys.
    /// - [`RegistryError::AlreadyDone`], [`RegistryError::IdempotencyMismatch`],
    ///   [`ManageError::IdempotencyKey`] for an actor with an idempotency key.
    pub async fn issue(&self, actor: &Actor, new: NewKey) -> Result<Issued, ManageError> {
        self.run_as(actor, Action::CREATE, WorkKind::Add, move |manager, actor| {
            let new = new.clone();
            async move {
                let idempotency = manager.idempotency_key(&actor, Request::issue(&new)).await?;
                let issued = manager.generate(&actor, new).await?;
                manager.insert(&actor, KeyEventKind::Issued, &issued.record, idempotency).await?;
                Ok(issued)
            }
        })
        .await
    }

    /// Issues the first key of an empty store, for a service that starts for the first time.
    ///
    /// Returns `None` if the store has any key, of any owner and status. If several processes start
    /// at once, only one of them gets a key. An actor with a key always gets `None`, since its own
    /// key exists. No idempotency key is needed: a repeated call gets `None`.
    ///
    /// ```
    /// use tower_api_key::{KeyFormat, KeyManager, Owner, Permissions, store::MemoryStore};
    /// use tower_api_key::manage::{Actor, NewKey};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let format = KeyFormat::new("acme")?;
    /// let manager = KeyManager::builder(MemoryStore::new()).format(format).build()?;
    /// let all = Permissions::new().grant("apiKeys", "create");
    /// let service = Actor::trusted(Owner::ServiceAccount, all.clone());
    /// let new = NewKey::service_account("admin").permissions(all);
    /// let first = manager.bootstrap(&service, new.clone()).await?;
    /// assert!(first.is_some());
    /// assert!(manager.bootstrap(&service, new).await?.is_none());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`KeyManager::issue`].
    pub async fn bootstrap(&self, actor: &Actor, new: NewKey) -> Result<Option<Issued>, ManageError> {
        if actor.key_id().is_some() {
            return Ok(None);
        }
        self.run_as(actor, Action::CREATE, WorkKind::Add, move |manager, actor| {
            let new = new.clone();
            async move {
                let issued = manager.generate(&actor, new).await?;
                match manager.0.registry.clone().insert_first(issued.record.clone(), manager.context_of(&actor)).await {
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

    pub(super) async fn insert(
        &self,
        actor: &Actor,
        kind: KeyEventKind,
        record: &KeyRecord,
        idempotency: Option<IdempotencyKey>,
    ) -> Result<(), ManageError> {
        let context = self.context_of(actor).with_kind(kind).with_idempotency_key(idempotency);
        self.0.registry.clone().insert(record.clone(), self.limit_of(record), context).await?;
        self.notify(kind, record, None, actor);
        Ok(())
    }

    /// Generates a key that the actor may issue, without storing it.
    pub(super) async fn generate(&self, actor: &Actor, new: NewKey) -> Result<Issued, ManageError> {
        let environment = environment(actor, &new)?;
        let key = self.0.formats.generate(environment.as_deref())?;
        let record = self.draft(actor, new, environment, self.0.hasher.digest(&key)).await?;
        let record = record.with_mask(self.mask(&key));
        Ok(Issued { key, record })
    }

    /// Returns the record of a new key, if the actor may issue it.
    pub(super) async fn draft(
        &self,
        actor: &Actor,
        new: NewKey,
        environment: Option<String>,
        digest: KeyDigest,
    ) -> Result<KeyRecord, ManageError> {
        let owner = owner(actor, new.is_bot)?;
        self.draft_since(self.now(), owner, actor, new, environment, digest).await
    }

    /// Returns the record of a key of this owner that was created at `created_at`.
    pub(super) async fn draft_since(
        &self,
        created_at: SystemTime,
        owner: Owner,
        actor: &Actor,
        new: NewKey,
        environment: Option<String>,
        digest: KeyDigest,
    ) -> Result<KeyRecord, ManageError> {
        check_permissions(&new.permissions)?;
        check_roles(&new.roles)?;
        let now = self.now();
        let mut record = KeyRecord::new(new_id(now)?, digest).with_permissions(new.permissions).with_roles(new.roles);
        if let Some(organization) = actor.organization() {
            record = record.with_organization(organization);
        }
        self.check_grants(actor, &record).await?;
        check_metadata(new.metadata.iter().map(|(name, text)| (name, text)), new.metadata.len())?;
        let scope = (Some(&owner), environment.as_deref());
        let expires_at = self.end_of_new(actor, scope, created_at, new.expires_at.map(to_micros))?;
        let not_before = new.not_before.map(to_micros);
        check_times(now, not_before, expires_at)?;
        record = record
            .with_owner(owner)
            .with_name(checked_name(&new.name)?)
            .with_created_at(created_at)
            .with_created_by(actor.author())
            .with_not_before(not_before)
            .with_expires_at(expires_at);
        if let Some(environment) = environment {
            record = record.with_environment(environment);
        }
        let limiting = limiting_of_new(self, actor, new.limiting)?;
        let addresses = actor.addresses_of_new(new.addresses)?;
        let record = record.with_limiting(limiting).with_allowed_addresses(addresses);
        Ok(new.metadata.into_iter().fold(record, |record, (name, text)| record.with_metadata(name, text)))
    }
}

/// Rejects a key that would never work.
pub(super) fn check_times(
    now: SystemTime,
    not_before: Option<SystemTime>,
    expires_at: Option<SystemTime>,
) -> Result<(), ManageError> {
    let begin = now.max(not_before.unwrap_or(now));
    if expires_at.is_none_or(|end| begin < end) { Ok(()) } else { Err(ManageError::Expiry) }
}

pub(super) fn owner(actor: &Actor, is_bot: bool) -> Result<Owner, ManageError> {
    match actor.owner() {
        _ if is_bot && actor.is_own_keys_only() => Err(ManageError::OwnKeysOnly),
        _ if is_bot => Ok(Owner::ServiceAccount),
        Some(user @ Owner::User(_)) => Ok(user.clone()),
        Some(Owner::ServiceAccount) | None => Err(ManageError::UserRequired),
    }
}

/// Returns the environment of a new key: the requested one, if the actor may use it. If none is
/// requested, returns the environment of the actor.
pub(super) fn environment(actor: &Actor, new: &NewKey) -> Result<Option<String>, ManageError> {
    match (actor.environment(), &new.environment) {
        (Some(own), Some(named)) if own != named => Err(ManageError::Environment(named.clone())),
        (Some(own), _) => Ok(Some(own.to_owned())),
        (None, Some(named)) => Ok(Some(checked_name(named)?.to_owned())),
        (None, None) => Ok(None),
    }
}

/// Returns a new id from the time in milliseconds and 71 random bits. Ids sort by the time of
/// creation.
pub(super) fn new_id(now: SystemTime) -> Result<KeyId, FormatError> {
    let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let millis = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
    let random = random_base62(12)?;
    let mut id = String::from("key_");
    id.extend(base62_number::<8>(millis).iter().chain(&*random).map(|digit| char::from(*digit)));
    Ok(id.into())
}
