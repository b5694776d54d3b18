//! Who manages keys, and what they may hand on.

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
/// that it lacks. A principal of one environment stays in that environment.
///
/// A principal's key is one of the manager's own: it is read again in the transaction that changes, so that a key that was revoked or
/// edited meanwhile changes nothing more; and a key that was rotated away manages nothing, though it still works. Times are no permissions: a key
/// that expires may make one that does not.
///
/// ```
/// use tower_api_key::{Owner, Permissions, manage::Actor};
///
/// let permissions = Permissions::new().grant("apiKeys", "create").grant("stats", "read");
/// let alice = Actor::trusted(Owner::User("alice".into()), permissions).in_organization("acme");
/// assert_eq!(alice.organization(), Some("acme"));
/// ```
#[derive(Clone, Debug)]
pub struct Actor {
    owner: Option<Owner>,
    organization: Option<String>,
    environment: Option<String>,
    permissions: Permissions,
    key_id: Option<KeyId>,
    key_version: u64,
}

/// The resource whose actions a key needs to manage keys.
pub(super) const API_KEYS: &str = "apiKeys";

impl Actor {
    /// Somebody whom the product has signed in by its own means, or the product itself at its first start. Whoever calls this vouches
    /// for the owner and the permissions: never take them from a body, a query or a header.
    pub fn trusted(owner: Owner, permissions: Permissions) -> Self {
        Self { owner: Some(owner), organization: None, environment: None, permissions, key_id: None, key_version: 0 }
    }

    /// The same, in this organization.
    #[must_use]
    pub fn in_organization(mut self, organization: impl Into<String>) -> Self {
        self.organization = Some(organization.into());
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
        }
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

    /// What the actor may do, and hand on.
    pub fn permissions(&self) -> &Permissions {
        &self.permissions
    }

    /// The key by which the actor came, if by one.
    pub fn key_id(&self) -> Option<&KeyId> {
        self.key_id.as_ref()
    }

    /// The key by which the actor came, in the version that its permissions were read from.
    pub(super) fn key(&self) -> Option<ActorKey> {
        self.key_id.clone().map(|id| ActorKey::new(id, self.key_version))
    }

    pub(super) fn may(&self, action: &Action) -> bool {
        self.permissions.allow(API_KEYS, action)
    }

    /// Whether this key is one of those that the actor knows of.
    pub(super) fn sees(&self, record: &KeyRecord) -> bool {
        record.organization() == self.organization()
            && (self.environment.is_none() || record.environment() == self.environment())
    }
}

impl From<&Principal> for Actor {
    fn from(principal: &Principal) -> Self {
        Self::of_record(principal.record())
    }
}
