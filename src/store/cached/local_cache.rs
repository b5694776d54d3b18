//! What a thread has found in memory lately, kept where no other thread is: a hit takes no lock, and touches nothing that others write.
//!
//! A key holds its place for a term, and is answered from there while its epoch stands. Another key that would have the place is answered from
//! the map meanwhile. When the term is over, whoever asks first goes to the map and gets the place: so the map learns which keys are in
//! use, and pushes others out.
//!
//! Nothing is trusted here for longer than in the map: the term ends with the proof and with the age that an answer may have.

use std::{
    cell::RefCell,
    sync::atomic::{AtomicU64, Ordering},
};

use tokio::time::Instant;

use super::{entries::CacheEntry, freshness::Epoch};
use crate::{key::KeyDigest, record::KeyRecord};

/// Tells the caches of a process apart. Given once, unlike an address.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct CacheId(u64);

/// A key, in which cache, what was found, and the end of its term.
pub(super) struct LocalEntry {
    pub(super) cache: CacheId,
    pub(super) digest: KeyDigest,
    pub(super) entry: CacheEntry<KeyRecord>,
    pub(super) until: Instant,
}

/// What a thread has for a key.
pub(super) enum LocalHit {
    Hit(KeyRecord),
    /// Another key holds the place.
    Occupied,
    Vacant,
}

/// 10 ms.
pub(super) const SLOT_TTL: u64 = 10_000_000;

const PLACES: u8 = 64;

thread_local! {
    /// Empty before the first key is found.
    static NEAR: RefCell<Vec<Option<LocalEntry>>> = const { RefCell::new(Vec::new()) };
}

/// Looks in the place of this key: whether its epoch `stands`, only the caller knows.
pub(super) fn find(cache: CacheId, digest: &KeyDigest, now: Instant, stands: impl FnOnce(Epoch) -> bool) -> LocalHit {
    let found = NEAR.try_with(|near| match near.borrow().get(slot_index(digest)) {
        Some(Some(place)) if now <= place.until => match place.is_of(cache, digest) {
            true if stands(place.entry.epoch) => LocalHit::Hit(place.entry.value.clone()),
            true => LocalHit::Vacant,
            false => LocalHit::Occupied,
        },
        _ => LocalHit::Vacant,
    });
    // A thread that ends has no places any more.
    found.unwrap_or(LocalHit::Occupied)
}

/// Gives a key its place, which is free. Returns the record as it is to be given out.
pub(super) fn insert(new: LocalEntry) -> KeyRecord {
    let mut left = None;
    let kept = NEAR.try_with(|near| {
        let mut near = near.borrow_mut();
        if near.is_empty() {
            near.resize_with(PLACES.into(), || None);
        }
        let place = &mut near[slot_index(&new.digest)];
        match place {
            Some(held) if held.is_same_answer(&new) => held.until = new.until,
            _ => left = place.replace(new.with_own_handle()),
        }
        place.as_ref().map(|place| place.entry.value.clone())
    });
    // Here nothing is borrowed: the values in a record are the user's, and may look up a key as they are dropped.
    drop(left);
    kept.ok().flatten().unwrap_or(new.entry.value)
}

fn slot_index(digest: &KeyDigest) -> usize {
    let [.., last] = *digest.as_bytes();
    usize::from(last % PLACES)
}

// === impl CacheId ===

impl CacheId {
    pub(super) fn new() -> Self {
        static GIVEN: AtomicU64 = AtomicU64::new(0);
        Self(GIVEN.fetch_add(1, Ordering::Relaxed))
    }
}

// === impl Place ===

impl LocalEntry {
    fn is_of(&self, cache: CacheId, digest: &KeyDigest) -> bool {
        self.cache == cache && self.digest == *digest
    }

    fn is_same_answer(&self, other: &Self) -> bool {
        let (ours, others) = (&self.entry, &other.entry);
        self.is_of(other.cache, &other.digest) && ours.epoch == others.epoch && ours.asked_at == others.asked_at
    }

    /// The same, with a handle to the record that only this thread gives out.
    fn with_own_handle(&self) -> Self {
        let CacheEntry { value, epoch, asked_at } = &self.entry;
        let entry = CacheEntry { value: value.lent(), epoch: *epoch, asked_at: *asked_at };
        Self { cache: self.cache, digest: self.digest, entry, until: self.until }
    }
}
