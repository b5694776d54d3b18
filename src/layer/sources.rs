//! The sources of what a key may do now.

use super::ApiKeyLayerBuilder;
use crate::{live::Sources, rights::LiveRights, roles::LiveRoles};

impl ApiKeyLayerBuilder {
    /// Narrows each key to what its owner may do now. [`LiveRights`] has an example, and what
    /// happens if the owner is blocked or the source fails.
    ///
    /// The permissions of the [`Principal`](crate::Principal), of its record and of every guard are
    /// then those that the key has *and* its owner has. The record that the store keeps does not
    /// change.
    ///
    /// A lookup that waits for the source has the [`deadline`](Self::deadline) of the store, and
    /// needs a tokio runtime.
    pub fn owner_rights(mut self, rights: LiveRights) -> Self {
        self.sources.rights = Some(rights);
        self
    }

    /// Adds what the roles of a key grant now to its own permissions. [`LiveRoles`] has an example,
    /// and what happens if a role does not exist or the source fails.
    ///
    /// The [`Principal`](crate::Principal), its record and every guard then see the union. The
    /// record that the store keeps does not change. Without this setting, roles grant nothing.
    ///
    /// A lookup that waits for the source has the [`deadline`](Self::deadline) of the store, and
    /// needs a tokio runtime.
    pub fn roles(mut self, roles: LiveRoles) -> Self {
        self.sources.roles = Some(roles);
        self
    }

    pub(crate) fn sources(self, sources: Sources) -> Self {
        Self { sources, ..self }
    }
}
