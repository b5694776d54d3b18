//! One page of a search, and how a store without indexes of its own finds one.

#[cfg(any(feature = "postgres-no-tls", feature = "sqlite"))]
pub(super) mod conditions;
#[cfg(any(feature = "postgres-no-tls", feature = "sqlite"))]
pub(super) mod statement;
#[cfg(any(feature = "postgres-no-tls", feature = "sqlite"))]
mod steps;

#[cfg(any(feature = "postgres-no-tls", feature = "sqlite"))]
pub(super) use steps::Steps;

use super::{KeyFilter, KeyOrder, PageCursor, TransactionalStore};
use crate::record::KeyRecord;

/// One page of a search, from [`KeyRegistry::search`](super::KeyRegistry::search).
///
/// One page reads a bounded number of records, so that no search blocks others. So **a page may
/// have fewer records than the limit, even none, and still a `next`**: search again with it.
///
/// By default, a registry reads its [`list`](super::KeyRegistry::list), and compares each record
/// with the filter. In an order other than [`KeyOrder::Newest`], it reads every record of the list.
/// Override `search` if your database has indexes for searches. The list of a store needs to know
/// these fields of the filter: `organization`, `all_organizations`, `environment`, `owner`,
/// `revoked`, `after` and `limit`. Neither the default nor a manager sets another one there.
///
/// ```
/// use tower_api_key::{KeyRecord, KeyRegistry, store::{KeyFilter, MemoryStore}};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let keys = MemoryStore::new();
/// keys.insert(KeyRecord::new("k1", [7; 32]).with_name("Deploy links"), None, None).await??;
/// let page = keys.search(&KeyFilter::default().name_contains("deploy")).await?;
/// assert_eq!(page.records[0].id().as_str(), "k1");
/// assert!(page.next.is_none());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct KeyPage {
    /// The records, in the order of the filter.
    pub records: Vec<KeyRecord>,
    /// The argument of [`KeyFilter::after`] for the next page; `None` on the last page.
    pub next: Option<PageCursor>,
}

/// The number of records that a page of [`Search`] reads at most, of which it returns those that
/// match.
pub(super) const MAX_VISITS: usize = 2000;

/// The number of records that [`Search`] reads at once.
const STEP: usize = 250;

/// A search that reads plain lists and compares each record with the filter.
pub(super) struct Search<'f> {
    filter: &'f KeyFilter,
    /// The next list to read.
    list: KeyFilter,
    found: Vec<KeyRecord>,
    visits: usize,
}

/// Lists the records of any filter, by means of searches.
pub(super) async fn listed<S: TransactionalStore>(store: &S, filter: &KeyFilter) -> Result<Vec<KeyRecord>, S::Error> {
    let (mut listed, mut filter) = (Vec::new(), filter.clone());
    loop {
        let page = store.search_page(&filter).await?;
        filter.limit -= page.records.len();
        listed.extend(page.records);
        match page.next {
            Some(next) if filter.limit > 0 => filter = filter.after(next),
            _ => return Ok(listed),
        }
    }
}

// === impl KeyPage ===

impl KeyPage {
    /// Creates a page of a store.
    pub fn new(records: Vec<KeyRecord>, next: Option<PageCursor>) -> Self {
        Self { records, next }
    }

    /// Returns the page of records that were read with one more than the limit. `visited` is where
    /// the reading stopped before the end of the list.
    pub(super) fn cut(mut records: Vec<KeyRecord>, filter: &KeyFilter, visited: Option<PageCursor>) -> Self {
        if records.len() <= filter.limit {
            return Self::new(records, visited);
        }
        records.truncate(filter.limit);
        let last = records.last().and_then(|last| PageCursor::behind(last, filter.order));
        Self::new(records, last)
    }
}

// === impl Search ===

impl<'f> Search<'f> {
    pub(super) fn new(filter: &'f KeyFilter) -> Self {
        let mut list = filter.plain();
        let is_plain = filter.is_plain();
        list.limit = if is_plain { filter.limit.saturating_add(1) } else { STEP };
        Self { filter, list, found: Vec::new(), visits: 0 }
    }

    /// The list to read.
    pub(super) fn list(&self) -> &KeyFilter {
        &self.list
    }

    /// Adds the records of the list. Returns the page once it is complete.
    ///
    /// In the order of the ids, it reads no further than needed. In another order it reads every
    /// record of the list, and keeps those that the page may need.
    pub(super) fn add(&mut self, records: Vec<KeyRecord>) -> Option<KeyPage> {
        let is_last = records.len() < self.list.limit || self.filter.is_plain();
        self.visits += records.len();
        let last = records.last().map(|last| last.id().clone());
        let filter = self.filter;
        self.found.extend(records.into_iter().filter(|record| filter.matches(record) && filter.is_behind(record)));
        let is_in_order = filter.order == KeyOrder::Newest;
        if !is_in_order {
            self.found.sort_by(|one, other| filter.compare(one, other));
            self.found.truncate(filter.limit.saturating_add(1));
        }
        let is_full = is_in_order && (self.found.len() > filter.limit || self.visits >= MAX_VISITS);
        if is_last || is_full {
            let found = std::mem::take(&mut self.found);
            let visited = last.filter(|_| !is_last).map(PageCursor::from);
            return Some(KeyPage::cut(found, filter, visited));
        }
        self.list.after = last;
        None
    }
}
