//! What a store keeps of a key: everything but the key.

mod fields;
mod getters;
mod identity;
mod setters;
mod thread_cache;
mod verify;

use std::{fmt, sync::Arc};

#[cfg(feature = "admin-api")]
pub(crate) use fields::ColdFields;
pub(crate) use fields::Fields;
pub use identity::{KeyId, Owner, Status};
pub(crate) use thread_cache::{Generation, GenerationCounter, ThreadCache};
#[cfg(feature = "admin-api")]
pub(crate) use verify::Obstacle;
pub(crate) use verify::{LayerBounds, Verified};

use crate::key::{ApiKey, KeyDigest, KeyHasher, Mask};
use thread_cache::Handle;

/// What a store keeps of a key, and what a handler learns of its caller.
///
/// It is one `Arc`, so a clone costs one count. Made by `new` with the digest *that the store holds*, and then by `with_..`:
///
/// ```
/// use tower_api_key::{KeyRecord, Owner};
///
/// #[derive(Clone)]
/// struct Plan(&'static str);
///
/// let record = KeyRecord::new(42, [7; 32])
///     .with_owner(Owner::User("alice".into()))
///     .with_organization("acme")
///     .grant("reports", "read")
///     .with_extension(Plan("pro"));
///
/// assert_eq!(record.id().as_str(), "42");
/// assert_eq!(record.extension::<Plan>().map(|plan| plan.0), Some("pro"));
/// ```
#[derive(Clone)]
pub struct KeyRecord(Handle);

// === impl KeyRecord ===

impl KeyRecord {
    /// A record of the key that is stored under `digest`. It is active, and may do nothing.
    pub fn new(id: impl Into<KeyId>, digest: impl Into<KeyDigest>) -> Self {
        Arc::new(Fields::new(id.into(), digest.into())).into()
    }

    /// A record of this key, hashed as the layer hashes, with its mask.
    ///
    /// ```
    /// use tower_api_key::{KeyFormat, KeyHasher, KeyRecord};
    ///
    /// let key = KeyFormat::new("acme")?.generate()?;
    /// let record = KeyRecord::for_key("k1", &key, &KeyHasher::sha256());
    /// assert_eq!(record.digest(), &KeyHasher::sha256().digest(&key));
    /// # Ok::<(), tower_api_key::key::FormatError>(())
    /// ```
    pub fn for_key(id: impl Into<KeyId>, key: &ApiKey, hasher: &KeyHasher) -> Self {
        Self::new(id, hasher.digest(key)).with_mask(key.mask(Mask::FirstAndLast))
    }

    /// The same for another key: all but what is told of one key alone.
    pub(crate) fn successor(self, id: KeyId, digest: KeyDigest) -> Self {
        let old = self.id().clone();
        self.with_replaces(old).edit(|fields| {
            fields.id = id;
            fields.digest = digest;
            let rare = fields.cold_mut();
            rare.replaced_by = None;
            rare.version = 0;
            rare.last_used_at = None;
            rare.use_count = 0;
        })
    }

    pub(crate) fn with_digest(self, digest: KeyDigest) -> Self {
        self.edit(|fields| fields.digest = digest)
    }

    /// What a store keeps of it: one `Arc`, whoever has handed the record out.
    pub(crate) fn into_fields(self) -> Arc<Fields> {
        self.0.into_fields()
    }

    /// Returns all fields, for code that destructures them without `..` and so handles each.
    #[cfg(feature = "admin-api")]
    pub(crate) fn fields(&self) -> &Fields {
        &self.0
    }

    fn edit(self, change: impl FnOnce(&mut Fields)) -> Self {
        let mut fields = self.into_fields();
        change(Arc::make_mut(&mut fields));
        fields.into()
    }
}

impl From<Arc<Fields>> for KeyRecord {
    fn from(fields: Arc<Fields>) -> Self {
        Self(Handle::Shared(fields))
    }
}

/// Neither the digest nor attached values are shown.
impl fmt::Debug for KeyRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyRecord")
            .field("id", &self.id().as_str())
            .field("mask", &self.mask())
            .field("name", &self.name())
            .field("owner", &self.owner())
            .field("organization", &self.organization())
            .field("environment", &self.environment())
            .field("permissions", &self.permissions())
            .field("status", &self.status())
            .field("created_at", &self.created_at())
            .field("not_before", &self.not_before())
            .field("expires_at", &self.expires_at())
            .field("replaces", &self.replaces())
            .field("replaced_by", &self.replaced_by())
            .field("version", &self.version())
            .field("last_used_at", &self.last_used_at())
            .field("use_count", &self.use_count())
            .field("metadata", &self.metadata())
            .finish_non_exhaustive()
    }
}
