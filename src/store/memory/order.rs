//! Ordered collections of record pointers, in runs of at most 512. A change moves the pointers of
//! at most one run, however many records there are. A run needs little more than its pointers; a
//! B-tree of the standard library needs 17 bytes for each.

use std::{marker::PhantomData, sync::Arc, time::SystemTime};

use crate::record::{Fields, Owner};

/// Records in the order `O`. No run is empty.
pub(super) struct Sorted<O> {
    runs: Vec<Vec<Arc<Fields>>>,
    len: usize,
    order: PhantomData<fn() -> O>,
}

/// The maximum number of records in a run.
const RUN: usize = 512;

/// A sort key. It contains the id, so it is unique.
pub(super) trait Order: 'static {
    fn place(record: &Fields) -> SortKey<'_>;
}

pub(super) enum IdOrder {}
pub(super) enum OrganizationOrder {}
pub(super) enum OwnerOrder {}
/// The records of an owner by their expiry.
pub(super) enum ExpiryOrder {}

/// The sort key of a record. An order gives the same constant to every field that it does not use.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SortKey<'p> {
    pub(super) organization: Option<&'p str>,
    pub(super) owner: Whose<'p>,
    pub(super) end: End,
    pub(super) id: IdBound<'p>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Whose<'p> {
    Unowned,
    Bot,
    User(&'p str),
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum End {
    At(SystemTime),
    Never,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum IdBound<'p> {
    At(&'p str),
    /// After every id.
    Last,
}

// === impl Sorted ===

impl<O: Order> Sorted<O> {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn get(&self, place: SortKey<'_>) -> Option<&Arc<Fields>> {
        let (run, found) = self.search(place);
        let place = found.ok()?;
        Some(&self.runs[run][place])
    }

    /// Stores a record; returns the one that it replaces.
    pub(super) fn put(&mut self, record: &Arc<Fields>) -> Option<Arc<Fields>> {
        let (number, found) = self.search(O::place(record));
        let record = Arc::clone(record);
        let place = match found {
            Ok(place) => return Some(std::mem::replace(&mut self.runs[number][place], record)),
            Err(place) => place,
        };
        self.len += 1;
        let is_last = number + 1 >= self.runs.len();
        match self.runs.get_mut(number) {
            Some(run) if run.len() < RUN => run.insert(place, record),
            // A record after all others starts a new run instead. Ids ascend, so with a split every
            // run would stay half full.
            Some(_) if place < RUN || !is_last => {
                let mut second = self.runs[number].split_off(RUN / 2);
                let first = &mut self.runs[number];
                first.shrink_to_fit();
                match place.checked_sub(RUN / 2) {
                    Some(place) => second.insert(place, record),
                    None => first.insert(place, record),
                }
                self.runs.insert(number + 1, second);
            }
            _ => self.runs.push(vec![record]),
        }
        None
    }

    pub(super) fn take(&mut self, place: SortKey<'_>) -> Option<Arc<Fields>> {
        let (number, found) = self.search(place);
        let place = found.ok()?;
        let run = &mut self.runs[number];
        let taken = run.remove(place);
        self.len -= 1;
        if run.is_empty() {
            self.runs.remove(number);
        } else if run.len() * 4 < run.capacity() {
            run.shrink_to(run.len() * 2);
        }
        Some(taken)
    }

    /// Removes the old record and stores the new one, if they belong to this order.
    pub(super) fn exchange(&mut self, old: Option<&Arc<Fields>>, new: Option<&Arc<Fields>>) {
        if let Some(old) = old
            && new.is_none_or(|new| O::place(new) != O::place(old))
        {
            self.take(O::place(old));
        }
        if let Some(new) = new {
            self.put(new);
        }
    }

    /// Returns the records from one key up to, but not including, a later one.
    pub(super) fn between(
        &self,
        from: SortKey<'_>,
        to: SortKey<'_>,
    ) -> impl DoubleEndedIterator<Item = &Arc<Fields>> + use<'_, O> {
        let [(first, start), (last, end)] = [from, to].map(|place| self.search(place));
        let [start, end] = [start, end].map(|place| place.unwrap_or_else(|place| place));
        let runs = self.runs.get(first..=last).unwrap_or_default().iter().enumerate();
        runs.flat_map(move |(step, run)| {
            let start = if step == 0 { start } else { 0 };
            let end = if first + step == last { end } else { run.len() };
            &run[start..end]
        })
    }

    /// Returns the run that has this key, or would have it, and the position in it.
    fn search(&self, place: SortKey<'_>) -> (usize, Result<usize, usize>) {
        let behind = self.runs.partition_point(|run| run.first().is_some_and(|first| O::place(first) <= place));
        let number = behind.saturating_sub(1);
        let run = self.runs.get(number).map(Vec::as_slice).unwrap_or_default();
        (number, run.binary_search_by(|record| O::place(record).cmp(&place)))
    }
}

impl<O> Default for Sorted<O> {
    fn default() -> Self {
        Self { runs: Vec::new(), len: 0, order: PhantomData }
    }
}

// === impl Order ===

impl Order for IdOrder {
    fn place(record: &Fields) -> SortKey<'_> {
        SortKey::of_id(record.id.as_str())
    }
}

impl Order for OrganizationOrder {
    fn place(record: &Fields) -> SortKey<'_> {
        SortKey { organization: record.organization(), ..SortKey::of_id(record.id.as_str()) }
    }
}

