//! What is kept: the records that were found, and which digests have none. Both are bounded, each for itself, so that unknown keys
//! push no known one out.

use quick_cache::sync::Cache;

use super::freshness::Epoch;
use crate::{key::KeyDigest, record::KeyRecord};

pub(super) struct Entries {
    records: Cache<KeyDigest, Entry<KeyRecord>>,
    absences: Cache<KeyDigest, Entry<()>>,
}

/// An answer of the store, and what it has seen.
#[derive(Clone)]
pub(super) struct Entry<T> {
    pub(super) value: T,
    pub(super) epoch: Epoch,
    /// When the look-up began.
    pub(super) asked_at: u64,
}

// === impl Entries ===

impl Entries {
    pub(super) fn new(most: usize) -> Self {
        Self { records: Cache::new(most), absences: Cache::new(most) }
    }

    pub(super) fn record(&self, digest: &KeyDigest) -> Option<Entry<KeyRecord>> {
        self.records.get(digest)
    }

    pub(super) fn absence(&self, digest: &KeyDigest) -> Option<Entry<()>> {
        self.absences.get(digest)
    }

    pub(super) fn keep(&self, digest: KeyDigest, found: Option<KeyRecord>, epoch: Epoch, asked_at: u64) {
        match found {
            Some(value) => self.records.insert(digest, Entry { value, epoch, asked_at }),
            None => self.absences.insert(digest, Entry { value: (), epoch, asked_at }),
        }
    }

    pub(super) fn records(&self) -> usize {
        self.records.len()
    }

    pub(super) fn absences(&self) -> usize {
        self.absences.len()
    }
}
