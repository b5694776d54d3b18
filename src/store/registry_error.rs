//! The errors of a registry, and the rules that all registries share.

use thiserror::Error;

use crate::{
    key::KeyDigest,
    record::{KeyId, KeyRecord, Status},
};

/// The reason why a registry refused a change. Nothing was changed.
///
/// ```
/// use tower_api_key::{KeyRecord, store::{MemoryStore, RegistryError}};
///
/// let keys = MemoryStore::new();
/// keys.add(KeyRecord::new("k1", [7; 32]))?;
/// assert_eq!(keys.add(KeyRecord::new("k2", [7; 32])), Err(RegistryError::DuplicateDigest));
/// # Ok::<(), RegistryError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// The key of the actor has changed since it was checked: it was edited, revoked or removed, or
    /// it has expired.
    #[error("the actor's key {0} was changed meanwhile or is no longer valid")]
    ActorChanged(KeyId),
    /// The store already has a key, so the first key cannot be added.
    #[error("the store already has a key, so this one cannot be the first")]
    NotEmpty,
    /// A key with this id exists already.
    #[error("a key {0} exists already: choose another id")]
    DuplicateId(KeyId),
    /// The key is stored already, under another id.
    #[error("the key is stored already")]
    DuplicateDigest,
    /// The owner has as many keys as the limit allows.
    #[error("the owner already has the maximum number of keys, {0}: revoke one first")]
    LimitReached(u32),
    /// No key has this id.
    #[error("no key {0} exists")]
    NotFound(KeyId),
    /// The key is revoked, permanently.
    #[error("the key {0} is revoked")]
    Revoked(KeyId),
    /// Another key has already replaced it.
    #[error("the key {0} has already been replaced")]
    Replaced(KeyId),
    /// The record has changed since it was read.
    #[error("the key {0} was changed meanwhile: read it again")]
    VersionConflict(KeyId),
    /// A request with the same [`IdempotencyKey`](super::IdempotencyKey) has issued this key. Its
    /// plain text was returned once, and the key may be revoked or removed by now.
    #[error("this idempotency key has already issued the key {0}: if its plain text is lost, regenerate the key")]
    AlreadyDone(KeyId),
    /// Another request was made with the same [`IdempotencyKey`](super::IdempotencyKey).
    #[error("another request was made with this idempotency key: choose a new one")]
    IdempotencyMismatch,
    /// The store keeps no idempotency keys, so it cannot recognize a repeated request.
    #[error("the key store does not support idempotency keys: send the request without one")]
    IdempotencyUnsupported,
    /// The update would change the id, digest, owner, organization, environment, origin, lineage or
    /// meter, or make the expiry of a replaced key later.
    #[error("an update must not change the identity of the key {0} or extend its grace period: issue a new key")]
    ImmutableField(KeyId),
}

