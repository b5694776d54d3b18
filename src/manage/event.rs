//! Events: one for each change of a key, after it is durable.

use std::{fmt, sync::Arc, time::SystemTime};

use super::Actor;
use crate::record::KeyId;

/// A change of one key. Every hook receives it once, after the change is durable.
///
/// It never contains the plain text of a key. Register a hook with
/// [`KeyManagerBuilder::on_event`](super::KeyManagerBuilder::on_event).
///
/// ```
/// use tower_api_key::{KeyFormat, KeyManager, store::MemoryStore};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let manager = KeyManager::builder(MemoryStore::new())
///     .format(KeyFormat::new("acme")?)
///     .on_event(|event| {
///         let (kind, id, version) = (event.kind(), event.key_id(), event.version());
///         eprintln!("{:?}: key {id} was {kind}, version {version}", event.at());
///         if let Some(new) = event.replacement() {
///             eprintln!("key {id} was replaced by {new} of {:?}", event.actor().owner());
///         }
///     })
///     .build()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct KeyEvent {
    pub(super) kind: KeyEventKind,
    pub(super) key_id: KeyId,
    pub(super) version: u64,
    pub(super) replacement: Option<KeyId>,
    pub(super) actor: Actor,
    pub(super) at: SystemTime,
}

/// The kind of a [`KeyEvent`].
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
    /// The name or the permissions were changed.
    Edited,
    /// The key was disabled.
    Disabled,
    /// The key was enabled.
    Enabled,
    /// The key was revoked.
    Revoked,
    /// The key was deleted with its record.
    Removed,
}

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
        }
    }
}

impl fmt::Display for KeyEventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

pub(super) type Hook = Arc<dyn Fn(&KeyEvent) + Send + Sync>;

impl KeyEvent {
    /// Returns the kind of the change.
    pub fn kind(&self) -> KeyEventKind {
        self.kind
    }

    /// Returns the id of the changed key.
    pub fn key_id(&self) -> &KeyId {
        &self.key_id
    }

    /// Returns the version of the record after the change. Concurrent changes may reach a hook out
    /// of order; the version gives the true order.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Returns the id of the new key, if this one was replaced.
    pub fn replacement(&self) -> Option<&KeyId> {
        self.replacement.as_ref()
    }

    /// Returns the actor that made the change, with its organization.
    pub fn actor(&self) -> &Actor {
        &self.actor
    }

    /// Returns the time of the change.
    pub fn at(&self) -> SystemTime {
        self.at
    }
}
