//! The events of a memory store: the newest ones, in their order.

use std::{
    collections::VecDeque,
    hash::{BuildHasher, RandomState},
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

    /// Returns a page, newest first. `is_selected` checks what only the store knows.
    pub(super) fn page(&self, filter: &EventFilter, is_selected: impl Fn(&KeyEvent) -> bool) -> Vec<KeyEvent> {
        let events = self.lock();
        let end = match &filter.after {
            Some(after) => events.kept.iter().position(|event| event.id() == Some(after)).unwrap_or(0),
            None => events.kept.len(),
        };
        let matching = events.kept.range(..end).rev().filter(|event| filter.matches(event) && is_selected(event));
        matching.take(filter.limit).cloned().collect()
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
    fn oldest(&self) -> Option<EventCursor> {
        self.lock().kept.front().and_then(KeyEvent::cursor)
    }

    fn lock(&self) -> MutexGuard<'_, Events> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MemoryState {
    /// Returns a page of events. The owner of a key is that of its record.
    pub(super) fn page_of_events(&self, filter: &EventFilter) -> Vec<KeyEvent> {
        let index = self.read();
        let is_owned = |event: &KeyEvent| match &filter.owner {
            Some(owner) => index.find(event.key_id()).is_some_and(|record| record.owner() == Some(owner)),
            None => true,
        };
        self.events.page(filter, is_owned)
    }

    /// Removes events from before this instant, and their deliveries.
    pub(super) fn prune_events(&self, before: SystemTime, limit: usize) -> usize {
        let pruned = self.events.prune(before, limit);
        #[cfg(feature = "webhooks")]
        self.webhooks.keep_from(self.events.oldest());
        pruned
    }
}
