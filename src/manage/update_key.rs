//! The change of a key that an edit makes.

use std::{collections::BTreeMap, time::SystemTime};

use super::{addresses::AddressEdit, limiting::LimitEdits};
use crate::{permission::Permissions, record::KeyRecord};

/// Describes a change of a key for [`KeyManager::edit`](crate::KeyManager::edit). Fields that you
/// do not set stay as they are.
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use tower_api_key::{Permissions, manage::UpdateKey};
///
/// let permissions = Permissions::new().grant("stats", "read");
/// let edit = UpdateKey::new()
///     .name("reports")
///     .permissions(permissions)
///     .enabled(true)
///     .expires_at(SystemTime::now() + Duration::from_secs(86_400))
///     .not_before(None)
///     .metadata("plan", "pro")
///     .remove_metadata("trial")
///     .at_version(3);
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "it only describes a change: pass it to KeyManager::edit"]
pub struct UpdateKey {
    pub(super) name: Option<String>,
    pub(super) permissions: Option<Permissions>,
    pub(super) roles: Option<Vec<String>>,
    pub(super) enabled: Option<bool>,
    pub(super) expires_at: Option<TimeEdit>,
    pub(super) not_before: Option<TimeEdit>,
    pub(super) clears_metadata: bool,
    /// The texts to set, and the names to remove (`None`).
    pub(super) metadata: BTreeMap<String, Option<String>>,
    pub(super) addresses: Option<AddressEdit>,
    pub(super) limits: LimitEdits,
    pub(super) version: Option<u64>,
}

/// The new value of a time. `None` removes it.
#[derive(Clone, Copy, Debug)]
pub(super) struct TimeEdit(pub(super) Option<SystemTime>);

// === impl UpdateKey ===

impl UpdateKey {
    /// Describes no change yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the name.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Replaces all permissions.
    pub fn permissions(mut self, permissions: Permissions) -> Self {
        self.permissions = Some(permissions);
        self
    }

    /// Enables or disables the key.
    pub fn enabled(mut self, enabled: bool) -> Self {
        self.enabled = Some(enabled);
        self
    }

    /// Rejects the key from this instant on. With `None` it never expires.
    ///
    /// The expiry of a replaced key can become sooner, but not later: a grace period never grows.
    ///
    /// ```
    /// use tower_api_key::manage::UpdateKey;
    ///
    /// let forever = UpdateKey::new().expires_at(None);
    /// ```
    pub fn expires_at(mut self, instant: impl Into<Option<SystemTime>>) -> Self {
        self.expires_at = Some(TimeEdit(instant.into()));
        self
    }

    /// Rejects the key before this instant. `None` removes the bound.
    pub fn not_before(mut self, instant: impl Into<Option<SystemTime>>) -> Self {
        self.not_before = Some(TimeEdit(instant.into()));
        self
    }

    /// Sets the metadata text with this name. The other texts stay.
    ///
    /// ```
    /// use tower_api_key::manage::UpdateKey;
    ///
    /// let edit = UpdateKey::new().metadata("plan", "pro").remove_metadata("trial");
    /// let only_the_plan = UpdateKey::new().clear_metadata().metadata("plan", "pro");
    /// ```
    pub fn metadata(mut self, name: impl Into<String>, text: impl Into<String>) -> Self {
        self.metadata.insert(name.into(), Some(text.into()));
        self
    }

    /// Removes the metadata text with this name, if there is one.
    pub fn remove_metadata(mut self, name: impl Into<String>) -> Self {
        self.metadata.insert(name.into(), None);
        self
    }

    /// Removes all metadata, also that of earlier calls of [`metadata`](Self::metadata).
    pub fn clear_metadata(mut self) -> Self {
        self.clears_metadata = true;
        self.metadata.clear();
        self
    }

    /// Changes the key only if its record has this version. For any other version, the edit fails
    /// with [`ManageError::VersionMismatch`](super::ManageError::VersionMismatch).
    ///
    /// Without it, the last of two concurrent edits of a field wins.
    ///
    /// ```
    /// use tower_api_key::{KeyManager, KeyRecord, manage::{Actor, ManageError, UpdateKey}};
    ///
    /// async fn rename(manager: &KeyManager, admin: &Actor, shown: &KeyRecord) -> Result<(), ManageError> {
    ///     let edit = UpdateKey::new().name("reports").at_version(shown.version());
    ///     manager.edit(admin, shown.id().clone(), edit).await?;
    ///     Ok(())
    /// }
    /// ```
    pub fn at_version(mut self, version: u64) -> Self {
        self.version = Some(version);
        self
    }

    /// Returns whether the only change is to disable the key.
    pub(super) fn only_disables(&self) -> bool {
        self.enabled == Some(false) && self.only_switches()
    }

    /// Returns whether the edit sets nothing but the status.
    pub(super) fn only_switches(&self) -> bool {
        self.name.is_none()
            && self.permissions.is_none()
            && self.roles.is_none()
            && self.expires_at.is_none()
            && self.not_before.is_none()
            && !self.edits_metadata()
            && self.addresses.is_none()
            && self.limits.is_empty()
    }

    pub(super) fn edits_metadata(&self) -> bool {
        self.clears_metadata || !self.metadata.is_empty()
    }

    /// Returns whether the edit can only take access away, apart from its times, its addresses and
    /// its limits.
    pub(super) fn only_takes_away(&self) -> bool {
        self.name.is_none()
            && self.permissions.is_none()
            && self.roles.is_none()
            && !self.edits_metadata()
            && self.enabled != Some(true)
    }

    /// Returns the metadata of this record after the edit.
    pub(super) fn edited_metadata(&self, record: &KeyRecord) -> BTreeMap<String, String> {
        let mut metadata = if self.clears_metadata { BTreeMap::new() } else { record.metadata().clone() };
        for (name, text) in &self.metadata {
            match text {
                Some(text) => drop(metadata.insert(name.clone(), text.clone())),
                None => drop(metadata.remove(name)),
            }
        }
        metadata
    }
}
