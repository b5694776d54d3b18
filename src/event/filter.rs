//! The filter of a list of events.

use super::{KeyEvent, KeyEventKind};
use crate::record::{KeyId, Owner};

/// Selects the events of a list.
///
/// The default selects the newest 100 events of the keys that have no organization. A
/// [`KeyManager`](crate::KeyManager) replaces the organization by that of the actor: see
/// [`KeyManager::events`](crate::KeyManager::events).
///
/// ```
/// use tower_api_key::manage::{EventFilter, KeyEventKind};
///
/// let filter = EventFilter::organization("acme").kind(KeyEventKind::Revoked).limit(20);
/// assert_eq!(filter.organization.as_deref(), Some("acme"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EventFilter {
    /// Events of keys of this organization; `None` means keys without one.
    pub organization: Option<String>,
    /// Events of keys of every organization, whatever `organization` says.
    pub all_organizations: bool,
    /// Events of keys of this environment; `None` means any.
    pub environment: Option<String>,
    /// Events of this key; `None` means any.
    pub key: Option<KeyId>,
    /// Events of the keys that this owner has now; `None` means any, also removed keys.
    pub owner: Option<Owner>,
    /// Events of this kind; `None` means any.
    pub kind: Option<KeyEventKind>,
    /// Continues after the event with this id, the last one of the previous page.
    pub after: Option<String>,
    /// The maximum number of events in a page.
    pub limit: usize,
}

// === impl EventFilter ===

impl Default for EventFilter {
    fn default() -> Self {
        Self {
            organization: None,
            all_organizations: false,
            environment: None,
            key: None,
            owner: None,
            kind: None,
            after: None,
            limit: 100,
        }
    }
}

impl EventFilter {
    /// Selects the newest 100 events of this organization.
    pub fn organization(organization: impl Into<String>) -> Self {
        Self { organization: Some(organization.into()), ..Self::default() }
    }

    /// Selects the newest 100 events of every organization. A manager lists them only for an actor
    /// [across organizations](crate::manage::Actor::across_organizations).
    pub fn all_organizations() -> Self {
        Self { all_organizations: true, ..Self::default() }
    }

    /// Selects events of keys of this environment only.
    #[must_use]
    pub fn environment(mut self, environment: impl Into<String>) -> Self {
        self.environment = Some(environment.into());
        self
    }

    /// Selects events of this key only.
    #[must_use]
    pub fn key(mut self, id: impl Into<KeyId>) -> Self {
        self.key = Some(id.into());
        self
    }

    /// Selects events of the keys that this owner has now.
    #[must_use]
    pub fn owner(mut self, owner: Owner) -> Self {
        self.owner = Some(owner);
        self
    }

    /// Selects events of this kind only.
    #[must_use]
    pub fn kind(mut self, kind: KeyEventKind) -> Self {
        self.kind = Some(kind);
        self
    }

    /// Continues after the event with this id, the last one of the previous page.
    #[must_use]
    pub fn after(mut self, id: impl Into<String>) -> Self {
        self.after = Some(id.into());
        self
    }

    /// Sets the maximum number of events.
    #[must_use]
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// Returns whether an event is selected, regardless of `owner`, `after` and `limit`.
    pub fn matches(&self, event: &KeyEvent) -> bool {
        (self.all_organizations || event.organization() == self.organization.as_deref())
            && (self.environment.is_none() || event.environment() == self.environment.as_deref())
            && self.key.as_ref().is_none_or(|key| key == event.key_id())
            && self.kind.is_none_or(|kind| kind == event.kind())
    }
}
