//! What is kept: the records that were found, and which digests have none. Both are bounded, each for itself, so that unknown keys
//! push no known one out.

use foldhash::fast::RandomState;
use quick_cache::{
    OptionsBuilder, UnitWeighter,
    sync::{Cache, DefaultLifecycle},
};

use super::freshness::Epoch;
use crate::{key::KeyDigest, record::KeyRecord};

pub(super) struct CacheEntries {
    records: Map<KeyRecord>,
    absences: Map<()>,
}

type Map<T> = Cache<KeyDigest, CacheEntry<T>, UnitWeighter, RandomState>;

/// An answer of the store, and what it has seen.
#[derive(Clone)]
pub(super) struct CacheEntry<T> {
    pub(super) value: T,
    pub(super) epoch: Epoch,
    /// When the look-up began.
    pub(super) asked_at: u64,
}

// === impl Entries ===

impl CacheEntries {
    pub(super) fn new(most: usize) -> Self {
        Self { records: record_map(most), absences: absence_map(most) }
    }

    pub(super) fn record(&self, digest: &KeyDigest) -> Option<CacheEntry<KeyRecord>> {
        self.records.get(digest)
    }

    pub(super) fn absence(&self, digest: &KeyDigest) -> Option<CacheEntry<()>> {
        self.absences.get(digest)
    }

    /// In the place of what was kept of this key, unless that was asked later.
    pub(super) fn keep(&self, digest: KeyDigest, found: Option<KeyRecord>, epoch: Epoch, asked_at: u64) {
        let record = self.records.peek(&digest).map(|kept| kept.asked_at);
        let absence = self.absences.peek(&digest).map(|kept| kept.asked_at);
        if record.max(absence) > Some(asked_at) {
            return;
        }
        if let Some(value) = found {
            // The store's own handle, if it has one, is one thread's to count.
            let value = value.into_fields().into();
            self.records.insert(digest, CacheEntry { value, epoch, asked_at });
            if absence.is_some() {
                self.absences.remove(&digest);
            }
        } else {
            self.absences.insert(digest, CacheEntry { value: (), epoch, asked_at });
            if record.is_some() {
                self.records.remove(&digest);
            }
        }
    }

    pub(super) fn records(&self) -> usize {
        self.records.len()
    }

    pub(super) fn absences(&self) -> usize {
        self.absences.len()
    }
}

/// More shards than threads, so that two keys seldom share a lock.
const SHARDS: usize = 64;

/// As few entries as one shard may have.
const SMALLEST_SHARD: usize = 32;

fn record_map(most: usize) -> Map<KeyRecord> {
    map(most, &mut OptionsBuilder::new())
}

/// Most unknown keys come once: little is kept for those that come again, and nothing is remembered of those that were pushed out.
fn absence_map(most: usize) -> Map<()> {
    map(most, OptionsBuilder::new().hot_allocation(0.5).ghost_allocation(0.0))
}

/// At most so many, in shards of one size.
fn map<T: Clone>(most: usize, options: &mut OptionsBuilder) -> Map<T> {
    let shards = 1 << (most / SMALLEST_SHARD).clamp(1, SHARDS).ilog2();
    let most = most - most % shards;
    let options = options.shards(shards).estimated_items_capacity(most).weight_capacity(most as u64).build();
    let options = options.expect("both capacities are set");
    Cache::with_options(options, UnitWeighter, RandomState::default(), DefaultLifecycle::default())
}
