//! What a store keeps of a key: everything but the key.

mod identity;
mod making;
mod reading;
mod verify;

use std::{collections::BTreeMap, fmt, sync::Arc, time::SystemTime};

use http::Extensions;

pub use identity::{KeyId, Owner, Status};
pub(crate) use verify::{Bounds, Verified};

use crate::{
    key::{ApiKey, KeyDigest, KeyHasher, Mask},
    permission::Permissions,
};

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
///     .with(Plan("pro"));
///
/// assert_eq!(record.id().as_str(), "42");
/// assert_eq!(record.get::<Plan>().map(|plan| plan.0), Some("pro"));
/// ```
#[derive(Clone)]
pub struct KeyRecord(Arc<Fields>);

#[derive(Clone)]
struct Fields {
    digest: KeyDigest,
    status: Status,
    not_before: Option<SystemTime>,
    expires_at: Option<SystemTime>,
    organization: Option<Box<str>>,
    environment: Option<Box<str>>,
    permissions: Permissions,
    id: KeyId,
    owner: Option<Owner>,
    name: Option<Box<str>>,
    mask: Option<Box<str>>,
    created_at: Option<SystemTime>,
    replaces: Option<KeyId>,
    replaced_by: Option<KeyId>,
    version: u64,
    last_used_at: Option<SystemTime>,
    use_count: u64,
    metadata: BTreeMap<String, String>,
    values: Extensions,
}

// === impl KeyRecord ===

impl KeyRecord {
    /// A record of the key that is stored under `digest`. It is active, and may do nothing.
    pub fn new(id: impl Into<KeyId>, digest: impl Into<KeyDigest>) -> Self {
        Self(Arc::new(Fields {
            digest: digest.into(),
            status: Status::Active,
            not_before: None,
            expires_at: None,
            organization: None,
            environment: None,
            permissions: Permissions::new(),
            id: id.into(),
            owner: None,
            name: None,
            mask: None,
            created_at: None,
            replaces: None,
            replaced_by: None,
            version: 0,
            last_used_at: None,
            use_count: 0,
            metadata: BTreeMap::new(),
            values: Extensions::new(),
        }))
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
        Self::new(id, hasher.digest(key)).with_mask(key.mask(Mask::HeadAndTail))
    }

    /// The same for another key: all but what is told of one key alone.
    pub(crate) fn reissued(self, id: KeyId, digest: KeyDigest) -> Self {
        let old = self.id().clone();
        self.with_replaces(old).edit(|fields| {
            fields.id = id;
            fields.digest = digest;
            fields.replaced_by = None;
            fields.version = 0;
            fields.last_used_at = None;
            fields.use_count = 0;
        })
    }

    pub(crate) fn with_digest(self, digest: KeyDigest) -> Self {
        self.edit(|fields| fields.digest = digest)
    }

    fn edit(mut self, change: impl FnOnce(&mut Fields)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }
}

/// Neither the digest nor attached values are shown.
impl fmt::Debug for KeyRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyRecord")
            .field("id", &self.0.id.as_str())
            .field("mask", &self.0.mask)
            .field("name", &self.0.name)
            .field("owner", &self.0.owner)
            .field("organization", &self.0.organization)
            .field("environment", &self.0.environment)
            .field("permissions", &self.0.permissions)
            .field("status", &self.0.status)
            .field("created_at", &self.0.created_at)
            .field("not_before", &self.0.not_before)
            .field("expires_at", &self.0.expires_at)
            .field("replaces", &self.0.replaces)
            .field("replaced_by", &self.0.replaced_by)
            .field("version", &self.0.version)
            .field("last_used_at", &self.0.last_used_at)
            .field("use_count", &self.0.use_count)
            .field("metadata", &self.0.metadata)
            .finish_non_exhaustive()
    }
}
