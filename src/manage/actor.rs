//! The actor of a management call, with its permissions and bounds.

mod reach;

use std::time::SystemTime;

use super::call_details::CallDetails;
use crate::{
    permission::{Action, Permissions},
    principal::Principal,
    record::{KeyId, KeyRecord, Owner},
    store::ActorKey,
};

/// The caller of a [`KeyManager`](crate::KeyManager): a [`Principal`], or a user that your
/// application has authenticated.
///
/// An actor sees and changes the keys of its own organization only; without an organization, the
/// keys without one. It needs the permission `create`, `read`, `update` or `delete` on `apiKeys`.
/// It cannot give a key a permission that it lacks itself.
///
/// # Bounds
///
/// | an actor is confined to | by                                                                              |
/// |-------------------------|---------------------------------------------------------------------------------|
/// | one organization        | its key; for a trusted actor [`in_organization`](Actor::in_organization)        |
/// | one environment         | its key, if it has one; otherwise [`in_environment`](Actor::in_environment)     |
/// | its own keys            | [`own_keys_only`](Actor::own_keys_only): self-service for a user                |
/// | the limits of its key   | its key: a key that the actor issues has its plan, limits and meter             |
/// | the expiry of its key   | its key: a key that the actor issues or replaces expires no later               |
/// | the addresses of its key | its key: a key that it issues, replaces or opens is accepted from no others    |
///
/// For a key outside the bounds, every call returns [`NotFound`](super::ManageError::NotFound).
/// Bounds only narrow: with an organization or environment other than its key's, an actor has no
/// permissions. [`across_organizations`](Actor::across_organizations) widens a trusted actor.
///
/// If the actor has a key, the manager reads the key again for each change, in the same
/// transaction. A key that was revoked meanwhile changes nothing, and an edited key has only its
/// new permissions. A replaced key in its grace period is read-only, but can
/// [revoke itself](crate::KeyManager::revoke_self). The bounds still apply.
///
/// ```
/// use tower_api_key::{Owner, Permissions, manage::Actor};
///
/// let permissions = Permissions::new().grant("apiKeys", "create").grant("stats", "read");
/// let alice = Actor::trusted(Owner::User("alice".into()), permissions)
///     .in_organization("acme")
///     .own_keys_only();
/// assert_eq!(alice.owner(), Some(&Owner::User("alice".into())));
/// assert_eq!((alice.organization(), alice.environment()), (Some("acme"), None));
/// assert!(alice.is_own_keys_only() && alice.permissions().allows("stats", "read"));
/// assert_eq!(alice.key_id(), None); // an actor from a principal has the id of its key
/// ```
#[derive(Clone, Debug)]
pub struct Actor {
    owner: Option<Owner>,
    organization: Option<String>,
    environment: Option<String>,
    permissions: Permissions,
    key_id: Option<KeyId>,
    key_version: u64,
    /// The expiry of its key.
    expires_at: Option<SystemTime>,
    /// The record of its key, the source of its permissions.
    pub(super) record: Option<KeyRecord>,
    bounds: ActorBounds,
    pub(super) details: CallDetails,
}

/// The bounds set on an actor, beside those of its key. A reload of the key keeps them.
#[derive(Clone, Debug, Default)]
struct ActorBounds {
    organization: Option<String>,
    environment: Option<String>,
    own_keys_only: bool,
    every_organization: bool,
    /// Whether two bounds contradict each other. The actor then has no permissions.
    contradict: bool,
}

/// The resource of the permissions to manage keys.
pub(super) const API_KEYS: &str = "apiKeys";

