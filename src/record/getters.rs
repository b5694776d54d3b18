//! What a record tells.

use std::{collections::BTreeMap, time::SystemTime};

use super::{KeyId, KeyRecord, Owner, Status};
use crate::{key::KeyDigest, permission::Permissions};

impl KeyRecord {
    /// The public name of the key.
    pub fn id(&self) -> &KeyId {
        &self.0.id
    }

    /// The digest under which the store keeps the key.
    pub fn digest(&self) -> &KeyDigest {
        &self.0.digest
    }

    /// What may be shown of the key.
    pub fn mask(&self) -> Option<&str> {
        self.0.cold()?.mask.as_deref()
    }

    /// The name of the key, for people.
    pub fn name(&self) -> Option<&str> {
        self.0.cold()?.name.as_deref()
    }

    /// Whose key it is.
    pub fn owner(&self) -> Option<&Owner> {
        self.0.cold()?.owner.as_ref()
    }

    /// The organization that the key belongs to.
    pub fn organization(&self) -> Option<&str> {
        self.0.organization.as_deref()
    }

    /// The environment that the key is for.
    pub fn environment(&self) -> Option<&str> {
        self.0.cold()?.environment.as_deref()
    }

    /// What the key may do.
    pub fn permissions(&self) -> &Permissions {
        &self.0.permissions
    }

    /// Whether the key works, times apart.
    pub fn status(&self) -> Status {
        self.0.status
    }

    /// When the key was made.
    pub fn created_at(&self) -> Option<SystemTime> {
        self.0.cold()?.created_at
    }

    /// The first instant at which the key works.
    pub fn not_before(&self) -> Option<SystemTime> {
        self.0.cold()?.not_before
    }

    /// The first instant at which the key works no more.
    pub fn expires_at(&self) -> Option<SystemTime> {
        self.0.cold()?.expires_at
    }

    /// The key whose place this one has taken.
    pub fn replaces(&self) -> Option<&KeyId> {
        self.0.cold()?.replaces.as_ref()
    }

    /// The key that has taken this one's place.
    pub fn replaced_by(&self) -> Option<&KeyId> {
        self.0.cold()?.replaced_by.as_ref()
    }

    /// How often the record was changed. Its use is no change.
    pub fn version(&self) -> u64 {
        self.0.cold().map_or(0, |rare| rare.version)
    }

    /// When the key was last used, as far as the store knows: uses are written in batches.
    pub fn last_used_at(&self) -> Option<SystemTime> {
        self.0.cold()?.last_used_at
    }

    /// How often the key was used, as far as the store knows.
    pub fn use_count(&self) -> u64 {
        self.0.cold().map_or(0, |rare| rare.use_count)
    }

    /// The texts that were kept with the key.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        static NONE: BTreeMap<String, String> = BTreeMap::new();
        self.0.cold().map_or(&NONE, |rare| &rare.metadata)
    }

    /// The attached value of this type.
    pub fn extension<T: Send + Sync + 'static>(&self) -> Option<&T> {
        self.0.cold()?.values.get()
    }
}
