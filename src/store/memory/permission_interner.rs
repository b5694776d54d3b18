//! Stores equal permission sets once.

use std::{
    collections::BTreeMap,
    hash::{BuildHasher, Hasher, RandomState},
    ops::Bound::{Excluded, Unbounded},
};

use crate::{permission::Permissions, record::KeyRecord};

/// A map from the seeded hash of a permission set to the set. It has the sets of all records, and
/// some that are no longer used. Of two sets with the same hash, the map keeps the later one. It is
/// a tree, since a growing hash table moves all entries at once.
#[derive(Default)]
pub(super) struct PermissionInterner {
    interned: BTreeMap<u64, Permissions>,
    seed: RandomState,
    /// Where the next collection continues.
    swept: u64,
}

/// The number of old sets that are checked for each new one. In the long run, unused sets are fewer
/// than used ones.
const GC_BATCH: usize = 4;

// === impl PermissionInterner ===

impl PermissionInterner {
    /// Returns the record with the shared copy of its permissions.
    pub(super) fn intern(&mut self, record: KeyRecord) -> KeyRecord {
        let own = record.permissions();
        if *own == Permissions::new() {
            return record;
        }
        let mut hasher = self.seed.build_hasher();
        own.hash(&mut hasher);
        let hash = hasher.finish();
        match self.interned.get(&hash) {
            Some(known) if known.is_same(own) => record,
            Some(known) if known == own => {
                let known = known.clone();
                record.with_permissions(known)
            }
            _ => {
                self.gc();
                self.interned.insert(hash, own.clone());
                record
            }
        }
    }

    /// Removes some sets that no record uses.
    fn gc(&mut self) {
        let next = self.interned.range((Excluded(self.swept), Unbounded)).take(GC_BATCH);
        let next: Vec<(u64, bool)> = next.map(|(hash, set)| (*hash, set.is_shared())).collect();
        self.swept = next.last().filter(|_| next.len() == GC_BATCH).map_or(0, |(hash, _)| *hash);
        for (hash, _) in next.iter().filter(|(_, is_shared)| !is_shared) {
            self.interned.remove(hash);
        }
    }
}
