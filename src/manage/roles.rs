//! The roles that a change gives to a key: never more than the actor has itself.

use super::{Actor, CALL_TIMEOUT, KeyManager, ManageError, NewKey, UpdateKey, validation::check_no_escalation};
use crate::record::{KeyRecord, MAX_ROLES, is_role_name};

impl NewKey {
    /// Gives the key these roles, by their names: 1 to 64 visible ASCII characters, at most 16
    /// roles. The key may do what its permissions and its roles grant.
    ///
    /// The manager must know the roles: see [`LiveRoles`](crate::roles::LiveRoles). The actor must
    /// have every permission that they grant now.
    ///
    /// ```
    /// use tower_api_key::manage::NewKey;
    ///
    /// let key = NewKey::service_account("nightly build").roles(["publisher"]).grant("stats", "read");
    /// ```
    pub fn roles<R: Into<String>>(mut self, roles: impl IntoIterator<Item = R>) -> Self {
        self.roles = roles.into_iter().map(Into::into).collect();
        self
    }
}

impl UpdateKey {
    /// Replaces all roles: see [`NewKey::roles`].
    ///
    /// ```
    /// use tower_api_key::manage::UpdateKey;
    ///
    /// let only_its_permissions = UpdateKey::new().roles::<String>([]);
    /// ```
    pub fn roles<R: Into<String>>(mut self, roles: impl IntoIterator<Item = R>) -> Self {
        self.roles = Some(roles.into_iter().map(Into::into).collect());
        self
    }
}

impl KeyManager {
    /// Fails if the key and its roles grant something that the actor does not have itself, or a
    /// role does not exist.
    pub(super) async fn check_grants(&self, actor: &Actor, record: &KeyRecord) -> Result<(), ManageError> {
        check_no_escalation(actor, record.permissions())?;
        if record.role_names().is_empty() {
            return Ok(());
        }
        // One by one: a union leaves out what it cannot express, and a role may change later.
        let roles = self.0.sources.roles_of(record, CALL_TIMEOUT).await.map_err(ManageError::Store)?;
        roles.map_err(ManageError::UnknownRole)?.iter().try_for_each(|role| check_no_escalation(actor, role))
    }
}

/// Rejects too many roles and invalid names.
pub(super) fn check_roles(roles: &[String]) -> Result<(), ManageError> {
    let is_good = roles.len() <= MAX_ROLES && roles.iter().all(|role| is_role_name(role));
    if is_good { Ok(()) } else { Err(ManageError::RoleName) }
}
