//! The counts of the requests that a thread has served since the last write.

use std::{
    collections::HashMap,
    mem,
    sync::atomic::{AtomicUsize, Ordering},
    time::SystemTime,
};

use super::Counted;
use crate::{
    record::KeyId,
    store::{DayUsage, UsageDelta, UtcDay},
};

/// The counts of one day by key, and those of earlier days.
pub(super) struct Counts {
    day: UtcDay,
    by_key: HashMap<KeyId, KeyCounts>,
    /// Counts of earlier days, and counts that could not be written.
    others: Vec<UsageDelta>,
}

/// The requests with one key, by outcome, and the time of the last use.
#[derive(Default)]
struct KeyCounts {
    by_outcome: [u64; 4],
    last_used_at: Option<SystemTime>,
}

/// The number of keys of one thread after which the counts are written early.
const MANY_KEYS: usize = 1 << 15;

/// The maximum number of keys of one thread, and of those that could not be written. A request with
/// a further key is not counted.
const MAX_KEYS: usize = 2 * MANY_KEYS;

// === impl Counts, KeyCounts ===

impl Counts {
    /// Counts a request. `kept` is the number of counts that could not be written. Returns whether
    /// the counts should be written early.
    #[inline]
    pub(super) fn count(&mut self, id: &KeyId, counted: Counted, now: SystemTime, kept: &AtomicUsize) -> bool {
        let day = UtcDay::from(now);
        if day != self.day {
            self.begin(day);
        }
        match self.by_key.get_mut(id) {
            Some(counts) => {
                counts.count(counted, now);
                false
            }
            None => self.add(id, counted, now, kept),
        }
    }

    /// Adds a key that has no counts yet.
    #[cold]
    fn add(&mut self, id: &KeyId, counted: Counted, now: SystemTime, kept: &AtomicUsize) -> bool {
        let keys = self.by_key.len() + kept.load(Ordering::Relaxed);
        if keys < MAX_KEYS {
            self.by_key.entry(id.clone()).or_default().count(counted, now);
        }
        keys == MANY_KEYS
    }

    /// Keeps the counts of the day before, and counts for another day.
    #[cold]
    fn begin(&mut self, day: UtcDay) {
        let before = mem::take(&mut self.by_key);
        self.others.extend(before.into_iter().map(|(id, counts)| counts.into_delta(id, self.day)));
        self.day = day;
    }

    /// Adds counts that could not be written.
    pub(super) fn put_back(&mut self, deltas: impl Iterator<Item = UsageDelta>) {
        self.others.extend(deltas);
    }

    pub(super) fn take(&mut self) -> Vec<UsageDelta> {
        self.begin(self.day);
        mem::take(&mut self.others)
    }
}

impl Default for Counts {
    fn default() -> Self {
        Self { day: UtcDay::from_number(0), by_key: HashMap::new(), others: Vec::new() }
    }
}

impl KeyCounts {
    #[inline]
    fn count(&mut self, counted: Counted, now: SystemTime) {
        self.by_outcome[counted as usize] += 1;
        if counted.is_use() {
            self.last_used_at = self.last_used_at.max(Some(now));
        }
    }

    fn into_delta(self, id: KeyId, day: UtcDay) -> UsageDelta {
        let mut usage = DayUsage::new(day);
        for (counted, count) in Counted::ALL.into_iter().zip(self.by_outcome) {
            *counted.of(&mut usage) = count;
        }
        UsageDelta::new(id, usage, self.last_used_at)
    }
}
