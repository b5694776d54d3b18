//! The kinds of events.

use std::{fmt, str::FromStr};

use thiserror::Error;

use crate::record::{KeyRecord, Status};

/// The kind of a [`KeyEvent`](super::KeyEvent).
///
/// ```
/// use tower_api_key::manage::{KeyEvent, KeyEventKind};
///
/// fn ends_a_key(event: &KeyEvent) -> bool {
///     use KeyEventKind::{Leaked, Regenerated, Removed, Revoked};
///     // A leaked key may also have been disabled, or only reported: see the changes of the event.
///     matches!(event.kind(), Revoked | Removed | Regenerated | Leaked)
/// }
///
/// assert_eq!(KeyEventKind::Revoked.as_str(), "revoked"); // for an audit log
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeyEventKind {
    /// The key was issued.
    Issued,
    /// The key was imported from another system.
    Imported,
    /// The key was replaced at once.
    Regenerated,
    /// The key was replaced, and works until the end of its grace period.
    Rotated,
    /// The name, the permissions or another field was changed, but not the status.
    Edited,
    /// The key was disabled.
    Disabled,
    /// The key was enabled.
    Enabled,
    /// The key was revoked.
    Revoked,
    /// The key was deleted with its record.
    Removed,
    /// The digest was changed to that of another pepper; the key is the same.
    Rehashed,
    /// The text of the key was reported as found in public: see
    /// [`KeyManager::report_leak`](crate::KeyManager::report_leak). The changed fields show whether
    /// the key was revoked or disabled for it.
    Leaked,
    /// The key has expired. Its time is when a node noticed it, some seconds after the expiry.
    Expired,
}

/// The error of parsing a text that is not a kind of event.
///
/// ```
/// use tower_api_key::manage::KeyEventKind;
///
/// assert_eq!("revoked".parse(), Ok(KeyEventKind::Revoked));
/// assert!("lost".parse::<KeyEventKind>().is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("not a kind of event: use one such as `issued` or `revoked`")]
pub struct InvalidEventKind;

// === impl KeyEventKind ===

impl KeyEventKind {
    /// Every kind.
    pub(crate) const ALL: [Self; 12] = [
        Self::Issued,
        Self::Imported,
        Self::Regenerated,
        Self::Rotated,
        Self::Edited,
        Self::Disabled,
        Self::Enabled,
        Self::Revoked,
        Self::Removed,
        Self::Rehashed,
        Self::Leaked,
        Self::Expired,
    ];

    /// Returns the kind of an update: a change of the status counts first.
    pub(crate) fn of_update(before: &KeyRecord, after: &KeyRecord) -> Self {
        match after.status() {
            status if status == before.status() => Self::Edited,
            Status::Active => Self::Enabled,
            Status::Disabled => Self::Disabled,
            Status::Revoked => Self::Revoked,
        }
    }

    /// Returns the name of the kind in lower case, such as `issued`. The type's documentation has
    /// an example.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Issued => "issued",
            Self::Imported => "imported",
            Self::Regenerated => "regenerated",
            Self::Rotated => "rotated",
            Self::Edited => "edited",
            Self::Disabled => "disabled",
            Self::Enabled => "enabled",
            Self::Revoked => "revoked",
            Self::Removed => "removed",
            Self::Rehashed => "rehashed",
            Self::Leaked => "leaked",
            Self::Expired => "expired",
        }
    }
}

impl fmt::Display for KeyEventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for KeyEventKind {
    type Err = InvalidEventKind;

    fn from_str(text: &str) -> Result<Self, InvalidEventKind> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or(InvalidEventKind)
    }
}
