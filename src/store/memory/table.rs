//! The records by their digests: read by everybody, written by one at a time.
//!
//! ```text
//! digest ── × seed ──▶ part ──▶ group: seven tags, seven records ──▶ record: its digest in its first line
//! ```
//!
//! A look-up waits for memory twice, if no cache of the processor holds what it needs. A thread answers for the keys that it knows by itself: [`recall`]. For any other it reads one of 256 parts, which a change holds for no
//! longer than one record takes to be put in the place of another: a reader finds the old one or the new one, and never none. A part
//! that is full is copied, and the copy takes its place when it is complete.

use std::{
    array,
    hash::{BuildHasher, RandomState},
    mem,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use super::{
    group::Tag,
    groups::{Groups, ProbeStart},
};
use crate::{
    key::KeyDigest,
    record::{Fields, GenerationCounter, KeyRecord, get, insert},
};

pub(super) struct DigestTable {
    /// Odd, and known to nobody: whoever makes digests cannot tell which of them meet.
    seed: u64,
    parts: Box<[TableShard; 256]>,
}

/// Each grows for itself, so that no change waits for a copy of all records. On cache lines of its own: a part that is read is written to.
#[derive(Default)]
#[repr(align(128))]
struct TableShard {
    state: GenerationCounter,
    groups: RwLock<Groups>,
}

/// Whoever has it is the only one who writes.
#[derive(Default)]
pub(super) struct WriteToken(());

// === impl Table ===

impl DigestTable {
    #[inline]
    pub(super) fn find(&self, digest: &KeyDigest) -> Option<KeyRecord> {
        let (part, start) = self.start(digest);
        // Before the search: what is changed meanwhile gets another stamp.
        let stamp = part.state.generation();
        get(digest, stamp).or_else(|| Some(insert(part.find(start, digest)?, stamp)))
    }

    /// For whoever writes: no handle of the thread comes or goes, and with it none of a record that is not kept any more.
    pub(super) fn has(&self, _: &WriteToken, digest: &KeyDigest) -> bool {
        let (part, start) = self.start(digest);
        part.read().find(start, digest).is_some()
    }

    /// Puts the record in the place of the one with its digest, and hands that one out: its values may do whatever they like when they go.
    pub(super) fn put(&self, _: &mut WriteToken, record: &Arc<Fields>) -> Option<Arc<Fields>> {
        let (part, start) = self.start(&record.digest);
        self.make_room(part);
        let old = part.write().put(start, Arc::clone(record));
        part.state.advance();
        old
    }

    pub(super) fn remove(&self, _: &mut WriteToken, digest: &KeyDigest) -> Option<Arc<Fields>> {
        let (part, start) = self.start(digest);
        let old = part.write().remove(start, digest);
        part.state.advance();
        old
    }

    /// For one more, while everybody reads what there is.
    fn make_room(&self, part: &TableShard) {
        let full = part.read();
        if !full.is_full() {
            return;
        }
        let mut grown = Groups::for_records(full.records().count() + 1);
        for record in full.records() {
            let (_, start) = self.start(&record.digest);
            grown.put(start, Arc::clone(record));
        }
        drop(full);
        let full = mem::replace(&mut *part.write(), grown);
        drop(full);
    }

    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "both halves are asked for")]
    fn start(&self, digest: &KeyDigest) -> (&TableShard, ProbeStart) {
        let [word, ..] = digest.as_bytes().as_chunks::<8>().0 else { unreachable!("a digest has 32 bytes") };
        // All bits of the product, folded, so that each depends on each of the word.
        let product = u128::from(u64::from_le_bytes(*word)) * u128::from(self.seed);
        let [part, tag, _, _, group @ ..] = ((product >> 64) as u64 ^ product as u64).to_le_bytes();
        (&self.parts[usize::from(part)], ProbeStart { group: u32::from_le_bytes(group) as usize, tag: Tag::new(tag) })
    }
}

impl Default for DigestTable {
    fn default() -> Self {
        let parts = Box::new(array::from_fn(|_| TableShard::default()));
        Self { seed: RandomState::new().hash_one(()) | 1, parts }
    }
}

impl TableShard {
    #[inline]
    fn find(&self, start: ProbeStart, digest: &KeyDigest) -> Option<Arc<Fields>> {
        self.read().find(start, digest).cloned()
    }

    /// Nothing panics while it is written, so a poisoned lock is as good as new.
    fn read(&self) -> RwLockReadGuard<'_, Groups> {
        self.groups.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Groups> {
        self.groups.write().unwrap_or_else(PoisonError::into_inner)
    }
}
