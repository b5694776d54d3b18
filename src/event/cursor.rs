//! The position of an event in the order of a registry.

use std::{fmt, str::FromStr};

use thiserror::Error;

/// The position of an event in the order of a registry's events.
///
/// A consumer stores the cursor of the last event that it has handled, as a text, and continues
/// after it: see [`KeyRegistry::events_since`](crate::KeyRegistry::events_since). A cursor belongs
/// to the registry that it was read from.
///
/// ```
/// use tower_api_key::manage::EventCursor;
///
/// let stored = EventCursor::START.to_string();
/// assert_eq!(stored.parse(), Ok(EventCursor::START));
/// assert!("somewhere".parse::<EventCursor>().is_err());
/// ```
///
/// A consumer:
///
/// ```
/// use tower_api_key::{KeyRegistry, manage::EventCursor};
///
/// /// Handles all events that it has not handled yet.
/// async fn catch_up<R: KeyRegistry>(keys: &R, cursor: &mut EventCursor) -> Result<(), R::Error> {
///     while let Some(events) = keys.events_since(*cursor, 100).await?.filter(|events| !events.is_empty()) {
///         for event in events {
///             println!("{}: {}", event.key_id(), event.kind());
///             *cursor = event.cursor().unwrap_or(*cursor); // store it now
///         }
///     }
///     Ok(())
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventCursor(i64);

/// The error of parsing a text that is not a cursor. [`EventCursor`] has an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("not a cursor of an event: pass the text of an `EventCursor`, a whole number")]
pub struct InvalidEventCursor;

// === impl EventCursor ===

impl EventCursor {
    /// Before the first event.
    pub const START: Self = Self(0);

    /// Returns the cursor of this number. Numbers of later events are greater, and the first is at
    /// least 1. For stores.
    ///
    /// ```
    /// use tower_api_key::manage::EventCursor;
    ///
    /// assert_eq!(EventCursor::new(7).number(), 7);
    /// ```
    pub const fn new(number: i64) -> Self {
        Self(number)
    }

    /// Returns the number. See [`EventCursor::new`].
    pub const fn number(self) -> i64 {
        self.0
    }
}

impl fmt::Display for EventCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for EventCursor {
    type Err = InvalidEventCursor;

    fn from_str(text: &str) -> Result<Self, InvalidEventCursor> {
        text.parse().map(Self).map_err(|_| InvalidEventCursor)
    }
}
