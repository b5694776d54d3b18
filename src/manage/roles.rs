//! The roles that a change gives to a key.

use super::{NewKey, UpdateKey};

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
