//! Equal sets of permissions, kept once.

use std::{
    collections::BTreeMap,
    hash::{BuildHasher, Hasher, RandomState},
    ops::Bound::{Excluded, Unbounded},
};

use crate::{permission::Permissions, record::KeyRecord};

/// The sets that records have, and some that none has any more. By a hash with a seed: of two with the same hash, the later is kept. A tree, since a
/// hash table that grows moves all it has at once.
#[derive(Default)]
pub(super) struct PermissionInterner {
    known: BTreeMap<u64, Permissions>,
    seed: RandomState,
    /// Where the sweep goes on.
    swept: u64,
}

/// For each new set so many old ones are looked at: so those that no record has are fewer than the others, in the long run.
const SWEPT_AT_ONCE: usize = 4;

// === impl Sets ===

impl PermissionInterner {
    /// The record with the copy of its permissions that is known.
    pub(super) fn intern(&mut self, record: KeyRecord) -> KeyRecord {
        let own = record.permissions();
        if *own == Permissions::new() {
            return record;
        }
        let mut hasher = self.seed.build_hasher();
        own.hash(&mut hasher);
        let hash = hasher.finish();
        match self.known.get(&hash) {
            Some(known) if known.is_same(own) => record,
            Some(known) if known == own => {
                let known = known.clone();
                record.with_permissions(known)
            }
            _ => {
                self.gc();
                self.known.insert(hash, own.clone());
                record
            }
        }
    }

    /// Throws away some of those that no record has.
    fn gc(&mut self) {
        let next = self.known.range((Excluded(self.swept), Unbounded)).take(SWEPT_AT_ONCE);
        let next: Vec<(u64, bool)> = next.map(|(hash, set)| (*hash, set.is_shared())).collect();
        self.swept = next.last().filter(|_| next.len() == SWEPT_AT_ONCE).map_or(0, |(hash, _)| *hash);
        for (hash, _) in next.iter().filter(|(_, is_shared)| !is_shared) {
            self.known.remove(hash);
        }
    }
}