/// The rules that all registries share.
impl KeyRecord {
    /// Returns the record to store when this stored record is updated to `changed`: `changed` with
    /// the stored usage and the next version. See
    /// [`KeyRegistry::update`](crate::KeyRegistry::update).
    ///
    /// ```
    /// use tower_api_key::{KeyRecord, store::RegistryError};
    ///
    /// let stored = KeyRecord::new("k1", [7; 32]);
    /// let renamed = stored.apply_update(stored.clone().with_name("reports"))?;
    /// assert_eq!((renamed.name(), renamed.version()), (Some("reports"), 1));
    /// assert_eq!(renamed.apply_update(stored).err(), Some(RegistryError::VersionConflict("k1".into())));
    /// # Ok::<(), RegistryError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`RegistryError::ImmutableField`]; [`RegistryError::Revoked`] for a revoked key;
    /// [`RegistryError::Replaced`] if another key has replaced it;
    /// [`RegistryError::VersionConflict`] for another version.
    pub fn apply_update(&self, changed: KeyRecord) -> Result<KeyRecord, RegistryError> {
        let id = || self.id().clone();
        // A key in its grace period must end with it.
        let lives_longer = self.replaced_by().is_some()
            && match (self.expires_at(), changed.expires_at()) {
                (None, _) => false,
                (Some(_), None) => true,
                (Some(end), Some(later)) => later > end,
            };
        // The digest is compared last: if the key was rehashed meanwhile, the update is late and
        // can be repeated.
        let is_another = self.id() != changed.id()
            || self.owner() != changed.owner()
            || self.organization() != changed.organization()
            || self.environment() != changed.environment()
            || self.replaces() != changed.replaces()
            || self.lineage() != changed.lineage()
            || self.meter() != changed.meter();
        if is_another || lives_longer {
            Err(RegistryError::ImmutableField(id()))
        } else if self.status() == Status::Revoked {
            Err(RegistryError::Revoked(id()))
        } else if self.replaced_by().is_some() && self.replaced_by() != changed.replaced_by() {
            Err(RegistryError::Replaced(id()))
        } else if self.version() != changed.version() {
            Err(RegistryError::VersionConflict(id()))
        } else if self.digest() != changed.digest() {
            Err(RegistryError::ImmutableField(id()))
        } else {
            let changed = changed.with_created_by(self.created_by().cloned()).without_request_state();
            Ok(changed.with_usage(self.use_count(), self.last_used_at()).with_version(self.version() + 1))
        }
    }

    /// Returns the record to store for this key when its `successor`, which has replaced it, is
    /// itself replaced: this record with the status revoked and the next version. Returns `None` if
    /// `successor` has not replaced this key, or if this key is already revoked. See
    /// [`KeyRegistry::replace`](crate::KeyRegistry::replace).
    ///
    /// ```
    /// use tower_api_key::{KeyRecord, Status};
    ///
    /// let first = KeyRecord::new("k1", [7; 32]).with_replaced_by("k2");
    /// let second = KeyRecord::new("k2", [8; 32]).with_replaces("k1").with_replaced_by("k3");
    /// let ended = first.end_of_grace(&second).expect("the first key is in grace");
    /// assert_eq!((ended.status(), ended.version()), (Status::Revoked, 1));
    /// assert!(ended.end_of_grace(&second).is_none());
    /// assert!(KeyRecord::new("k1", [7; 32]).end_of_grace(&second).is_none());
    /// ```
    pub fn end_of_grace(&self, successor: &KeyRecord) -> Option<KeyRecord> {
        let is_replaced = self.replaced_by() == Some(successor.id()) && successor.replaces() == Some(self.id());
        let ends = is_replaced && self.id() != successor.id() && self.status() != Status::Revoked;
        ends.then(|| self.clone().with_status(Status::Revoked).with_version(self.version() + 1))
    }

    /// Returns the record to store when this stored record gets the digest `to`: with `to` and the
    /// next version. See [`KeyRegistry::rehash`](crate::KeyRegistry::rehash).
    ///
    /// ```
    /// use tower_api_key::{KeyRecord, store::RegistryError};
    ///
    /// let stored = KeyRecord::new("k1", [7; 32]);
    /// let rehashed = stored.apply_rehash(&[7; 32].into(), [8; 32])?;
    /// assert_eq!((rehashed.digest(), rehashed.version()), (&[8; 32].into(), 1));
    /// assert_eq!(rehashed.apply_rehash(&[7; 32].into(), [8; 32]).err(), Some(RegistryError::VersionConflict("k1".into())));
    /// # Ok::<(), RegistryError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`RegistryError::Revoked`] for a revoked key; [`RegistryError::VersionConflict`] for one
    /// whose digest is not `from`.
    pub fn apply_rehash(&self, from: &KeyDigest, to: impl Into<KeyDigest>) -> Result<KeyRecord, RegistryError> {
        if self.status() == Status::Revoked {
            Err(RegistryError::Revoked(self.id().clone()))
        } else if self.digest() != from {
            Err(RegistryError::VersionConflict(self.id().clone()))
        } else {
            Ok(self.clone().with_digest(to.into()).with_version(self.version() + 1))
        }
    }
}
