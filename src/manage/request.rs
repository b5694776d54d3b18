//! What is asked of a manager.

use std::time::{Duration, SystemTime};

use crate::{
    key::ApiKey,
    permission::{Action, Permissions},
    record::KeyRecord,
};

/// A key that is to be made: whose, its name, and what it may do.
///
/// The owner and the organization are the actor's, and stand nowhere here.
///
/// ```
/// use tower_api_key::manage::NewKey;
///
/// let key = NewKey::service_account("nightly build").grant("links", "create").environment("live");
/// ```
#[derive(Clone, Debug)]
#[must_use = "describes a key; KeyManager::issue makes it"]
pub struct NewKey {
    pub(super) is_bot: bool,
    pub(super) name: String,
    pub(super) permissions: Permissions,
    pub(super) environment: Option<String>,
    pub(super) not_before: Option<SystemTime>,
    pub(super) expires_at: Option<SystemTime>,
    pub(super) metadata: Vec<(String, String)>,
}

/// What is to be changed about a key. What is not named stays as it is.
///
/// ```
/// use tower_api_key::{Permissions, manage::UpdateKey};
///
/// let edit = UpdateKey::new().name("reports").permissions(Permissions::new().grant("stats", "read"));
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "describes a change; KeyManager::edit makes it"]
pub struct UpdateKey {
    pub(super) name: Option<String>,
    pub(super) permissions: Option<Permissions>,
    pub(super) enabled: Option<bool>,
}

/// How a key is replaced while the old one goes on for a while.
///
/// ```
/// use std::time::Duration;
/// use tower_api_key::manage::Rotation;
///
/// let a_day_for_both = Rotation::grace_period(Duration::from_secs(86_400));
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use = "describes a rotation; KeyManager::rotate does it"]
pub struct Rotation {
    pub(super) grace: Duration,
    pub(super) expires_at: Option<SystemTime>,
}

/// A key that has just been made: the one answer with its plain text.
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

// === impl NewKey, Edit, Rotation, Issued ===

impl NewKey {
    /// A key of the actor's own user. It goes when the user goes.
    pub fn user(name: impl Into<String>) -> Self {
        Self {
            is_bot: false,
            name: name.into(),
            permissions: Permissions::new(),
            environment: None,
            not_before: None,
            expires_at: None,
            metadata: Vec::new(),
        }
    }

    /// A key of the actor's organization. It outlives every member.
    pub fn service_account(name: impl Into<String>) -> Self {
        Self { is_bot: true, ..Self::user(name) }
    }

    /// Grants `action` on `resource` besides what is granted already.
    pub fn grant(mut self, resource: impl Into<String>, action: impl Into<Action>) -> Self {
        self.permissions = self.permissions.grant(resource, action);
        self
    }

    /// Replaces what is granted.
    pub fn permissions(mut self, permissions: Permissions) -> Self {
        self.permissions = permissions;
        self
    }

    /// For this environment, in the format that the manager has for it. Otherwise for the actor's own, if it is confined to one.
    pub fn environment(mut self, environment: impl Into<String>) -> Self {
        self.environment = Some(environment.into());
        self
    }

    /// Refused before this instant.
    pub fn not_before(mut self, instant: SystemTime) -> Self {
        self.not_before = Some(instant);
        self
    }

    /// Refused from this instant on. Otherwise when the actor's key expires, if that does.
    pub fn expires_at(mut self, instant: SystemTime) -> Self {
        self.expires_at = Some(instant);
        self
    }

    /// Keeps a text under a name.
    pub fn metadata(mut self, name: impl Into<String>, text: impl Into<String>) -> Self {
        self.metadata.push((name.into(), text.into()));
        self
    }
}

impl UpdateKey {
    /// Changes nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether it switches a key off, and nothing else.
    pub(super) fn only_disables(&self) -> bool {
        self.enabled == Some(false) && self.name.is_none() && self.permissions.is_none()
    }

    /// Gives the key another name.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Replaces what is granted.
    pub fn permissions(mut self, permissions: Permissions) -> Self {
        self.permissions = Some(permissions);
        self
    }

    /// Switches the key on or off.
    pub fn enabled(mut self, enabled: bool) -> Self {
        self.enabled = Some(enabled);
        self
    }
}

impl Rotation {
    /// Both keys work for this long; the old one may stop earlier, by its own expiry or the actor's. The new one expires when the old one
    /// would have, or when the actor's key does if that comes first.
    pub fn grace_period(grace: Duration) -> Self {
        Self { grace, expires_at: None }
    }

    /// Gives the new key an expiry of its own.
    pub fn expires_at(mut self, instant: SystemTime) -> Self {
        self.expires_at = Some(instant);
        self
    }
}

impl Issued {
    /// The plain text. It is kept nowhere else: show it once.
    pub fn key(&self) -> &ApiKey {
        &self.key
    }

    /// What the store keeps of it.
    pub fn record(&self) -> &KeyRecord {
        &self.record
    }
}
