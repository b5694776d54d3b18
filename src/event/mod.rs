//! Events: one for each change of a key, written in the transaction of the change.

mod changes;
mod cursor;
mod filter;
mod kind;
mod leak;

use std::{net::IpAddr, time::SystemTime};

pub use changes::{FieldChange, FieldValue, KeyField};
pub use cursor::{EventCursor, InvalidEventCursor};
pub use filter::EventFilter;
pub use kind::{InvalidEventKind, KeyEventKind};
pub use leak::Leak;

use crate::record::{Author, KeyId, KeyRecord};

/// A change of one key: who made it, when, why, and which fields it changed.
///
/// A store writes the event in the transaction of the change. It never contains a key, nor the
/// digest of a key.
///
/// ```
/// use tower_api_key::{KeyFormat, KeyManager, store::MemoryStore};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let manager = KeyManager::builder(MemoryStore::new())
///     .format(KeyFormat::new("acme")?)
///     .on_event(|event| {
///         let (kind, id, version) = (event.kind(), event.key_id(), event.version());
///         eprintln!("{:?}: key {id} was {kind} by {}, version {version}", event.at(), event.author());
///         if let Some(new) = event.replacement() {
///             eprintln!("key {id} was replaced by {new}: {}", event.reason().unwrap_or("no reason"));
///         }
///     })
///     .build()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct KeyEvent {
    kind: KeyEventKind,
    key_id: KeyId,
    version: u64,
    organization: Option<String>,
    environment: Option<String>,
    replacement: Option<KeyId>,
    author: Author,
    at: SystemTime,
    reason: Option<String>,
    request_id: Option<String>,
    address: Option<IpAddr>,
    changes: Vec<FieldChange>,
    leak: Option<Leak>,
    id: Option<String>,
    cursor: Option<EventCursor>,
}

// === impl KeyEvent ===

impl KeyEvent {
    /// Returns an event of this key, without the optional fields. For stores that read their events
    /// back.
    ///
    /// ```
    /// use std::time::SystemTime;
    /// use tower_api_key::{Author, manage::{KeyEvent, KeyEventKind}};
    ///
    /// let event = KeyEvent::new(KeyEventKind::Revoked, "k1", 3, Author::System, SystemTime::UNIX_EPOCH)
    ///     .with_organization("acme".to_owned())
    ///     .with_reason("leaked".to_owned());
    /// assert_eq!((event.organization(), event.reason()), (Some("acme"), Some("leaked")));
    /// ```
    pub fn new(kind: KeyEventKind, key_id: impl Into<KeyId>, version: u64, author: Author, at: SystemTime) -> Self {
        Self {
            kind,
            key_id: key_id.into(),
            version,
            organization: None,
            environment: None,
            replacement: None,
            author,
            at,
            reason: None,
            request_id: None,
            address: None,
            changes: Vec::new(),
            leak: None,
            id: None,
            cursor: None,
        }
    }

    /// Sets the organization of the key.
    #[must_use]
    pub fn with_organization(mut self, organization: impl Into<Option<String>>) -> Self {
        self.organization = organization.into();
        self
    }

    /// Sets the environment of the key.
    #[must_use]
    pub fn with_environment(mut self, environment: impl Into<Option<String>>) -> Self {
        self.environment = environment.into();
        self
    }

    /// Sets the id of the new key, if this one was replaced.
    #[must_use]
    pub fn with_replacement(mut self, replacement: impl Into<Option<KeyId>>) -> Self {
        self.replacement = replacement.into();
        self
    }

    /// Sets why the change was made.
    #[must_use]
    pub fn with_reason(mut self, reason: impl Into<Option<String>>) -> Self {
        self.reason = reason.into();
        self
    }

    /// Sets the id of the request that made the change.
    #[must_use]
    pub fn with_request_id(mut self, id: impl Into<Option<String>>) -> Self {
        self.request_id = id.into();
        self
    }

    /// Sets the address of the caller.
    #[must_use]
    pub fn with_address(mut self, address: impl Into<Option<IpAddr>>) -> Self {
        self.address = address.into();
        self
    }

    /// Sets the changed fields.
    #[must_use]
    pub fn with_changes(mut self, changes: Vec<FieldChange>) -> Self {
        self.changes = changes;
        self
    }

    /// Sets the id and the cursor that a store has given the event.
    ///
    /// ```
    /// use std::time::SystemTime;
    /// use tower_api_key::{Author, manage::{EventCursor, KeyEvent, KeyEventKind}};
    ///
    /// let event = KeyEvent::new(KeyEventKind::Revoked, "k1", 3, Author::System, SystemTime::UNIX_EPOCH)
    ///     .stored("e1".to_owned(), EventCursor::new(7));
    /// assert_eq!((event.id(), event.cursor()), (Some("e1"), Some(EventCursor::new(7))));
    /// ```
    #[must_use]
    pub fn stored(mut self, id: String, cursor: impl Into<Option<EventCursor>>) -> Self {
        self.id = Some(id);
        self.cursor = cursor.into();
        self
    }

    /// Sets the key's fields, from its record before the change and after it.
    pub(crate) fn comparing(self, before: Option<&KeyRecord>, after: Option<&KeyRecord>) -> Self {
        let record = after.or(before);
        let organization = record.and_then(KeyRecord::organization).map(str::to_owned);
        let environment = record.and_then(KeyRecord::environment).map(str::to_owned);
        let is_replaced = before.is_some_and(|before| before.replaced_by().is_none());
        let replacement = after.filter(|_| is_replaced).and_then(KeyRecord::replaced_by).cloned();
        self.with_organization(organization)
            .with_environment(environment)
            .with_replacement(replacement)
            .with_changes(changes::between(before, after))
    }

    /// Returns the kind of the change.
    pub fn kind(&self) -> KeyEventKind {
        self.kind
    }

    /// Returns the id of the changed key.
    pub fn key_id(&self) -> &KeyId {
        &self.key_id
    }

    /// Returns the version of the record after the change. A removal has the last version of the
    /// record.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Returns the organization of the key.
    pub fn organization(&self) -> Option<&str> {
        self.organization.as_deref()
    }

    /// Returns the environment of the key.
    pub fn environment(&self) -> Option<&str> {
        self.environment.as_deref()
    }

    /// Returns the id of the new key, if this one was replaced.
    pub fn replacement(&self) -> Option<&KeyId> {
        self.replacement.as_ref()
    }

    /// Returns who made the change.
    pub fn author(&self) -> &Author {
        &self.author
    }

    /// Returns the time of the change.
    pub fn at(&self) -> SystemTime {
        self.at
    }

    /// Returns why the change was made, if the caller gave a reason.
    pub fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    /// Returns the id of the request that made the change, if the caller gave one.
    pub fn request_id(&self) -> Option<&str> {
        self.request_id.as_deref()
    }

    /// Returns the address of the caller, if it was given.
    pub fn address(&self) -> Option<IpAddr> {
        self.address
    }

    /// Returns the changed fields, with their values before and after. For a new key, all fields
    /// that are set.
    pub fn changes(&self) -> &[FieldChange] {
        &self.changes
    }

    /// Returns the id of the event, which is unique and random; `None` for an event that no store
    /// keeps.
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// Returns the cursor after this event, for a consumer:
    /// [`KeyRegistry::events_since`](crate::KeyRegistry::events_since). In a list of events it may
    /// be `None`.
    pub fn cursor(&self) -> Option<EventCursor> {
        self.cursor
    }
}
