//! Requests to a [`KeyManager`](crate::KeyManager), and the answer with a new key.

use std::time::{Duration, SystemTime};

use crate::{
    address::Network,
    key::ApiKey,
    permission::{Action, Permissions},
    record::{KeyRecord, Limiting},
};

/// Describes a new key for [`KeyManager::issue`](crate::KeyManager::issue).
///
/// The key gets the organization of the actor. A user key also gets the user of the actor.
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use tower_api_key::{Permissions, manage::NewKey};
///
/// let bot = NewKey::service_account("nightly build").grant("links", "create").environment("live");
///
/// let now = SystemTime::now();
/// let laptop = NewKey::user("laptop")
///     .permissions(Permissions::new().grant("stats", "read"))
///     .not_before(now)
///     .expires_at(now + Duration::from_secs(86_400));
/// ```
#[derive(Clone, Debug)]
#[must_use = "it only describes a key: pass it to KeyManager::issue"]
pub struct NewKey {
    pub(super) is_bot: bool,
    pub(super) name: String,
    pub(super) permissions: Permissions,
    pub(super) roles: Vec<String>,
    pub(super) environment: Option<String>,
    pub(super) not_before: Option<SystemTime>,
    pub(super) expires_at: Option<SystemTime>,
    pub(super) metadata: Vec<(String, String)>,
    pub(super) addresses: Option<Vec<Network>>,
    pub(super) limiting: Limiting,
}

/// Describes a replacement with a grace period for
/// [`KeyManager::rotate`](crate::KeyManager::rotate).
///
/// ```
/// use std::time::Duration;
/// use tower_api_key::manage::Rotation;
///
/// let a_day_for_both = Rotation::grace_period(Duration::from_secs(86_400));
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use = "it only describes a rotation: pass it to KeyManager::rotate"]
pub struct Rotation {
    pub(super) grace: Duration,
    pub(super) expires_at: Option<SystemTime>,
    pub(super) version: Option<u64>,
}

/// A new key with its plain text, from [`KeyManager::issue`](crate::KeyManager::issue),
/// [`regenerate`](crate::KeyManager::regenerate) and [`rotate`](crate::KeyManager::rotate).
///
/// ```
/// use tower_api_key::manage::Issued;
///
/// fn show_once(issued: &Issued) {
///     println!("{}: {}", issued.record().id(), issued.key().expose());
/// }
/// ```
#[derive(Debug)]
pub struct Issued {
    pub(super) key: ApiKey,
    pub(super) record: KeyRecord,
}

// === impl NewKey, Rotation, Issued ===

impl NewKey {
    /// Describes a key of the actor's user.
    /// [`remove_user_keys`](crate::KeyManager::remove_user_keys) deletes it when the user leaves.
    pub fn user(name: impl Into<String>) -> Self {
        Self {
            is_bot: false,
            name: name.into(),
            permissions: Permissions::new(),
            roles: Vec::new(),
            environment: None,
            not_before: None,
            expires_at: None,
            metadata: Vec::new(),
            addresses: None,
            limiting: Limiting::default(),
        }
    }

    /// Describes a key of the actor's organization. It does not depend on any user.
    pub fn service_account(name: impl Into<String>) -> Self {
        Self { is_bot: true, ..Self::user(name) }
    }

    /// Adds the permission for `action` on `resource`.
    pub fn grant(mut self, resource: impl Into<String>, action: impl Into<Action>) -> Self {
        self.permissions = self.permissions.grant(resource, action);
        self
    }

    /// Replaces all permissions.
    pub fn permissions(mut self, permissions: Permissions) -> Self {
        self.permissions = permissions;
        self
    }

    /// Sets the environment, which selects the format of the key. The default is the environment of
    /// the actor, if it has one.
    pub fn environment(mut self, environment: impl Into<String>) -> Self {
        self.environment = Some(environment.into());
        self
    }

    /// Rejects the key before this instant.
    pub fn not_before(mut self, instant: SystemTime) -> Self {
        self.not_before = Some(instant);
        self
    }

    /// Rejects the key from this instant on. The default is the expiry of the actor's key, if it
    /// has one.
    pub fn expires_at(mut self, instant: SystemTime) -> Self {
        self.expires_at = Some(instant);
        self
    }

    /// Adds a text that the store keeps with the key. Read it with
    /// [`KeyRecord::metadata`](crate::KeyRecord::metadata). A key has at most 50 texts of at most
    /// 1,000 characters: see [`ManageError::Metadata`](super::ManageError::Metadata).
    ///
    /// ```
    /// use tower_api_key::manage::NewKey;
    ///
    /// let key = NewKey::user("laptop").metadata("plan", "pro");
    /// ```
    pub fn metadata(mut self, name: impl Into<String>, text: impl Into<String>) -> Self {
        self.metadata.push((name.into(), text.into()));
        self
    }
}

impl Rotation {
    /// Sets how long both keys work. The old key may expire earlier: at its own expiry, or at that
    /// of the actor's key.
    ///
    /// The new key gets the expiry that the old one had, or that of the actor's key if it is
    /// earlier.
    pub fn grace_period(grace: Duration) -> Self {
        Self { grace, expires_at: None, version: None }
    }

    /// Sets the expiry of the new key.
    pub fn expires_at(mut self, instant: SystemTime) -> Self {
        self.expires_at = Some(instant);
        self
    }

    /// Replaces the key only if its record has this version: see [`UpdateKey::at_version`].
    ///
    /// [`UpdateKey::at_version`]: super::UpdateKey::at_version
    pub fn at_version(mut self, version: u64) -> Self {
        self.version = Some(version);
        self
    }
}

impl Issued {
    /// Returns the plain text. It is stored nowhere: show it once.
    pub fn key(&self) -> &ApiKey {
        &self.key
    }

    /// Returns the stored record of the key.
    pub fn record(&self) -> &KeyRecord {
        &self.record
    }
}
