//! The details of a change that the caller sets: reason, id of the request, address, required
//! version of the key, idempotency key.

use std::net::IpAddr;

use super::{Actor, ManageError};
use crate::record::{Author, KeyRecord, Owner};

/// The details of a change. An actor keeps them when its key is read again.
#[derive(Clone, Debug, Default)]
pub(super) struct CallDetails {
    pub(super) reason: Option<String>,
    pub(super) request_id: Option<String>,
    pub(super) address: Option<IpAddr>,
    /// The versions of a key that the caller changes; `None` means every version.
    pub(super) versions: Option<Vec<u64>>,
    pub(super) idempotency_key: Option<String>,
    /// The person who makes the changes of a trusted actor.
    pub(super) operator: Option<String>,
}

// === impl Actor ===

impl Actor {
    /// Sets why the actor makes its changes, in at most 200 characters. Each event has it. The
    /// record keeps the reason of the last change that had one, until the key is enabled.
    ///
    /// ```
    /// use tower_api_key::{KeyId, KeyManager, manage::{Actor, ManageError}};
    ///
    /// async fn leaked(manager: &KeyManager, admin: &Actor, id: KeyId) -> Result<(), ManageError> {
    ///     let admin = admin.clone().because("leaked in a public repository");
    ///     let revoked = manager.revoke(&admin, id).await?;
    ///     assert_eq!(revoked.reason(), Some("leaked in a public repository"));
    ///     Ok(())
    /// }
    /// ```
    #[must_use]
    pub fn because(mut self, reason: impl Into<String>) -> Self {
        self.details.reason = Some(reason.into());
        self
    }

    /// Sets the id of the request that makes the changes, for their events.
    #[must_use]
    pub fn with_request_id(mut self, id: impl Into<String>) -> Self {
        self.details.request_id = Some(id.into());
        self
    }

    /// Sets the address of the caller, for the events of its changes.
    #[must_use]
    pub fn with_address(mut self, address: IpAddr) -> Self {
        self.details.address = Some(address);
        self
    }

    /// Names the operator who makes the changes of a trusted actor: each event and record has the
    /// operator as its author. The actor itself, and so the owner of its keys, stays the same.
    ///
    /// Use it where an operator of the service acts for a user, such as to issue a key for that
    /// user. The author of an actor with a key is its key.
    ///
    /// ```
    /// use tower_api_key::{Author, KeyManager, Owner, Permissions, manage::{Actor, ManageError, NewKey}};
    ///
    /// async fn issue_for_alice(manager: &KeyManager) -> Result<(), ManageError> {
    ///     let permissions = Permissions::new().grant("apiKeys", "create").grant("links", "read");
    ///     let alice = Actor::trusted(Owner::User("alice".into()), permissions).by_operator("ada");
    ///     let issued = manager.issue(&alice, NewKey::user("laptop").grant("links", "read")).await?;
    ///     assert_eq!(issued.record().owner(), Some(&Owner::User("alice".into())));
    ///     assert_eq!(issued.record().created_by(), Some(&Author::User("ada".into())));
    ///     Ok(())
    /// }
    /// ```
    #[must_use]
    pub fn by_operator(mut self, name: impl Into<String>) -> Self {
        self.details.operator = Some(name.into());
        self
    }

    /// Returns the author of the actor's changes: its key, its operator, its user, or the system.
    ///
    /// ```
    /// use tower_api_key::{Author, Owner, Permissions, manage::Actor};
    ///
    /// let alice = Actor::trusted(Owner::User("alice".into()), Permissions::new());
    /// assert_eq!(alice.author(), Author::User("alice".into()));
    /// let service = Actor::trusted(Owner::ServiceAccount, Permissions::new());
    /// assert_eq!(service.author(), Author::System);
    /// ```
    pub fn author(&self) -> Author {
        match (self.key_id(), &self.details.operator, self.owner()) {
            (Some(id), ..) => Author::Key(id.clone()),
            (None, Some(user), _) | (None, None, Some(Owner::User(user))) => Author::User(user.clone()),
            (None, None, _) => Author::System,
        }
    }

    /// Returns whether the actor is the service itself: it has no key and is no user.
    pub(super) fn is_service(&self) -> bool {
        self.key_id().is_none() && !matches!(self.owner(), Some(Owner::User(_)))
    }

    pub(super) fn reason(&self) -> Option<&str> {
        self.details.reason.as_deref()
    }

    pub(super) fn request_id(&self) -> Option<&str> {
        self.details.request_id.as_deref()
    }

    pub(super) fn idempotency_key(&self) -> Option<&str> {
        self.details.idempotency_key.as_deref()
    }

    pub(super) fn address(&self) -> Option<IpAddr> {
        self.details.address
    }

    /// Restricts the next change to a key with one of these versions.
    #[cfg(feature = "admin-api")]
    pub(super) fn at_versions(mut self, versions: Option<Vec<u64>>) -> Self {
        self.details.versions = versions;
        self
    }

    /// Returns whether the caller requires a version of the key: here or in the request.
    pub(super) fn requires_version(&self, asked: Option<u64>) -> bool {
        asked.is_some() || self.details.versions.is_some()
    }

    /// Fails unless the key has the version that the caller requires.
    pub(super) fn check_version(&self, asked: Option<u64>, record: &KeyRecord) -> Result<(), ManageError> {
        let version = record.version();
        let is_listed = self.details.versions.as_ref().is_none_or(|versions| versions.contains(&version));
        let is_required = is_listed && asked.is_none_or(|asked| asked == version);
        if is_required { Ok(()) } else { Err(ManageError::VersionMismatch(record.id().clone())) }
    }

    /// Copies the details of the other actor.
    pub(super) fn described_like(mut self, other: &Self) -> Self {
        self.details = other.details.clone();
        self
    }
}
