//! The values that changes take and return.

use std::time::SystemTime;

use crate::record::{KeyRecord, Status};

/// The records that a replacement has changed, besides the new one.
///
/// ```
/// use tower_api_key::{KeyRecord, store::Replacement};
///
/// let old = KeyRecord::new("k1", [7; 32]).with_replaced_by("k2");
/// assert!(Replacement::new(old, None).ended.is_none());
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Replacement {
    /// The replaced record as it is now.
    pub old: KeyRecord,
    /// The record whose grace period has ended: the one that `old` itself has replaced, if it was
    /// not revoked yet.
    pub ended: Option<KeyRecord>,
}

/// The maximum number of keys that an owner may have in an organization.
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use tower_api_key::{KeyRecord, store::KeyLimit};
///
/// let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
/// let limit = KeyLimit { max: 1, at: now };
/// let record = KeyRecord::new("k1", [7; 32]);
/// assert!(limit.counts(&record));
/// assert!(!limit.counts(&record.with_expires_at(now)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyLimit {
    /// The maximum number of keys.
    pub max: u32,
    /// The instant at which they are counted.
    pub at: SystemTime,
}

// === impl Replacement, KeyLimit ===

impl Replacement {
    /// Returns a replacement of `old`, with the record whose grace period has ended.
    pub fn new(old: KeyRecord, ended: Option<KeyRecord>) -> Self {
        Self { old, ended }
    }
}

impl KeyLimit {
    /// Returns whether a key counts. A disabled key counts, and so does a replaced key until its
    /// grace period ends. A revoked or expired key does not.
    ///
    /// If replaced keys did not count, an owner could exceed the limit: replace a key, revoke its
    /// successor, issue another key, and use the replaced key until its grace period ends.
    pub fn counts(&self, record: &KeyRecord) -> bool {
        record.status() != Status::Revoked && record.expires_at().is_none_or(|end| self.at < end)
    }
}
