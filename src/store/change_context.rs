//! The context of a change: who makes it, when, and why.

use std::{net::IpAddr, time::SystemTime};

use super::{ActorKey, IdempotencyKey, IdempotencyRecord};
use crate::{
    clock::{Clock, to_micros},
    event::{KeyEvent, KeyEventKind, Leak},
    record::{Author, KeyId, KeyRecord, Status},
};

/// Who makes a change, when, and why. The change writes it into the record and into its event.
///
/// Every change of a [`KeyRegistry`](crate::KeyRegistry) takes one. `None` is a change by the
/// system, at the time of the system clock. With an [`ActorKey`], the transaction of the change
/// checks that the key still works.
///
/// ```
/// use tower_api_key::{Author, KeyRecord, KeyRegistry, store::{ChangeContext, MemoryStore}};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let keys = MemoryStore::new();
/// keys.add(KeyRecord::new("k1", [7; 32]))?;
/// let context = ChangeContext::new(Author::User("alice".into())).with_reason("leaked".to_owned());
/// let revoked = keys.revoke(&"k1".into(), Some(&context)).await??;
/// assert_eq!(revoked.revoked_by(), Some(&Author::User("alice".into())));
/// assert_eq!(revoked.reason(), Some("leaked"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct ChangeContext {
    key: Option<ActorKey>,
    author: Author,
    at: Option<SystemTime>,
    reason: Option<String>,
    request_id: Option<String>,
    address: Option<IpAddr>,
    kind: Option<KeyEventKind>,
    leak: Option<Leak>,
    idempotency: Option<IdempotencyKey>,
}

// === impl ChangeContext ===

impl ChangeContext {
    /// Returns the context of a change by this author.
    pub fn new(author: Author) -> Self {
        Self {
            key: None,
            author,
            at: None,
            reason: None,
            request_id: None,
            address: None,
            kind: None,
            leak: None,
            idempotency: None,
        }
    }

    /// Sets the key that the change checks. It does not set the author.
    #[must_use]
    pub fn with_actor_key(mut self, key: impl Into<Option<ActorKey>>) -> Self {
        self.key = key.into();
        self
    }

    /// Sets the time of the change, in whole microseconds.
    #[must_use]
    pub fn at(mut self, instant: SystemTime) -> Self {
        self.at = Some(to_micros(instant));
        self
    }

    /// Sets why the change is made.
    #[must_use]
    pub fn with_reason(mut self, reason: impl Into<Option<String>>) -> Self {
        self.reason = reason.into();
        self
    }

    /// Sets the id of the request that makes the change.
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

    /// Sets the kind of the event, where the change alone does not show it: an insert is
    /// [`KeyEventKind::Issued`] unless the context says [`KeyEventKind::Imported`].
    #[must_use]
    pub fn with_kind(mut self, kind: KeyEventKind) -> Self {
        self.kind = Some(kind);
        self
    }

    /// Sets where the key was found, for a change of the kind [`KeyEventKind::Leaked`].
    ///
    /// ```
    /// use tower_api_key::{Author, manage::{KeyEventKind, Leak}, store::ChangeContext};
    ///
    /// let context = ChangeContext::new(Author::System)
    ///     .with_kind(KeyEventKind::Leaked)
    ///     .with_leak(Leak::new("commit"));
    /// assert_eq!(context.author(), &Author::System);
    /// ```
    #[must_use]
    pub fn with_leak(mut self, leak: impl Into<Option<Leak>>) -> Self {
        self.leak = leak.into();
        self
    }

    /// Sets the idempotency key of the request. A change that adds a key stores it in the same
    /// transaction, and is rejected if it is stored already. Other changes ignore it.
    ///
    /// [`IdempotencyKey`] has an example.
    #[must_use]
    pub fn with_idempotency_key(mut self, key: impl Into<Option<IdempotencyKey>>) -> Self {
        self.idempotency = key.into();
        self
    }

    /// Returns the idempotency key of the request.
    pub fn idempotency_key(&self) -> Option<&IdempotencyKey> {
        self.idempotency.as_ref()
    }

    /// Returns the key that the change checks.
    pub fn actor_key(&self) -> Option<&ActorKey> {
        self.key.as_ref()
    }

    /// Returns who makes the change.
    pub fn author(&self) -> &Author {
        &self.author
    }

    /// Returns why the change is made.
    pub fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }
}

/// A change by this key.
impl From<ActorKey> for ChangeContext {
    fn from(key: ActorKey) -> Self {
        Self::new(Author::Key(key.id().clone())).with_actor_key(key)
    }
}

/// A context with the time of the change, which is read once.
pub(super) struct Stamp<'c> {
    context: Option<&'c ChangeContext>,
    at: SystemTime,
}

// === impl Stamp ===

impl<'c> Stamp<'c> {
    pub(super) fn of(context: Option<&'c ChangeContext>) -> Self {
        let at = context.and_then(|context| context.at).unwrap_or_else(|| to_micros(Clock::system().now()));
        Self { context, at }
    }

    fn author(&self) -> Author {
        self.context.map_or(Author::System, |context| context.author.clone())
    }

    fn reason(&self) -> Option<String> {
        self.context.and_then(|context| context.reason.clone())
    }

    /// Returns the idempotency key of the change, as the record of a request that makes this key,
    /// and the time of the change.
    pub(super) fn claim(&self, key_id: &KeyId) -> Option<(IdempotencyRecord, SystemTime)> {
        let key = self.context?.idempotency.as_ref()?;
        Some((key.record(key_id, self.at), self.at))
    }

    /// Sets who has made the record, unless the record or the context does not say so.
    pub(super) fn created(&self, record: &KeyRecord) -> KeyRecord {
        match self.context {
            Some(context) if record.created_by().is_none() => record.clone().with_created_by(context.author.clone()),
            _ => record.clone(),
        }
    }

    /// Sets when the record was changed and why; for a key that the change revokes, also who has
    /// revoked it and when.
    pub(super) fn changed(&self, before: &KeyRecord, after: KeyRecord) -> KeyRecord {
        let is_switched = before.status() != after.status();
        let revokes = is_switched && after.status() == Status::Revoked;
        let enables = is_switched && after.status() == Status::Active;
        let kept = after.reason().filter(|_| !enables).map(str::to_owned);
        let reason = self.reason().or(kept);
        let after = after.with_updated_at(self.at).with_reason(reason);
        if revokes { after.with_revoked(self.at, self.author()) } else { after }
    }

    /// Returns the event of a change from one record to the other.
    pub(super) fn event(
        &self,
        derived: KeyEventKind,
        before: Option<&KeyRecord>,
        after: Option<&KeyRecord>,
    ) -> Option<KeyEvent> {
        let record = after.or(before)?;
        let kind = self.context.and_then(|context| context.kind).unwrap_or(derived);
        let event = KeyEvent::new(kind, record.id(), record.version(), self.author(), self.at);
        let event = event.comparing(before, after).with_reason(self.reason());
        let Some(context) = self.context else { return Some(event) };
        let event = event.with_leak(context.leak.clone());
        Some(event.with_request_id(context.request_id.clone()).with_address(context.address))
    }
}
