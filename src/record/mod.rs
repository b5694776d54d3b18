//! What a store keeps of a key: everything but the key.

mod identity;
mod verify;

use std::{collections::BTreeMap, fmt, sync::Arc, time::SystemTime};

use http::Extensions;

pub use identity::{KeyId, Owner, Status};
pub(crate) use verify::{Bounds, Verified};

use crate::{
    key::{ApiKey, KeyDigest, KeyHasher, Mask},
    permission::{Action, Permissions},
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

// === impl KeyRecord: making ===

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

    /// Grants `action` on `resource` besides what is granted already.
    #[must_use]
    pub fn grant(self, resource: impl Into<String>, action: impl Into<Action>) -> Self {
        self.edit(|fields| {
            fields.permissions = std::mem::take(&mut fields.permissions).grant(resource, action);
        })
    }

    /// Replaces what is granted.
    #[must_use]
    pub fn with_permissions(self, permissions: Permissions) -> Self {
        self.edit(|fields| fields.permissions = permissions)
    }

    /// Says whose key it is.
    #[must_use]
    pub fn with_owner(self, owner: Owner) -> Self {
        self.edit(|fields| fields.owner = Some(owner))
    }

    /// Says to which organization the key belongs.
    #[must_use]
    pub fn with_organization(self, organization: impl Into<String>) -> Self {
        self.edit(|fields| fields.organization = Some(organization.into().into()))
    }

    /// Says for which environment the key is: `live`, `test`.
    #[must_use]
    pub fn with_environment(self, environment: impl Into<String>) -> Self {
        self.edit(|fields| fields.environment = Some(environment.into().into()))
    }

    /// Gives the key a name, for people.
    #[must_use]
    pub fn with_name(self, name: impl Into<String>) -> Self {
        self.edit(|fields| fields.name = Some(name.into().into()))
    }

    /// Keeps what may be shown of the key, see [`Mask`].
    #[must_use]
    pub fn with_mask(self, mask: impl Into<String>) -> Self {
        self.edit(|fields| fields.mask = Some(mask.into().into()))
    }

    /// Switches the key off or on.
    #[must_use]
    pub fn with_status(self, status: Status) -> Self {
        self.edit(|fields| fields.status = status)
    }

    /// Says when the key was made.
    #[must_use]
    pub fn with_created_at(self, instant: SystemTime) -> Self {
        self.edit(|fields| fields.created_at = Some(instant))
    }

    /// Refuses the key before this instant; `None` takes that back.
    #[must_use]
    pub fn with_not_before(self, instant: impl Into<Option<SystemTime>>) -> Self {
        self.edit(|fields| fields.not_before = instant.into())
    }

    /// Refuses the key from this instant on; `None` takes that back, and the key does not expire.
    #[must_use]
    pub fn with_expires_at(self, instant: impl Into<Option<SystemTime>>) -> Self {
        self.edit(|fields| fields.expires_at = instant.into())
    }

    /// Names the key whose place this one has taken.
    #[must_use]
    pub fn with_replaces(self, old: impl Into<KeyId>) -> Self {
        self.edit(|fields| fields.replaces = Some(old.into()))
    }

    /// Names the key that has taken this one's place. Until it expires, this one is in grace.
    #[must_use]
    pub fn with_replaced_by(self, new: impl Into<KeyId>) -> Self {
        self.edit(|fields| fields.replaced_by = Some(new.into()))
    }

    /// Says how often the record was changed, see [`KeyRegistry::update`](crate::KeyRegistry::update).
    #[must_use]
    pub fn with_version(self, version: u64) -> Self {
        self.edit(|fields| fields.version = version)
    }

    /// Says how often the key was used, and when last.
    #[must_use]
    pub fn with_use(self, count: u64, last_used_at: impl Into<Option<SystemTime>>) -> Self {
        self.edit(|fields| {
            fields.use_count = count;
            fields.last_used_at = last_used_at.into();
        })
    }

    /// Keeps a text under a name.
    #[must_use]
    pub fn with_metadata(self, name: impl Into<String>, text: impl Into<String>) -> Self {
        self.edit(|fields| {
            fields.metadata.insert(name.into(), text.into());
        })
    }

    /// Attaches a value, which a handler gets back by its type: `key.get::<Plan>()`.
    #[must_use]
    pub fn with<T: Clone + Send + Sync + 'static>(self, value: T) -> Self {
        self.edit(|fields| {
            fields.values.insert(value);
        })
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

    fn edit(mut self, change: impl FnOnce(&mut Fields)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }
}

// === impl KeyRecord: reading ===

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
        self.0.mask.as_deref()
    }

    /// The name of the key, for people.
    pub fn name(&self) -> Option<&str> {
        self.0.name.as_deref()
    }

    /// Whose key it is.
    pub fn owner(&self) -> Option<&Owner> {
        self.0.owner.as_ref()
    }

    /// The organization that the key belongs to.
    pub fn organization(&self) -> Option<&str> {
        self.0.organization.as_deref()
    }

    /// The environment that the key is for.
    pub fn environment(&self) -> Option<&str> {
        self.0.environment.as_deref()
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
        self.0.created_at
    }

    /// The first instant at which the key works.
    pub fn not_before(&self) -> Option<SystemTime> {
        self.0.not_before
    }

    /// The first instant at which the key works no more.
    pub fn expires_at(&self) -> Option<SystemTime> {
        self.0.expires_at
    }

    /// The key whose place this one has taken.
    pub fn replaces(&self) -> Option<&KeyId> {
        self.0.replaces.as_ref()
    }

    /// The key that has taken this one's place.
    pub fn replaced_by(&self) -> Option<&KeyId> {
        self.0.replaced_by.as_ref()
    }

    /// How often the record was changed. Its use is no change.
    pub fn version(&self) -> u64 {
        self.0.version
    }

    /// When the key was last used, as far as the store knows: uses are written in batches.
    pub fn last_used_at(&self) -> Option<SystemTime> {
        self.0.last_used_at
    }

    /// How often the key was used, as far as the store knows.
    pub fn use_count(&self) -> u64 {
        self.0.use_count
    }

    /// The texts that were kept with the key.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.0.metadata
    }

    /// The attached value of this type.
    pub fn get<T: Send + Sync + 'static>(&self) -> Option<&T> {
        self.0.values.get()
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
