//! The records by their digests: many readers, one writer at a time.
//!
//! ```text
//! digest ── × seed ──▶ hash ──▶ one of 256 shards ──▶ hash table ──▶ record
//! ```
//!
//! Each thread first searches its own cache of recently found records. If the key is not there, the
//! lookup read-locks one shard. A change write-locks that shard only while it swaps one record for
//! another, so a reader finds the old record or the new one, and never none. A full shard is copied
//! to a larger table while readers use the old one.

use std::{
    array,
    hash::{BuildHasher, RandomState},
    mem,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use hashbrown::{HashTable, hash_table::Entry};

use crate::{
    key::KeyDigest,
    record::{Fields, Generation, GenerationCounter, KeyRecord, ThreadCache},
};

/// Every lookup reads these fields, so they have cache lines of their own, away from the locks of
/// changes.
#[repr(align(128))]
pub(super) struct DigestTable {
    /// Odd and secret, so that an attacker who chooses digests cannot make them collide.
    seed: u64,
    shards: Box<[TableShard; 256]>,
}

/// Each shard grows by itself, so that no change waits for a copy of all records. Readers write to
/// the lock, so each shard has cache lines of its own.
#[derive(Default)]
#[repr(align(128))]
struct TableShard {
    state: GenerationCounter,
    records: RwLock<HashTable<Arc<Fields>>>,
}

/// Proof that the caller holds the write lock of the index.
#[derive(Default)]
pub(super) struct WriteToken(());

thread_local! {
    /// The records that this thread found lately, valid while their shard has the same generation.
    static FOUND: ThreadCache<Generation, 256> = const { ThreadCache::new() };
}

// === impl DigestTable ===

impl DigestTable {
    #[inline]
    pub(super) fn find(&self, digest: &KeyDigest) -> Option<KeyRecord> {
        let (shard, hash) = self.locate(digest);
        // Read before the search: a change in between gives the shard another generation.
        let generation = shard.state.generation();
        let cached = FOUND.try_with(|cache| cache.get(digest, |found_under| found_under == generation));
        if let Ok(Some(record)) = cached {
            return Some(record);
        }
        let found = shard.find(hash, digest)?;
        let record = FOUND.try_with(|cache| cache.insert(Arc::clone(&found), generation));
        Some(record.unwrap_or_else(|_| found.into()))
    }

    /// For writers: does not use the thread's cache, so it drops no removed record under the lock.
    pub(super) fn has(&self, _: &WriteToken, digest: &KeyDigest) -> bool {
        let (shard, hash) = self.locate(digest);
        shard.find(hash, digest).is_some()
    }

    /// Stores the record; returns the one it replaces, so that the caller can drop it after
    /// unlocking.
    pub(super) fn put(&self, _: &mut WriteToken, record: &Arc<Fields>) -> Option<Arc<Fields>> {
        let (shard, hash) = self.locate(&record.digest);
        self.reserve(shard);
        let mut records = shard.write();
        let rehash = |record: &Arc<Fields>| self.hash(&record.digest);
        let old = match records.entry(hash, |other| other.digest == record.digest, rehash) {
            Entry::Occupied(mut entry) => Some(mem::replace(entry.get_mut(), Arc::clone(record))),
            Entry::Vacant(entry) => {
                entry.insert(Arc::clone(record));
                None
            }
        };
        drop(records);
        shard.state.advance();
        old
    }

    pub(super) fn remove(&self, _: &mut WriteToken, digest: &KeyDigest) -> Option<Arc<Fields>> {
        let (shard, hash) = self.locate(digest);
        let entry =
            shard.write().find_entry(hash, |record| record.digest == *digest).ok().map(|entry| entry.remove().0);
        shard.state.advance();
        entry
    }

    /// Makes space for one more record. Readers use the old table while the new one is filled.
    fn reserve(&self, shard: &TableShard) {
        let full = shard.read();
        if full.len() < full.capacity() {
            return;
        }
        let mut grown = HashTable::with_capacity(full.len() * 4 / 3 + 1);
        for record in full.iter() {
            grown.insert_unique(self.hash(&record.digest), Arc::clone(record), |record| self.hash(&record.digest));
        }
        drop(full);
        let full = mem::replace(&mut *shard.write(), grown);
        drop(full);
    }

    #[inline]
    fn locate(&self, digest: &KeyDigest) -> (&TableShard, u64) {
        let hash = self.hash(digest);
        // The table takes its tags from the highest bits and its buckets from the lowest.
        let [.., shard, _] = hash.to_le_bytes();
        (&self.shards[usize::from(shard)], hash)
    }

    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "both halves are used")]
    fn hash(&self, digest: &KeyDigest) -> u64 {
        let [word, ..] = digest.as_bytes().as_chunks::<8>().0 else { unreachable!("a digest has 32 bytes") };
        // Folding the product makes each bit depend on every bit of the word.
        let product = u128::from(u64::from_le_bytes(*word)) * u128::from(self.seed);
        (product >> 64) as u64 ^ product as u64
    }
}

impl Default for DigestTable {
    fn default() -> Self {
        let shards = Box::new(array::from_fn(|_| TableShard::default()));
        Self { seed: RandomState::new().hash_one(()) | 1, shards }
    }
}

impl TableShard {
    #[inline]
    fn find(&self, hash: u64, digest: &KeyDigest) -> Option<Arc<Fields>> {
        self.read().find(hash, |record| record.digest == *digest).cloned()
    }

    /// Nothing panics under the write lock, so a poisoned lock is still consistent.
    fn read(&self) -> RwLockReadGuard<'_, HashTable<Arc<Fields>>> {
        self.records.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashTable<Arc<Fields>>> {
        self.records.write().unwrap_or_else(PoisonError::into_inner)
    }
}
