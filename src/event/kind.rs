//! The kinds of events.

use std::fmt;

/// The kind of a [`KeyEvent`](super::KeyEvent).
///
/// ```
/// use tower_api_key::manage::{KeyEvent, KeyEventKind};
///
/// fn ends_a_key(event: &KeyEvent) -> bool {
///     use KeyEventKind::{Regenerated, Removed, Revoked};
///     matches!(event.kind(), Revoked | Removed | Regenerated)
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
}

// === impl KeyEventKind ===

impl KeyEventKind {
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
        }
    }
}

impl fmt::Display for KeyEventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
