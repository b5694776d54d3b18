//! The cached entries: records, and negative entries for digests without a record. Each kind has
//! its own limit, so unknown keys do not evict known keys.

use foldhash::fast::RandomState;
use quick_cache::{
    OptionsBuilder, UnitWeighter,
    sync::{Cache, DefaultLifecycle},
};

use super::freshness::Epoch;
use crate::{key::KeyDigest, record::KeyRecord};

pub(super) struct CacheEntries {
    records: Map<KeyRecord>,
    negative: Map<()>,
}

type Map<T> = Cache<KeyDigest, CacheEntry<T>, UnitWeighter, RandomState>;

/// A result of the store, with the epoch in which it was looked up.
#[derive(Clone)]
pub(super) struct CacheEntry<T> {
    pub(super) value: T,
    pub(super) epoch: Epoch,
    /// When the lookup began.
    pub(super) asked_at: u64,
}

// === impl CacheEntries ===

impl CacheEntries {
    pub(super) fn new(capacity: usize) -> Self {
        Self { records: record_map(capacity), negative: negative_map(capacity) }
    }

    pub(super) fn record(&self, digest: &KeyDigest) -> Option<CacheEntry<KeyRecord>> {
        self.records.get(digest)
    }

    pub(super) fn has_record(&self, digest: &KeyDigest) -> bool {
        self.records.contains_key(digest)
    }

    pub(super) fn negative(&self, digest: &KeyDigest) -> Option<CacheEntry<()>> {
        self.negative.get(digest)
    }

    /// Stores the result unless a newer lookup has already stored one.
    pub(super) fn insert(&self, digest: KeyDigest, found: Option<KeyRecord>, epoch: Epoch, asked_at: u64) {
        let record = self.records.peek(&digest).map(|entry| entry.asked_at);
        let negative = self.negative.peek(&digest).map(|entry| entry.asked_at);
        if record.max(negative) > Some(asked_at) {
            return;
        }
        if let Some(value) = found {
            // The record may be a handle that only this thread may clone. Convert it into a shared
            // one.
            let value = value.into_fields().into();
            self.records.insert(digest, CacheEntry { value, epoch, asked_at });
            if negative.is_some() {
                self.negative.remove(&digest);
            }
        } else {
            self.negative.insert(digest, CacheEntry { value: (), epoch, asked_at });
            if record.is_some() {
                self.records.remove(&digest);
            }
        }
    }

    pub(super) fn record_count(&self) -> usize {
        self.records.len()
    }

    pub(super) fn negative_count(&self) -> usize {
        self.negative.len()
    }
}

/// The number of shards. There are more shards than threads, so two lookups seldom wait for the
/// same lock.
const SHARDS: usize = 64;

/// The smallest capacity of a shard.
const MIN_SHARD_CAPACITY: usize = 32;

fn record_map(capacity: usize) -> Map<KeyRecord> {
    map(capacity, &mut OptionsBuilder::new())
}

/// Returns the map of negative entries. Most unknown keys are presented only once. So keys that are
/// presented again get only half of the map, and evicted keys are not tracked.
fn negative_map(capacity: usize) -> Map<()> {
    map(capacity, OptionsBuilder::new().hot_allocation(0.5).ghost_allocation(0.0))
}

/// Returns a map of at most `capacity` entries, in shards of equal size.
fn map<T: Clone>(capacity: usize, options: &mut OptionsBuilder) -> Map<T> {
    let shards = 1 << (capacity / MIN_SHARD_CAPACITY).clamp(1, SHARDS).ilog2();
    let capacity = capacity - capacity % shards;
    let options = options.shards(shards).estimated_items_capacity(capacity).weight_capacity(capacity as u64).build();
    let options = options.expect("both capacities are set");
    Cache::with_options(options, UnitWeighter, RandomState::default(), DefaultLifecycle::default())
}
