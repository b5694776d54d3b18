//! The events of a memory store: the newest ones, in their order.

use std::{
    collections::VecDeque,
    hash::{BuildHasher, RandomState},
    ops::ControlFlow,
    sync::{Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use super::MemoryState;
use crate::event::{EventCursor, EventFilter, KeyEvent};

/// Written while the index is locked for writing, so that the events are in the order of the
/// changes.
#[derive(Default)]
pub(super) struct EventLog(Mutex<Events>);

#[derive(Default)]
struct Events {
    kept: VecDeque<KeyEvent>,
    /// The number of the newest event.
    newest: i64,
    ids: RandomState,
}

/// How many events are kept.
const CAPACITY: usize = 100_000;

/// The number of events that a page visits under one lock.
const MAX_VISITS: usize = 256;

// === impl EventLog ===

impl EventLog {
    pub(super) fn push(&self, event: KeyEvent) {
        let mut events = self.lock();
        events.newest += 1;
        let number = events.newest;
        if events.kept.len() == CAPACITY {
            events.kept.pop_front();
        }
        // The number itself would show how many events other organizations have.
        let id = format!("{:016x}", events.ids.hash_one(number));
        events.kept.push_back(event.stored(id, EventCursor::new(number)));
    }

    pub(super) fn since(&self, cursor: EventCursor, limit: usize) -> Vec<KeyEvent> {
        let events = self.lock();
        let first = events.kept.partition_point(|event| event.cursor() <= Some(cursor));
        events.kept.range(first..).take(limit).cloned().collect()
    }

    pub(super) fn newest(&self) -> EventCursor {
        EventCursor::new(self.lock().newest)
    }

    /// Visits the events before this one, newest first, at most [`MAX_VISITS`]. Returns the last
    /// one that it has visited, unless that is the oldest one or `visit` has had enough.
    fn visit(&self, before: EventCursor, mut visit: impl FnMut(&KeyEvent) -> ControlFlow<()>) -> Option<EventCursor> {
        let events = self.lock();
        let end = events.kept.partition_point(|event| event.cursor() < Some(before));
        for event in events.kept.range(end.saturating_sub(MAX_VISITS)..end).rev() {
            visit(event).continue_value()?;
        }
        let last = events.kept.get(end.checked_sub(MAX_VISITS)?)?;
        last.cursor()
    }

    /// Removes events from before this instant. The log is in the order of the changes, so an event
    /// with a later time keeps those after it for as long.
    fn prune(&self, before: SystemTime, limit: usize) -> usize {
        let mut events = self.lock();
        let pruned = events.kept.iter().take(limit).take_while(|event| event.at() < before).count();
        events.kept.drain(..pruned);
        pruned
    }

    /// Returns the cursor of the oldest event, if there is one.
    #[cfg(feature = "webhooks")]
    pub(super) fn oldest(&self) -> Option<EventCursor> {
        self.lock().kept.front().and_then(KeyEvent::cursor)
    }

    fn lock(&self) -> MutexGuard<'_, Events> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MemoryState {
    /// Returns a page of events. The owner of a key is that of its record.
    ///
    /// It holds the locks, which changes need too, for a bounded number of events at a time.
    pub(super) async fn page_of_events(&self, filter: &EventFilter) -> Vec<KeyEvent> {
        let mut page = Vec::new();
        let mut before = match &filter.after {
            Some(after) => self.cursor_of(after).await,
            None => Some(EventCursor::new(i64::MAX)),
        };
        while let Some(cursor) = before.filter(|_| page.len() < filter.limit) {
            before = {
                let index = self.read();
                let is_owned = |event: &KeyEvent| match &filter.owner {
                    Some(owner) => index.find(event.key_id()).is_some_and(|record| record.owner() == Some(owner)),
                    None => true,
                };
                self.events.visit(cursor, |event| {
                    if filter.matches(event) && is_owned(event) {
                        page.push(event.clone());
                    }
                    if page.len() < filter.limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
                })
            };
            tokio::task::yield_now().await;
        }
        page
    }

    /// Returns the place of the event with this id.
    async fn cursor_of(&self, id: &str) -> Option<EventCursor> {
        let (mut found, mut before) = (None, Some(EventCursor::new(i64::MAX)));
        while let Some(cursor) = before {
            before = self.events.visit(cursor, |event| {
                found = event.cursor().filter(|_| event.id() == Some(id));
                if found.is_none() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            });
            tokio::task::yield_now().await;
        }
        found
    }

    /// Removes events from before this instant, and their deliveries.
    pub(super) fn prune_events(&self, before: SystemTime, limit: usize) -> usize {
        let pruned = self.events.prune(before, limit);
        #[cfg(feature = "webhooks")]
        self.webhooks.keep_from(self.events.oldest());
        pruned
    }
}
