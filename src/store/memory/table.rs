//! The records by their digests: read by everybody without a lock, written by one at a time.
//!
//! ```text
//! digest ── × seed ──▶ part ──▶ group: seven tags, seven records ──▶ record: its digest in its first line
//! ```
//!
//! A look-up waits for memory twice, if no cache of the processor holds what it needs. A change puts one record in the place of another
//! in one step: a reader finds the old one or the new one, and never none. A part that is full is copied, and the copy takes its place
//! when it is complete.

use std::{
    array,
    hash::{BuildHasher, RandomState},
    sync::Arc,
};

use arc_swap::ArcSwapOption;

use super::{
    group::Tag,
    groups::{Full, Groups, Start},
};
use crate::{
    key::KeyDigest,
    record::{Fields, KeyRecord, State, recall, remember},
};

pub(super) struct Table {
    /// Odd, and known to nobody: whoever makes digests cannot tell which of them meet.
    seed: u64,
    parts: Box<[Part; 256]>,
}

/// Each grows for itself, so that no change waits for a copy of all records.
#[derive(Default)]
struct Part {
    state: State,
    groups: ArcSwapOption<Groups>,
}

/// Whoever has it is the only one who writes.
#[derive(Default)]
pub(super) struct Pen(());

// === impl Table ===

impl Table {
    #[inline]
    pub(super) fn find(&self, digest: &KeyDigest) -> Option<KeyRecord> {
        let (part, start) = self.start(digest);
        // Before the search: what is changed meanwhile gets another stamp.
        let stamp = part.state.stamp();
        recall(digest, stamp).or_else(|| part.find(start, digest).map(|found| remember(found, stamp)))
    }

    /// For whoever writes: no handle of the thread comes or goes, and with it none of a record that is not kept any more.
    pub(super) fn has(&self, _: &Pen, digest: &KeyDigest) -> bool {
        let (part, start) = self.start(digest);
        part.find(start, digest).is_some()
    }

    /// Puts the record in the place of the one with its digest, and hands that one out: its values may do whatever they like when they go.
    pub(super) fn put(&self, _: &mut Pen, record: &Arc<Fields>) -> Option<Arc<Fields>> {
        let (part, start) = self.start(&record.digest);
        let put = part.groups.load().as_ref().map_or(Err(Full), |groups| groups.put(start, record));
        let old = put.unwrap_or_else(|Full| {
            self.grow(part, start, record);
            None
        });
        part.state.changed();
        old
    }

    pub(super) fn remove(&self, _: &mut Pen, digest: &KeyDigest) -> Option<Arc<Fields>> {
        let (part, start) = self.start(digest);
        let old = part.groups.load().as_ref().and_then(|groups| groups.remove(start, digest));
        part.state.changed();
        old
    }

    #[cold]
    fn grow(&self, part: &Part, start: Start, record: &Arc<Fields>) {
        let records: Vec<_> = part.groups.load().iter().flat_map(|groups| groups.records()).collect();
        let groups = Groups::for_records(records.len() + 1);
        let all = records.iter().map(|record| (self.start(&record.digest).1, record));
        for (start, record) in all.chain([(start, record)]) {
            // It has room for all of them.
            let _ = groups.put(start, record);
        }
        part.groups.store(Some(Arc::new(groups)));
    }

    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "both halves are asked for")]
    fn start(&self, digest: &KeyDigest) -> (&Part, Start) {
        let [word, ..] = digest.as_bytes().as_chunks::<8>().0 else { unreachable!("a digest has 32 bytes") };
        // All bits of the product, folded, so that each depends on each of the word.
        let product = u128::from(u64::from_le_bytes(*word)) * u128::from(self.seed);
        let [part, tag, _, _, group @ ..] = ((product >> 64) as u64 ^ product as u64).to_le_bytes();
        (&self.parts[usize::from(part)], Start { group: u32::from_le_bytes(group) as usize, tag: Tag::new(tag) })
    }
}

impl Default for Table {
    fn default() -> Self {
        let parts = Box::new(array::from_fn(|_| Part::default()));
        Self { seed: RandomState::new().hash_one(()) | 1, parts }
    }
}

impl Part {
    #[inline]
    fn find(&self, start: Start, digest: &KeyDigest) -> Option<Arc<Fields>> {
        self.groups.load().as_ref()?.find(start, digest)
    }
}
