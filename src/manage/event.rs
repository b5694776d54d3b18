//! What has changed, told after it is durable.

use std::{sync::Arc, time::SystemTime};

use super::Actor;
use crate::record::KeyId;

/// One change to one key. Handed to every hook once, after the store has it for good; never with the key itself.
///
/// ```
/// use tower_api_key::{KeyFormat, KeyManager, store::MemoryStore};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let manager = KeyManager::builder(MemoryStore::new())
///     .format(KeyFormat::new("acme")?)
///     .on_event(|change| eprintln!("{:?} {} by {:?}", change.kind(), change.key_id(), change.actor().owner()))
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

/// What was done to a key.
///
/// ```
/// use tower_api_key::manage::{KeyEvent, KeyEventKind};
///
/// fn ends_a_key(change: &KeyEvent) -> bool {
///     matches!(change.kind(), KeyEventKind::Revoked | KeyEventKind::Removed | KeyEventKind::Regenerated)
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeyEventKind {
    /// It was made.
    Issued,
    /// It was taken over from elsewhere.
    Imported,
    /// Another key has taken its place, at once.
    Regenerated,
    /// Another key takes its place, and it goes on for a while.
    Rotated,
    /// Its name or its permissions are others.
    Edited,
    /// It was switched off.
    Disabled,
    /// It was switched on.
    Enabled,
    /// It was switched off for good.
    Revoked,
    /// It was removed, with its record.
    Removed,
}

pub(super) type Hook = Arc<dyn Fn(&KeyEvent) + Send + Sync>;

impl KeyEvent {
    /// What was done.
    pub fn kind(&self) -> KeyEventKind {
        self.kind
    }

    /// To which key.
    pub fn key_id(&self) -> &KeyId {
        &self.key_id
    }

    /// The version of the key's record after the change: hooks may be told of racing changes in another order than that in which they
    /// happened.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The key that takes its place.
    pub fn replacement(&self) -> Option<&KeyId> {
        self.replacement.as_ref()
    }

    /// By whom, in which organization.
    pub fn actor(&self) -> &Actor {
        &self.actor
    }

    /// When.
    pub fn at(&self) -> SystemTime {
        self.at
    }
}
