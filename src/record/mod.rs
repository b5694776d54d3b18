//! The record of a key: everything that a store keeps. It never contains the plain text of the key.

mod expiry_policy;
mod fields;
mod getters;
mod history;
mod identity;
#[cfg(any(feature = "admin-api", feature = "postgres-no-tls", feature = "sqlite"))]
mod limit_number;
mod limiting;
mod roles;
mod setters;
mod thread_cache;
mod verify;

use std::{fmt, sync::Arc, time::SystemTime};

pub use expiry_policy::ExpiryPolicy;
pub(crate) use expiry_policy::{ExpiryPolicies, end_of};
#[cfg(any(feature = "admin-api", feature = "postgres-no-tls", feature = "sqlite"))]
pub(crate) use fields::ColdFields;
pub(crate) use fields::Fields;
#[cfg(any(feature = "postgres-no-tls", feature = "sqlite"))]
pub(crate) use fields::UseTerms;
pub(crate) use history::History;
pub use history::{Author, InvalidAuthor};
pub use identity::{InvalidStatus, KeyId, Owner, Status};
#[cfg(any(feature = "admin-api", feature = "postgres-no-tls", feature = "sqlite"))]
pub(crate) use limit_number::LimitNumber;
#[cfg(any(feature = "admin-api", feature = "postgres-no-tls", feature = "sqlite", feature = "static-files"))]
pub(crate) use limiting::UNLIMITED;
pub(crate) use limiting::{LimitNumbers, Limiting, check_limit_numbers, is_limit_name};
#[cfg(feature = "admin-api")]
pub(crate) use limiting::{MAX_LIMIT_NAME, MAX_LIMIT_NUMBER, MAX_LIMITS};
#[cfg(any(feature = "admin-api", feature = "static-files", feature = "testkit"))]
pub(crate) use roles::MAX_ROLES;
#[cfg(feature = "static-files")]
pub(crate) use roles::is_role_name;
pub(crate) use thread_cache::{Generation, GenerationCounter, LocalRecord, ThreadCache};
pub(crate) use verify::{LayerBounds, Matched, Obstacle, Validity, Verified, end_under};

use crate::key::{ApiKey, KeyDigest, KeyHasher, Mask};
use thread_cache::Handle;

/// The record of a key. A store keeps it, and a handler gets it as the description of its caller.
///
/// Build one with [`KeyRecord::new`] and the `with_..` methods. A [`KeyStore`](crate::KeyStore)
/// sets the digest *that it has stored*, not the digest from the lookup. The layer compares the
/// stored digest with that of the presented key. A clone is cheap: it shares the content through
/// one `Arc`.
///
/// Two records are equal if all their fields are equal. Values that you attach with
/// [`KeyRecord::with_extension`] are not compared, since a value of any type may lack equality.
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
    /// Returns a record of the key that is stored under `digest`. It is active and has no
    /// permissions.
    ///
    /// ```
    /// use tower_api_key::{KeyRecord, Status};
    ///
    /// let record = KeyRecord::new("k1", [7; 32]);
    /// assert_eq!(record.status(), Status::Active);
    /// assert!(record.permissions().is_empty());
    /// ```
    pub fn new(id: impl Into<KeyId>, digest: impl Into<KeyDigest>) -> Self {
        Arc::new(Fields::new(id.into(), digest.into())).into()
    }

    /// Returns a record of `key`, with its mask. Pass the hasher that the layer uses.
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

    /// Returns the record of a new key that replaces this one. The new key inherits the settings of
    /// this key, but not its version and usage.
    pub(crate) fn successor(self, id: KeyId, digest: KeyDigest) -> Self {
        self.edit(|fields| fields.succeed(id, digest))
    }

    pub(crate) fn with_id(self, id: KeyId) -> Self {
        self.edit(|fields| fields.id = id)
    }

    pub(crate) fn with_digest(self, digest: KeyDigest) -> Self {
        self.edit(|fields| fields.digest = digest)
    }

    /// Returns the shared content, as a store keeps it.
    pub(crate) fn into_fields(self) -> Arc<Fields> {
        self.0.into_fields()
    }

    /// Returns this record without what is true of one request only, to store it.
    pub(crate) fn without_request_state(self) -> Self {
        if self.is_blocked_by_owner() || self.token_ends_at().is_some() {
            return self.edit(|fields| {
                fields.change_terms(|terms| (terms.is_blocked_by_owner, terms.token_ends_at) = (false, None));
            });
        }
        self
    }

    fn is_blocked_by_owner(&self) -> bool {
        self.0.terms().is_some_and(|terms| terms.is_blocked_by_owner)
    }

    /// Returns when the token ends that a request has presented in place of the key.
    pub(crate) fn token_ends_at(&self) -> Option<SystemTime> {
        self.0.terms()?.token_ends_at
    }

    #[inline]
    pub(crate) fn shared_fields(&self) -> &Arc<Fields> {
        self.0.shared()
    }

    /// Returns this record as one that its owner's rights do not let in.
    pub(crate) fn blocked_by_owner(self) -> Self {
        self.edit(|fields| fields.change_terms(|terms| terms.is_blocked_by_owner = true))
    }

    /// Returns all fields. Destructure them without `..`, so that your code handles every field.
    #[cfg(any(feature = "admin-api", feature = "postgres-no-tls", feature = "sqlite"))]
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

/// Compares all fields except the attached values.
impl PartialEq for KeyRecord {
    fn eq(&self, other: &Self) -> bool {
        *self.0 == *other.0
    }
}

impl Eq for KeyRecord {}

/// Shows neither the digest nor the attached values.
impl fmt::Debug for KeyRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}
