//! Who manages keys, and what they may hand on.

use std::time::SystemTime;

use super::ManageError;
use crate::{
    permission::{Action, Permissions},
    principal::Principal,
    record::{KeyId, KeyRecord, Owner},
    store::ActorKey,
};

/// Who asks a [`KeyManager`](crate::KeyManager) for something: a principal, or somebody whom the product itself has signed in.
///
/// An actor sees and changes the keys of its own organization only (those without an organization, if it has none itself), and
/// needs the permission `apiKeys` for it: `create`, `read`, `update` or `delete`. No key that it makes or edits holds a permission
/// that it lacks.
///
/// # Bounds
///
/// | an actor is confined to | by                                                                                         |
/// |-------------------------|--------------------------------------------------------------------------------------------|
/// | one organization        | its key; for a trusted actor [`in_organization`](Actor::in_organization)                   |
/// | one environment         | its key, if that is of one; otherwise [`in_environment`](Actor::in_environment)            |
/// | its own keys            | [`own_keys_only`](Actor::own_keys_only): self-service for a member                         |
/// | its own end             | its key, if that expires: no key that it makes or replaces ends later                      |
///
/// A key outside of the bounds is [`NotFound`](super::ManageError::NotFound), as if it were not there. Bounds only narrow: an actor with a key
/// that is confined to another organization or environment than its key's may do nothing.
///
/// A principal's key is one of the manager's own: it is read again in the transaction that changes, so that a key that was revoked or
/// edited meanwhile changes nothing more; and a key that was rotated away manages nothing, though it still works. The bounds stay.
///
/// ```
/// use tower_api_key::{Owner, Permissions, manage::Actor};
///
/// let permissions = Permissions::new().grant("apiKeys", "create").grant("stats", "read");
/// let alice = Actor::trusted(Owner::User("alice".into()), permissions).in_organization("acme").own_keys_only();
/// assert_eq!(alice.organization(), Some("acme"));
/// assert!(alice.is_own_keys_only());
/// ```
#[derive(Clone, Debug)]
pub struct Actor {
    owner: Option<Owner>,
    organization: Option<String>,
    environment: Option<String>,
    permissions: Permissions,
    key_id: Option<KeyId>,
    key_version: u64,
    /// When its key ends.
    expires_at: Option<SystemTime>,
    /// Its key, as its permissions were read from.
    record: Option<KeyRecord>,
    bounds: ActorBounds,
}

/// To what an actor was confined besides what its key says. Kept when the key is read again.
#[derive(Clone, Debug, Default)]
struct ActorBounds {
    organization: Option<String>,
    environment: Option<String>,
    own_keys_only: bool,
    /// Two bounds contradict each other.
    contradict: bool,
}

/// The resource whose actions a key needs to manage keys.
pub(super) const API_KEYS: &str = "apiKeys";

impl Actor {
    /// Somebody whom the product has signed in by its own means, or the product itself at its first start. Whoever calls this vouches
    /// for the owner and the permissions: never take them from a body, a query or a header.
    pub fn trusted(owner: Owner, permissions: Permissions) -> Self {
        Self {
            owner: Some(owner),
            organization: None,
            environment: None,
            permissions,
            key_id: None,
            key_version: 0,
            expires_at: None,
            record: None,
            bounds: ActorBounds::default(),
        }
    }

    /// Puts a trusted actor into this organization, instead of the one that was named before. An actor with a key stays in its key's
    /// organization; confined to another, it may do nothing.
    #[must_use]
    pub fn in_organization(mut self, organization: impl Into<String>) -> Self {
        let organization = organization.into();
        if self.key_id.is_none() {
            self.organization = Some(organization);
            return self;
        }
        self.bounds.contradict |= self.organization.as_ref() != Some(&organization);
        self.bounds.organization.get_or_insert(organization);
        self.within_bounds()
    }

    /// Confines the actor to the keys of this environment: it sees no others, and makes its keys there. Confined to two, it may do
    /// nothing.
    ///
    /// ```
    /// use tower_api_key::{Owner, Permissions, manage::Actor};
    ///
    /// let ci = Actor::trusted(Owner::ServiceAccount, Permissions::new().grant("apiKeys", "create")).in_environment("test");
    /// assert_eq!(ci.environment(), Some("test"));
    /// assert!(ci.in_environment("live").permissions().is_empty());
    /// ```
    #[must_use]
    pub fn in_environment(mut self, environment: impl Into<String>) -> Self {
        let environment = environment.into();
        self.bounds.contradict |= self.environment.as_ref().is_some_and(|own| *own != environment);
        self.bounds.environment.get_or_insert(environment);
        self.within_bounds()
    }

    /// Confines the actor to its own keys, whatever its permissions: to those of its user in its organization. An actor that is no user
    /// owns only the key by which it came; without a key, none.
    ///
    /// It then makes keys of its own user, but none of a bot, which would outlive the member, and removes no member. All other keys
    /// are [`NotFound`](super::ManageError::NotFound). Cannot be taken back.
    ///
    /// ```
    /// use tower_api_key::{Principal, manage::Actor};
    ///
    /// fn member(principal: &Principal) -> Actor {
    ///     Actor::from(principal).own_keys_only()
    /// }
    /// ```
    #[must_use]
    pub fn own_keys_only(mut self) -> Self {
        self.bounds.own_keys_only = true;
        self
    }

