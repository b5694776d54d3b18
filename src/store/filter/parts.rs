//! The kind of owner and the times of a filter.

use std::time::SystemTime;

use crate::record::Owner;

/// The kind of owner.
///
/// ```
/// use tower_api_key::{Owner, store::OwnerKind};
///
/// assert_eq!(OwnerKind::from(&Owner::ServiceAccount), OwnerKind::ServiceAccount);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OwnerKind {
    /// A user.
    User,
    /// A service account of an organization.
    ServiceAccount,
}

/// A range of times: at `from` or later, and earlier than `until`. Without both, it admits every
/// key; with one of them, only keys that have such a time.
///
/// ```
/// use std::time::SystemTime;
/// use tower_api_key::store::KeyFilter;
///
/// let filter = KeyFilter::default().expires_before(SystemTime::UNIX_EPOCH);
/// assert_eq!(filter.expires.until, Some(SystemTime::UNIX_EPOCH));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TimeRange {
    /// The earliest time.
    pub from: Option<SystemTime>,
    /// The first time after the range.
    pub until: Option<SystemTime>,
}

// === impl OwnerKind, TimeRange ===

impl OwnerKind {
    /// Returns the kind as a database stores it: `user` or `bot`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::ServiceAccount => "bot",
        }
    }
}

impl From<&Owner> for OwnerKind {
    fn from(owner: &Owner) -> Self {
        match owner {
            Owner::User(_) => Self::User,
            Owner::ServiceAccount => Self::ServiceAccount,
        }
    }
}

impl TimeRange {
    /// Returns whether a time is in the range.
    pub(crate) fn admits(&self, time: Option<SystemTime>) -> bool {
        match time {
            Some(time) => self.from.is_none_or(|from| time >= from) && self.until.is_none_or(|until| time < until),
            None => self.from.is_none() && self.until.is_none(),
        }
    }
}
