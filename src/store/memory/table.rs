//! The records by their digests: read by everybody, written by one at a time.
//!
//! ```text
//! digest ── × seed ──▶ part ──▶ its set of records ──▶ record: its digest in its first line
//! ```
//!
//! A thread answers for the keys that it knows by itself: [`recall`]. For any other it reads one of 256 parts, which a change holds for no
//! longer than one record takes to be put in the place of another: a reader finds the old one or the new one, and never none. A part
//! that is full is copied, and the copy takes its place when it is complete.

use std::{
    array,
    borrow::Borrow,
    collections::HashSet,
    hash::{BuildHasher, Hash, Hasher, RandomState},
    mem,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use crate::{
    key::KeyDigest,
    record::{Fields, KeyRecord, State, recall, remember},
};

pub(super) struct Table {
    seed: Seed,
    parts: Box<[Part; 256]>,
}

/// Each grows for itself, so that no change waits for a copy of all records. On cache lines of its own: a part that is read is written to.
#[repr(align(128))]
struct Part {
    state: State,
    records: RwLock<Records>,
}

type Records = HashSet<ByDigest, Seed>;

/// A record, found by its digest.
#[derive(Clone)]
struct ByDigest(Arc<Fields>);

/// Odd, and known to nobody: whoever makes digests cannot tell which of them meet.
#[derive(Clone, Copy)]
struct Seed(u64);

/// Multiplies the eight bytes that a digest hands over for its hash.
struct Product {
    seed: u64,
    product: u64,
}

/// Whoever has it is the only one who writes.
#[derive(Default)]
pub(super) struct Pen(());

// === impl Table ===

impl Table {
    #[inline]
    pub(super) fn find(&self, digest: &KeyDigest) -> Option<KeyRecord> {
        let part = self.part(digest);
        // Before the search: what is changed meanwhile gets another stamp.
        let stamp = part.state.stamp();
        recall(digest, stamp).or_else(|| Some(remember(part.find(digest)?, stamp)))
    }

    /// For whoever writes: no handle of the thread comes or goes, and with it none of a record that is not kept any more.
    pub(super) fn has(&self, _: &Pen, digest: &KeyDigest) -> bool {
        self.part(digest).read().contains(digest)
    }

    /// Puts the record in the place of the one with its digest, and hands that one out: its values may do whatever they like when they go.
    pub(super) fn put(&self, _: &mut Pen, record: &Arc<Fields>) -> Option<Arc<Fields>> {
        let part = self.part(&record.digest);
        self.make_room(part);
        let old = part.write().replace(ByDigest(Arc::clone(record)));
        part.state.changed();
        old.map(|ByDigest(old)| old)
    }

    pub(super) fn remove(&self, _: &mut Pen, digest: &KeyDigest) -> Option<Arc<Fields>> {
        let part = self.part(digest);
        let old = part.write().take(digest);
        part.state.changed();
        old.map(|ByDigest(old)| old)
    }

    /// For one more, before anybody is kept from reading.
    fn make_room(&self, part: &Part) {
        let records = part.read();
        if records.len() < records.capacity() {
            return;
        }
        let len = records.len();
        let mut grown = Records::with_capacity_and_hasher(len + len / 4 + 1, self.seed);
        grown.extend(records.iter().cloned());
        drop(records);
        let full = mem::replace(&mut *part.write(), grown);
        drop(full);
    }

    #[inline]
    fn part(&self, digest: &KeyDigest) -> &Part {
        // Bits that the set itself looks at last.
        let [.., part, _] = self.seed.hash_one(digest).to_le_bytes();
        &self.parts[usize::from(part)]
    }
}

impl Default for Table {
    fn default() -> Self {
        let seed = Seed::default();
        let part = || Part { state: State::default(), records: RwLock::new(Records::with_hasher(seed)) };
        Self { seed, parts: Box::new(array::from_fn(|_| part())) }
    }
}

impl Part {
    fn find(&self, digest: &KeyDigest) -> Option<Arc<Fields>> {
        self.read().get(digest).map(|ByDigest(record)| Arc::clone(record))
    }

    /// Nothing panics while it is written, so a poisoned lock is as good as new.
    fn read(&self) -> RwLockReadGuard<'_, Records> {
        self.records.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Records> {
        self.records.write().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl ByDigest ===

impl Borrow<KeyDigest> for ByDigest {
    fn borrow(&self) -> &KeyDigest {
        &self.0.digest
    }
}

impl PartialEq for ByDigest {
    fn eq(&self, other: &Self) -> bool {
        self.0.digest == other.0.digest
    }
}

impl Eq for ByDigest {}

impl Hash for ByDigest {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.digest.hash(state);
    }
}

// === impl Seed, Product ===

impl Default for Seed {
    fn default() -> Self {
        Self(RandomState::new().hash_one(()) | 1)
    }
}

impl BuildHasher for Seed {
    type Hasher = Product;

    fn build_hasher(&self) -> Product {
        Product { seed: self.0, product: 0 }
    }
}

impl Hasher for Product {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(self.product ^ u64::from_le_bytes(word));
        }
    }

    /// All bits of the product, folded, so that each depends on each of the word.
    #[expect(clippy::cast_possible_truncation, reason = "both halves are asked for")]
    fn write_u64(&mut self, word: u64) {
        let product = u128::from(word) * u128::from(self.seed);
        self.product = (product >> 64) as u64 ^ product as u64;
    }

    fn finish(&self) -> u64 {
        self.product
    }
}