impl Actor {
    /// Creates an actor without a key: a user that your application has authenticated, or the
    /// application itself at its first start.
    ///
    /// The manager trusts the owner and the permissions: never take them from a request. The type's
    /// documentation has an example.
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
            details: CallDetails::default(),
        }
    }

    /// Sets the organization of a trusted actor. An actor with a key stays in that of its key; in
    /// another organization, it has no permissions.
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

    /// Confines the actor to this environment: it sees only keys of it, and issues keys in it.
    ///
    /// Confined to two environments, the actor has no permissions.
    ///
    /// ```
    /// use tower_api_key::{Owner, Permissions, manage::Actor};
    ///
    /// let permissions = Permissions::new().grant("apiKeys", "create");
    /// let ci = Actor::trusted(Owner::ServiceAccount, permissions).in_environment("test");
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

    /// Confines the actor to its own keys: those of its user in its organization.
    ///
    /// An actor that is not a user owns only the key that it authenticated with. An actor with
    /// neither a user nor a key owns no key. All other keys are
    /// [`NotFound`](super::ManageError::NotFound). The actor can issue user keys, but not
    /// service-account keys, since those outlive the user. It cannot remove users.
    ///
    /// You cannot remove the bound from this actor, but the keys that it issues do not inherit it.
    /// If it has `apiKeys` permissions, it can issue a key with them. Set the bound on the actors
    /// of that key too; otherwise they see every key of the organization.
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

    /// Returns the actor of a verified key.
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
            details: CallDetails::default(),
        }
    }

    /// Adds the bounds of another actor: its organization, its environment, and whether it is
    /// confined to its own keys. The permissions of the other actor are not a bound.
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

    /// Returns the user or service account that makes the changes.
    pub fn owner(&self) -> Option<&Owner> {
        self.owner.as_ref()
    }

    /// Returns the organization of the keys that the actor sees.
    pub fn organization(&self) -> Option<&str> {
        self.organization.as_deref()
    }

    /// Returns the environment that the actor is confined to.
    pub fn environment(&self) -> Option<&str> {
        self.environment.as_deref()
    }

    /// Returns whether [`Actor::own_keys_only`] was called.
    pub fn is_own_keys_only(&self) -> bool {
        self.bounds.own_keys_only
    }

    /// Returns the permissions of the actor, which are also the most it can grant.
    pub fn permissions(&self) -> &Permissions {
        &self.permissions
    }

    /// Returns the id of the key that the actor authenticated with.
    pub fn key_id(&self) -> Option<&KeyId> {
        self.key_id.as_ref()
    }

    /// Returns the version of the actor's key record; each change of the key increments it.
    ///
    /// Compare it to end a session when its key changes. Otherwise a session of a disabled key
    /// works again after the key is enabled.
    ///
    /// ```
    /// use tower_api_key::{KeyId, KeyManager, manage::{Actor, ManageError}};
    ///
    /// /// `version` was stored in the session at sign-in.
    /// async fn in_session(
    ///     manager: &KeyManager,
    ///     key: &KeyId,
    ///     version: u64,
    /// ) -> Result<Option<Actor>, ManageError> {
    ///     let actor = manager.actor(key).await?;
    ///     Ok(actor.filter(|actor| actor.key_version() == Some(version)).map(Actor::own_keys_only))
    /// }
    /// ```
    pub fn key_version(&self) -> Option<u64> {
        self.key_id.as_ref().map(|_| self.key_version)
    }

    /// Returns the actor's key in the version that its permissions came from.
    pub(super) fn key(&self) -> Option<ActorKey> {
        self.record.as_ref().map(|record| ActorKey::as_read(record).until(self.expires_at))
    }

    pub(super) fn may(&self, action: &Action) -> bool {
        self.permissions.allow(API_KEYS, action)
    }

    /// Returns whether the actor sees this key. No other code decides this.
    pub(super) fn sees(&self, record: &KeyRecord) -> bool {
        !self.bounds.contradict
            && (self.bounds.every_organization || record.organization() == self.organization())
            && (self.environment.is_none() || record.environment() == self.environment())
            && (!self.bounds.own_keys_only || self.owns(record))
    }

    fn owns(&self, record: &KeyRecord) -> bool {
        match self.owner() {
            Some(user @ Owner::User(_)) => record.owner() == Some(user),
            Some(Owner::ServiceAccount) | None => self.key_id() == Some(record.id()),
        }
    }

    /// Sets when the actor's key stops working.
    pub(super) fn ending_at(self, end: Option<SystemTime>) -> Self {
        Self { expires_at: end, ..self }
    }

    /// Returns whether the actor's key ends before this instant.
    pub(super) fn ends_before(&self, end: Option<SystemTime>) -> bool {
        self.earlier_end(end) != end
    }

    /// Returns the earlier of `end` and the expiry of the actor's key.
    pub(super) fn earlier_end(&self, end: Option<SystemTime>) -> Option<SystemTime> {
        self.expires_at.into_iter().chain(end).min()
    }
}

impl From<&Principal> for Actor {
    fn from(principal: &Principal) -> Self {
        Self::of_record(principal.record())
    }
}
