//! Reads one page of a search in short steps.
//!
//! A statement keeps a processor busy until it ends, and so does the decoding of its rows. A key
//! check that waits for that processor waits for the rest of one statement only.

use super::KeyPage;
use crate::store::KeyFilter;

/// A step returns an eighth of the page, within these bounds. So a large page, which only a batch
/// asks for, takes no more round trips than a small one.
const ROWS: [usize; 2] = [10, 200];

/// A step visits so many rows for each record that it may return.
const VISITS: usize = 10;

/// A page ends after so many steps that return fewer records than they may.
const SPARSE_STEPS: usize = 8;

/// A page ends after so many steps.
const STEPS: usize = 16;

/// The steps of one page.
pub(in crate::store) struct Steps<'f> {
    filter: &'f KeyFilter,
    step: KeyFilter,
    page: KeyPage,
    taken: usize,
    sparse: usize,
}

impl<'f> Steps<'f> {
    pub(in crate::store) fn new(filter: &'f KeyFilter) -> Self {
        let step = filter.clone().limit(filter.limit.min(rows(filter)));
        Self { filter, step, page: KeyPage::new(Vec::new(), None), taken: 0, sparse: 0 }
    }

    /// The filter of the next step.
    pub(in crate::store) fn step(&self) -> &KeyFilter {
        &self.step
    }

    /// The number of rows after which the scan of the next step ends.
    pub(in crate::store) fn visits(&self) -> usize {
        rows(self.filter) * VISITS
    }

    /// Adds the records of a step. Returns the page once it is complete.
    pub(in crate::store) fn add(&mut self, step: KeyPage) -> Option<KeyPage> {
        self.taken += 1;
        self.sparse += usize::from(step.records.len() < self.step.limit);
        self.page.records.extend(step.records);
        self.page.next = step.next;
        let left = self.filter.limit - self.page.records.len();
        match &self.page.next {
            Some(next) if left > 0 && self.sparse < SPARSE_STEPS && self.taken < STEPS => {
                self.step = self.filter.clone().limit(left.min(rows(self.filter))).after(next.clone());
                None
            }
            _ => Some(std::mem::replace(&mut self.page, KeyPage::new(Vec::new(), None))),
        }
    }
}

fn rows(filter: &KeyFilter) -> usize {
    (filter.limit / 8).clamp(ROWS[0], ROWS[1])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::KeyRecord;

    /// Returns the number of steps of a page, and of its records, if each step returns `part` of
    /// what it may.
    fn page(limit: usize, part: usize) -> (usize, usize) {
        let filter = KeyFilter::default().limit(limit);
        let mut steps = Steps::new(&filter);
        loop {
            let records = vec![KeyRecord::new("k", [7; 32]); steps.step().limit * part / 100];
            if let Some(page) = steps.add(KeyPage::new(records, Some("k".into()))) {
                return (steps.taken, page.records.len());
            }
        }
    }

    #[test]
    fn a_page_has_its_limit_or_ends_after_a_bounded_number_of_steps() {
        let full = [1, 10, 17, 100, 1000].map(|limit| page(limit, 100));
        assert_eq!(full, [(1, 1), (1, 10), (2, 17), (9, 100), (8, 1000)]);
        assert_eq!(page(usize::MAX, 100), (STEPS, STEPS * 200));
        assert_eq!([100, 1000, usize::MAX].map(|limit| page(limit, 0).0), [SPARSE_STEPS; 3]);
        let visits = |limit| Steps::new(&KeyFilter::default().limit(limit)).visits();
        assert_eq!([1, 100, 1000, usize::MAX].map(visits), [100, 120, 1250, 2000]);
    }
}
