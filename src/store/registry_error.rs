//! What a registry does not do, and the rules that all registries share.

use thiserror::Error;

use crate::{
    key::KeyDigest,
    record::{KeyId, KeyRecord, Status},
};

/// Why a store refused a change. Nothing was changed.
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
    /// The key of the actor is not the one that was checked any more: it was changed, revoked or removed, or has expired.
    #[error("the key {0}, on whose behalf this was asked for, was changed meanwhile or does not work any more")]
    ActorChanged(KeyId),
    /// There is a key in the store already, so that none is the first.
    #[error("there are keys already")]
    NotEmpty,
    /// There is a key with this id already.
    #[error("there is a key {0} already")]
    DuplicateId(KeyId),
    /// The key is in the store already, under another id.
    #[error("the key is in the store already")]
    DuplicateDigest,
    /// The owner has as many keys as the cap allows.
    #[error("the owner has as many keys as one may have: {0}")]
    LimitReached(u32),
    /// There is no key with this id.
    #[error("there is no key {0}")]
    NotFound(KeyId),
    /// The key was revoked, and stays so.
    #[error("the key {0} was revoked")]
    Revoked(KeyId),
    /// Another key has taken its place already.
    #[error("the key {0} was replaced already")]
    Replaced(KeyId),
    /// The record was changed since it was read.
    #[error("the key {0} was changed meanwhile")]
    VersionConflict(KeyId),
    /// An update would give the record another id, digest, owner, organization, environment or origin, or a later expiry.
    #[error("an update may not change what identifies {0}, nor let it live longer")]
    ImmutableField(KeyId),
}

/// What registries share.
impl KeyRecord {
    /// What a store that holds this record puts in its place for `changed`: with the stored use and the next version. See
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
    /// [`RegistryError::Revoked`] for a revoked key; [`RegistryError::VersionConflict`] for another version; [`RegistryError::Replaced`] where both
    /// say what has replaced them, and differ; [`RegistryError::ImmutableField`].
    pub fn apply_update(&self, changed: KeyRecord) -> Result<KeyRecord, RegistryError> {
        let id = || self.id().clone();
        let lives_longer = match (self.expires_at(), changed.expires_at()) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some(end), Some(later)) => later > end,
        };
        // A digest is compared last: an update of a key that was rehashed meanwhile is late, and may be tried again.
        let is_another = self.id() != changed.id()
            || self.owner() != changed.owner()
            || self.organization() != changed.organization()
            || self.environment() != changed.environment()
            || self.replaces() != changed.replaces();
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
            Ok(changed.with_usage(self.use_count(), self.last_used_at()).with_version(self.version() + 1))
        }
    }

    /// What a store that holds this record puts in its place when `heir`, the key that has replaced this one, is replaced in turn: the
    /// grace of this key ends, so it is revoked, and has the next version. `None` where there is nothing to end. See
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
    pub fn end_of_grace(&self, heir: &KeyRecord) -> Option<KeyRecord> {
        let is_replaced = self.replaced_by() == Some(heir.id()) && heir.replaces() == Some(self.id());
        let ends = is_replaced && self.id() != heir.id() && self.status() != Status::Revoked;
        ends.then(|| self.clone().with_status(Status::Revoked).with_version(self.version() + 1))
    }

    /// What a store that holds this record puts in its place when the same key is hashed otherwise: with the digest `to` and the
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
    /// [`RegistryError::Revoked`] for a revoked key; [`RegistryError::VersionConflict`] for one whose digest is not `from`.
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
