//! The setting of the owners' rights.

use super::ApiKeyLayerBuilder;
use crate::rights::LiveRights;

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
        self.owner_rights = Some(rights);
        self
    }
}