impl Order for OwnerOrder {
    fn place(record: &Fields) -> SortKey<'_> {
        SortKey { owner: Whose::of(record.owner()), ..OrganizationOrder::place(record) }
    }
}

impl Order for ExpiryOrder {
    fn place(record: &Fields) -> SortKey<'_> {
        SortKey { end: record.expires_at().map_or(End::Never, End::At), ..OwnerOrder::place(record) }
    }
}

// === impl SortKey, Whose ===

impl<'p> SortKey<'p> {
    pub(super) fn of_id(id: &'p str) -> Self {
        Self { organization: None, owner: Whose::Unowned, end: End::Never, id: IdBound::At(id) }
    }
}

impl<'p> Whose<'p> {
    pub(super) fn of(owner: Option<&'p Owner>) -> Self {
        match owner {
            None => Self::Unowned,
            Some(Owner::ServiceAccount) => Self::Bot,
            Some(Owner::User(user)) => Self::User(user),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::record::KeyRecord;

    fn records(of: &Sorted<IdOrder>) -> Vec<u32> {
        let all = of.between(SortKey::of_id(""), SortKey { id: IdBound::Last, ..SortKey::of_id("") });
        all.map(|record| record.id.as_str().parse().unwrap()).collect()
    }

    /// Compares with a map, for changes in several orders.
    #[test]
    fn runs_are_in_order_whatever_the_order_of_the_changes() {
        let ups = |number: u32| number;
        let orders: [fn(u32) -> u32; 4] = [
            ups,
            |number| 99_999 - number,
            |number| number * 7919 % 100_003,
            |number| number / 2 + number % 2 * 50_000,
        ];
        for order in orders {
            let (mut sorted, mut map) = (Sorted::<IdOrder>::default(), BTreeMap::new());
            for number in (0..4000).map(order) {
                let record = KeyRecord::new(format!("{number:06}"), [0; 32]).into_fields();
                assert!(sorted.put(&record).is_none());
                map.insert(number, record);
            }
            for number in (0..4000).step_by(3).map(order) {
                let (id, record) = (format!("{number:06}"), map.remove(&number).unwrap());
                assert!(sorted.put(&record).is_some_and(|old| Arc::ptr_eq(&old, &record)));
                assert!(sorted.get(SortKey::of_id(&id)).is_some());
                assert!(sorted.take(SortKey::of_id(&id)).is_some());
                assert!(sorted.get(SortKey::of_id(&id)).is_none() && sorted.take(SortKey::of_id(&id)).is_none());
            }
            assert_eq!(records(&sorted), map.keys().copied().collect::<Vec<_>>());
            assert_eq!(sorted.len(), map.len());
            assert!(sorted.runs.len() < 24 && sorted.runs.iter().all(|run| !run.is_empty() && run.len() <= RUN));
            let (from, to) = (order(100).min(order(900)), order(100).max(order(900)));
            let between =
                sorted.between(SortKey::of_id(&format!("{from:06}")), SortKey::of_id(&format!("{to:06}"))).rev();
            let between: Vec<u32> = between.map(|record| record.id.as_str().parse().unwrap()).collect();
            assert_eq!(between, map.range(from..to).rev().map(|(number, _)| *number).collect::<Vec<u32>>());
            for number in map.keys() {
                sorted.take(SortKey::of_id(&format!("{number:06}"))).unwrap();
            }
            assert!(sorted.runs.is_empty() && records(&sorted).is_empty());
        }
    }
}