    /// What the holder of a key with this record may do. The record must have been verified.
    pub(super) fn of_record(record: &KeyRecord) -> Self {
        Self {
            owner: record.owner().cloned(),
            organization: record.organization().map(str::to_owned),
            environment: record.environment().map(str::to_owned),
            permissions: record.permissions().clone(),
            key_id: Some(record.id().clone()),
            key_version: record.version(),
            expires_at: record.expires_at(),
            record: Some(record.clone()),
            bounds: ActorBounds::default(),
        }
    }

    /// The actor within the bounds of another as well: its organization and its environment, whether it was confined to them or has no
    /// others, and its own keys. What the other may do is no bound.
    pub(super) fn confined_like(mut self, other: &Self) -> Self {
        self.bounds.contradict |= other.bounds.contradict;
        self.bounds.own_keys_only |= other.bounds.own_keys_only;
        let actor = match other.bounds.organization.as_ref().or(other.organization.as_ref()) {
            Some(organization) => self.in_organization(organization.clone()),
            None => self,
        };
        match other.bounds.environment.as_ref().or(other.environment.as_ref()) {
            Some(environment) => actor.in_environment(environment.clone()),
            None => actor.within_bounds(),
        }
    }

    fn within_bounds(mut self) -> Self {
        if self.environment.is_none() {
            self.environment.clone_from(&self.bounds.environment);
        }
        if self.bounds.contradict {
            self.permissions = Permissions::new();
        }
        self
    }

    /// To whom the change is attributed.
    pub fn owner(&self) -> Option<&Owner> {
        self.owner.as_ref()
    }

    /// Whose keys the actor sees.
    pub fn organization(&self) -> Option<&str> {
        self.organization.as_deref()
    }

    /// To which environment the actor is confined, if to one.
    pub fn environment(&self) -> Option<&str> {
        self.environment.as_deref()
    }

    /// Whether the actor is confined to its own keys: see [`Actor::own_keys_only`].
    pub fn is_own_keys_only(&self) -> bool {
        self.bounds.own_keys_only
    }

    /// What the actor may do, and hand on.
    pub fn permissions(&self) -> &Permissions {
        &self.permissions
    }

    /// The key by which the actor came, if by one.
    pub fn key_id(&self) -> Option<&KeyId> {
        self.key_id.as_ref()
    }

    /// The version of that key's record, as it was read: any change of the key gives it another. A session that was begun with a key ends
    /// with that version, if a key that was disabled and enabled must not bring it back.
    ///
    /// ```
    /// use tower_api_key::{KeyId, KeyManager, manage::{Actor, ManageError}};
    ///
    /// /// `version` is what the session has kept at sign-in.
    /// async fn in_session(manager: &KeyManager, key: &KeyId, version: u64) -> Result<Option<Actor>, ManageError> {
    ///     let actor = manager.actor(key).await?;
    ///     Ok(actor.filter(|actor| actor.key_version() == Some(version)).map(Actor::own_keys_only))
    /// }
    /// ```
    pub fn key_version(&self) -> Option<u64> {
        self.key_id.as_ref().map(|_| self.key_version)
    }

    /// The key by which the actor came, in the version that its permissions were read from.
    pub(super) fn key(&self) -> Option<ActorKey> {
        self.record.as_ref().map(ActorKey::as_read)
    }

    pub(super) fn may(&self, action: &Action) -> bool {
        self.permissions.allow(API_KEYS, action)
    }

    /// Whether this key is one of those that the actor knows of. The one place that decides it.
    pub(super) fn sees(&self, record: &KeyRecord) -> bool {
        record.organization() == self.organization()
            && (self.environment.is_none() || record.environment() == self.environment())
            && (!self.bounds.own_keys_only || self.owns(record))
    }

    fn owns(&self, record: &KeyRecord) -> bool {
        match self.owner() {
            Some(user @ Owner::User(_)) => record.owner() == Some(user),
            Some(Owner::ServiceAccount) | None => self.key_id() == Some(record.id()),
        }
    }

    /// The end of a new key for which `asked` was asked: that, or the actor's own.
    pub(super) fn end_of_new(&self, asked: Option<SystemTime>) -> Result<Option<SystemTime>, ManageError> {
        match (self.expires_at, asked) {
            (Some(own), Some(asked)) if asked > own => Err(ManageError::OutlivesActor),
            (own, asked) => Ok(asked.or(own)),
        }
    }

    /// Whether this key goes on when the actor's own has ended.
    pub(super) fn ends_before(&self, record: &KeyRecord) -> bool {
        self.earlier_end(record.expires_at()) != record.expires_at()
    }

    /// The end of a key that goes on: its own, or the actor's if that comes first.
    pub(super) fn earlier_end(&self, end: Option<SystemTime>) -> Option<SystemTime> {
        self.expires_at.into_iter().chain(end).min()
    }
}

impl From<&Principal> for Actor {
    fn from(principal: &Principal) -> Self {
        Self::of_record(principal.record())
    }
}
