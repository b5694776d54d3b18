//! Returns the fields of a record.

use std::{collections::BTreeMap, time::SystemTime};

use super::{Author, KeyId, KeyRecord, Owner, Status};
use crate::{
    address::{AddressList, Network},
    key::KeyDigest,
    permission::Permissions,
};

impl KeyRecord {
    /// Returns the public id of the key.
    pub fn id(&self) -> &KeyId {
        &self.0.id
    }

    /// Returns the digest under which the store keeps the key.
    pub fn digest(&self) -> &KeyDigest {
        &self.0.digest
    }

    /// Returns the part of the key that may be shown, see [`Mask`](crate::Mask).
    pub fn mask(&self) -> Option<&str> {
        self.0.cold()?.mask.as_deref()
    }

    /// Returns the name of the key, a label for people.
    pub fn name(&self) -> Option<&str> {
        self.0.cold()?.name.as_deref()
    }

    /// Returns the owner of the key.
    pub fn owner(&self) -> Option<&Owner> {
        self.0.cold()?.owner.as_ref()
    }

    /// Returns the organization that the key belongs to.
    pub fn organization(&self) -> Option<&str> {
        self.0.organization.as_deref()
    }

    /// Returns the environment that the key is for.
    pub fn environment(&self) -> Option<&str> {
        self.0.cold()?.environment.as_deref()
    }

    /// Returns the permissions of the key.
    pub fn permissions(&self) -> &Permissions {
        &self.0.permissions
    }

    /// Returns whether the key is active, disabled or revoked. Times are separate fields.
    pub fn status(&self) -> Status {
        self.0.status
    }

    /// Returns when the key was issued.
    pub fn created_at(&self) -> Option<SystemTime> {
        self.0.cold()?.created_at
    }

    /// Returns the first instant at which the key is accepted.
    pub fn not_before(&self) -> Option<SystemTime> {
        self.0.cold()?.not_before
    }

    /// Returns the first instant at which the key is rejected as expired.
    pub fn expires_at(&self) -> Option<SystemTime> {
        self.0.cold()?.expires_at
    }

    /// Returns the networks from which the key is accepted. `None` is every address, and an empty
    /// list is none.
    pub fn allowed_addresses(&self) -> Option<&[Network]> {
        self.0.terms()?.allowed_addresses.as_ref().map(AddressList::networks)
    }

    /// Returns the id of the key that this key has replaced.
    pub fn replaces(&self) -> Option<&KeyId> {
        self.0.history()?.replaces.as_ref()
    }

    /// Returns the id of the key that has replaced this key.
    pub fn replaced_by(&self) -> Option<&KeyId> {
        self.0.cold()?.replaced_by.as_ref()
    }

    /// Returns the first id of this key's chain of replacements: its own id if it replaced no key.
    /// It never changes, so use it to refer to a key that is rotated.
    ///
    /// ```
    /// use tower_api_key::KeyRecord;
    ///
    /// assert_eq!(KeyRecord::new("k1", [7; 32]).lineage().as_str(), "k1");
    /// assert_eq!(KeyRecord::new("k3", [9; 32]).with_lineage("k1").lineage().as_str(), "k1");
    /// ```
    pub fn lineage(&self) -> &KeyId {
        self.0.history().and_then(|history| history.lineage.as_ref()).unwrap_or(&self.0.id)
    }

    /// Returns who issued or imported the key.
    pub fn created_by(&self) -> Option<&Author> {
        self.0.history()?.created_by.as_ref()
    }

    /// Returns when the record was last changed. Using the key is not a change.
    pub fn updated_at(&self) -> Option<SystemTime> {
        self.0.history()?.updated_at
    }

    /// Returns when the key was revoked.
    pub fn revoked_at(&self) -> Option<SystemTime> {
        self.0.history()?.revoked_at
    }

    /// Returns who revoked the key.
    pub fn revoked_by(&self) -> Option<&Author> {
        self.0.history()?.revoked_by.as_ref()
    }

    /// Returns why the key was disabled, revoked or replaced, in at most 200 characters.
    pub fn reason(&self) -> Option<&str> {
        self.0.history()?.reason.as_deref()
    }

    /// Returns how often the record was changed. Using the key is not a change.
    pub fn version(&self) -> u64 {
        self.0.cold().map_or(0, |cold| cold.version)
    }

    /// Returns when the key was last used. Stores write usage in batches, so it lags behind.
    pub fn last_used_at(&self) -> Option<SystemTime> {
        self.0.cold()?.last_used_at
    }

    /// Returns how often the key was used. Stores write usage in batches, so it lags behind.
    pub fn use_count(&self) -> u64 {
        self.0.cold().map_or(0, |cold| cold.use_count)
    }

    /// Returns the texts that are stored with the key.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        static NONE: BTreeMap<String, String> = BTreeMap::new();
        self.0.cold().map_or(&NONE, |cold| &cold.metadata)
    }

    /// Returns the attached value of this type, see [`KeyRecord::with_extension`].
    pub fn extension<T: Send + Sync + 'static>(&self) -> Option<&T> {
        self.0.cold()?.values.0.get()
    }
}
