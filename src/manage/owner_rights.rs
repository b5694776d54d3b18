//! The setting of the owners' rights.

use super::KeyManagerBuilder;
use crate::rights::LiveRights;

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
        self.rights = Some(rights);
        self
    }
}
