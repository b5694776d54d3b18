//! The sources of what a key may do now.

use super::KeyManagerBuilder;
use crate::{rights::LiveRights, roles::LiveRoles};

impl KeyManagerBuilder {
    /// Narrows each key to what its owner may do now, in the layers of this manager and for the
    /// actors of its calls: see [`LiveRights`]. An actor that your application has authenticated
    /// without a key has the permissions that you give it.
    ///
    /// ```
    /// use tower_api_key::{KeyManager, KeyRegistry, manage::KeyManagerBuilder};
    /// use tower_api_key::rights::{LiveRights, OwnerRights};
    ///
    /// fn builder(keys: impl KeyRegistry, members: impl OwnerRights) -> KeyManagerBuilder {
    ///     KeyManager::builder(keys).owner_rights(LiveRights::cached(members))
    /// }
    /// ```
    pub fn owner_rights(mut self, rights: LiveRights) -> Self {
        self.sources.rights = Some(rights);
        self
    }

    /// Sets what the roles of keys grant, in the layers of this manager, for the actors of its
    /// calls, and for the keys that they give roles: see [`LiveRoles`]. Without it, the manager
    /// gives no key a role.
    ///
    /// ```
    /// use tower_api_key::{KeyManager, KeyRegistry, manage::KeyManagerBuilder};
    /// use tower_api_key::roles::{LiveRoles, RolePermissions};
    ///
    /// fn builder(keys: impl KeyRegistry, roles: impl RolePermissions) -> KeyManagerBuilder {
    ///     KeyManager::builder(keys).roles(LiveRoles::cached(roles))
    /// }
    /// ```
    pub fn roles(mut self, roles: LiveRoles) -> Self {
        self.sources.roles = Some(roles);
        self
    }
}
