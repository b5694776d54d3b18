//! The usage of keys by day.

use std::{
    collections::BTreeMap,
    ops::{Bound, RangeInclusive},
};

use crate::{
    record::KeyId,
    store::{DayUsage, UsageDelta, UtcDay},
};

/// The days of each key, in ascending order. Ordered by key, so that it can be pruned in parts.
#[derive(Default)]
pub(super) struct UsageTable(BTreeMap<KeyId, Vec<DayUsage>>);

/// The maximum number of keys that one call of [`UsageTable::prune`] visits.
const MAX_VISITS: usize = 256;

// === impl UsageTable ===

impl UsageTable {
    pub(super) fn add(&mut self, delta: &UsageDelta) {
        let days = self.0.entry(delta.id.clone()).or_default();
        match days.binary_search_by_key(&delta.usage.day, |usage| usage.day) {
            Ok(at) => days[at].add(&delta.usage),
            Err(at) => days.insert(at, delta.usage),
        }
    }

    pub(super) fn of(&self, id: &KeyId, range: &RangeInclusive<UtcDay>) -> Vec<DayUsage> {
        let days = self.0.get(id).map_or(&[][..], Vec::as_slice);
        days.iter().filter(|usage| range.contains(&usage.day)).copied().collect()
    }

    pub(super) fn remove(&mut self, id: &KeyId) {
        self.0.remove(id);
    }

    /// Removes the days before this one of some keys after `after`. Returns how many it removed,
    /// and the id after which to continue.
    pub(super) fn prune(&mut self, before: UtcDay, after: Option<&KeyId>) -> (u64, Option<KeyId>) {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let (mut removed, mut visits, mut last) = (0, 0, None);
        for (id, days) in self.0.range_mut::<KeyId, _>((start, Bound::Unbounded)).take(MAX_VISITS) {
            let old = days.partition_point(|usage| usage.day < before);
            days.drain(..old);
            (removed, visits, last) = (removed + old as u64, visits + 1, Some(id));
        }
        let last = last.filter(|_| visits == MAX_VISITS).cloned();
        (removed, last)
    }
}
