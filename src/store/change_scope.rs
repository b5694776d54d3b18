//! The scope of a change: its kind, the locks that it needs, and the keys that it counts.

use std::time::SystemTime;

use super::KeyLimit;
use crate::record::{KeyRecord, Owner};

/// The kind of a change, and the owner that it needs a lock for.
///
/// ```
/// use tower_api_key::{KeyRecord, store::{ChangeKind, ChangeScope, OwnerScope}};
///
/// let record = KeyRecord::new("k1", [7; 32]).with_organization("acme");
/// let scope = ChangeScope::new(ChangeKind::Add).with_owner(OwnerScope::of(&record));
/// assert_eq!(scope.owner.and_then(|owner| owner.organization), Some("acme"));
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ChangeScope<'c> {
    /// What the change does.
    pub kind: ChangeKind<'c>,
    /// If the change adds a key, the owner of that key. If it removes all keys of an owner, that
    /// owner. Two transactions with the same owner must not overlap. Row locks are not enough,
    /// since they do not prevent new rows.
    pub owner: Option<OwnerScope<'c>>,
}

/// How a change affects access. A store can use it to give each kind a queue of its own, or to
/// reserve disk space for revocations.
///
/// ```
/// use tower_api_key::store::ChangeKind;
///
/// /// Whether a change may wait behind others.
/// fn may_wait(kind: ChangeKind<'_>) -> bool {
///     !matches!(kind, ChangeKind::Revoke)
/// }
/// assert!(may_wait(ChangeKind::Add) && !may_wait(ChangeKind::Revoke));
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum ChangeKind<'c> {
    /// Adds the first key. Two transactions of this kind must not overlap.
    AddFirst,
    /// Adds a key.
    Add,
    /// Updates a key to this record.
    Update(&'c KeyRecord),
    /// Takes access away: it revokes, disables or removes keys.
    Revoke,
    /// Changes the digest or the use counts of keys. Access does not change.
    Maintain,
}

/// An owner in an organization: the keys with exactly these two values.
///
/// ```
/// use tower_api_key::{KeyRecord, Owner, store::OwnerScope};
///
/// let record = KeyRecord::new("k1", [7; 32]).with_owner(Owner::ServiceAccount);
/// assert_eq!(OwnerScope::of(&record).owner, Some(&Owner::ServiceAccount));
/// assert!(OwnerScope::of(&record).contains(&record));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OwnerScope<'o> {
    /// The organization; `None` means the keys without one.
    pub organization: Option<&'o str>,
    /// The owner; `None` means the keys without one.
    pub owner: Option<&'o Owner>,
}

/// The records that [`RegistryTransaction::count`](super::RegistryTransaction::count) counts.
///
/// ```
/// use tower_api_key::store::{ChangeKind, ChangeScope, CountedKeys, MemoryStore, RegistryTransaction, TransactionalStore};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = MemoryStore::new();
/// let mut transaction = store.begin(ChangeScope::new(ChangeKind::AddFirst)).await?;
/// assert_eq!(transaction.count(CountedKeys::All, 1).await?, 0);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub enum CountedKeys<'c> {
    /// Every record.
    All,
    /// The records of this owner that count at this instant: neither revoked nor expired. See
    /// [`KeyLimit::counts`].
    OfOwner(OwnerScope<'c>, SystemTime),
}

// === impl ChangeScope, OwnerScope, CountedKeys ===

impl<'c> ChangeScope<'c> {
    /// Returns the scope of a change that locks only its records.
    pub fn new(kind: ChangeKind<'c>) -> Self {
        Self { kind, owner: None }
    }

    /// Sets the owner.
    #[must_use]
    pub fn with_owner(self, owner: OwnerScope<'c>) -> Self {
        Self { owner: Some(owner), ..self }
    }
}

impl<'o> OwnerScope<'o> {
    /// Returns the owner of this record.
    pub fn of(record: &'o KeyRecord) -> Self {
        Self { organization: record.organization(), owner: record.owner() }
    }

    /// Returns whether this record has this owner.
    pub fn contains(&self, record: &KeyRecord) -> bool {
        *self == OwnerScope::of(record)
    }
}

impl CountedKeys<'_> {
    /// Returns whether this record is counted.
    ///
    /// ```
    /// use tower_api_key::{KeyRecord, store::CountedKeys};
    ///
    /// assert!(CountedKeys::All.contains(&KeyRecord::new("k1", [7; 32])));
    /// ```
    pub fn contains(&self, record: &KeyRecord) -> bool {
        match self {
            Self::All => true,
            Self::OfOwner(owner, at) => owner.contains(record) && KeyLimit { max: 0, at: *at }.counts(record),
        }
    }
}
