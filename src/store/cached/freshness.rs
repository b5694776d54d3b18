//! Decides whether a cached result may still be used, from instants and epochs alone.
//!
//! This module depends on no store, cache or clock. It takes its atomics from its parent module:
//! `tests/behaviour/interleavings.rs` replaces them with loom's and explores all thread
//! interleavings with up to three preemptions.
//!
//! ```text
//! follower   change arrives ─▶ advance the epoch    heartbeat returns ─▶ proven = time of sending
//! lookup     read the epoch ─▶ query the store ─▶ insert the result with that epoch
//! request    read proven ─▶ read the epoch ─▶ use the entry if proof and epoch are current
//! ```
//!
//! Correctness depends on the order within each line. A change that was committed before a
//! heartbeat was sent advances its epoch before that heartbeat counts as proven. So an entry with
//! an unchanged epoch was true when the heartbeat was sent, or later.

use super::atomics::{AtomicU32, AtomicU64, Ordering};

pub(super) struct Freshness {
    /// One more than the instant at which the newest heartbeat that came back was sent; 0 before
    /// the first one.
    proven: AtomicU64,
    /// The number of gaps. A gap is a loss of the feed or an `Invalidation::All`: any key may have
    /// changed.
    gaps: AtomicU32,
    /// The value of `proven` at each of the last gaps.
    proven_before: [AtomicU64; GAPS_KEPT],
    /// The number of changes per slot. A slot holds the keys with equal first digest bytes.
    changes: Box<[AtomicU32]>,
}

/// The number of gaps, and of changes in the slot of a key, before a lookup began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Epoch {
    gap: u32,
    change: u32,
}

const GAPS_KEPT: usize = 8;

// === impl Freshness ===

impl Freshness {
    pub(super) fn new(slots: usize) -> Self {
        Self {
            proven: AtomicU64::new(0),
            gaps: AtomicU32::new(0),
            proven_before: std::array::from_fn(|_| AtomicU64::new(0)),
            changes: (0..slots).map(|_| AtomicU32::new(0)).collect(),
        }
    }

    /// Returns the current epoch. Read it before querying the store.
    pub(super) fn epoch(&self, slot: usize) -> Epoch {
        Epoch { gap: self.gaps.load(Ordering::Acquire), change: self.changes[slot].load(Ordering::Acquire) }
    }

    /// Invalidates the entries and the lookups in flight of all keys in the slot.
    pub(super) fn changed(&self, slot: usize) {
        self.changes[slot].fetch_add(1, Ordering::AcqRel);
    }

    /// Invalidates all entries. Must be called by one thread at a time.
    pub(super) fn changed_all(&self) {
        let gap = self.gaps.load(Ordering::Acquire);
        self.proven_before[gap as usize % GAPS_KEPT].store(self.proven.load(Ordering::Acquire), Ordering::Release);
        self.gaps.store(gap.wrapping_add(1), Ordering::Release);
    }

    /// Records that a heartbeat sent at `sent` has come back, so every change committed before it
    /// has been applied.
    pub(super) fn prove(&self, sent: u64) {
        self.proven.store(sent + 1, Ordering::Release);
    }

    /// Returns whether a result with the noted epoch was still true at `since`.
    pub(super) fn is_fresh(&self, slot: usize, noted: Epoch, since: u64) -> bool {
        // Read `proven` before the epoch. The epoch then includes every change that was reported
        // before `proven` was set.
        self.is_proven(since) && self.is_current(slot, noted)
    }

    /// Returns the same as [`is_fresh`](Self::is_fresh), but also accepts a result from before a
    /// gap, if it was proven true at `since` and no change of its key was reported later.
    pub(super) fn was_fresh_at(&self, slot: usize, noted: Epoch, since: u64) -> bool {
        // Read the ring before the number of gaps. If a later gap has overwritten this element, the
        // number shows that the noted gap is too old.
        let proven_before = self.proven_before[noted.gap as usize % GAPS_KEPT].load(Ordering::Acquire);
        let proven = self.proven.load(Ordering::Acquire);
        let now = self.epoch(slot);
        let proven = match now.gap.wrapping_sub(noted.gap) as usize {
            0 => proven,
            1..GAPS_KEPT => proven_before,
            _ => 0,
        };
        proven > since && now.change == noted.change
    }

    /// Returns whether every change committed before `since` has been applied.
    pub(super) fn is_proven(&self, since: u64) -> bool {
        self.proven.load(Ordering::Acquire) > since
    }

    /// Returns the end of the current lease. Read it before the epoch, as
    /// [`is_fresh`](Self::is_fresh) does: then a result with an unchanged epoch may be used until
    /// that instant.
    pub(super) fn proven_until(&self, lease: u64) -> u64 {
        self.proven.load(Ordering::Acquire).checked_sub(1).map_or(0, |sent| sent.saturating_add(lease))
    }

    /// Returns whether no change and no gap was reported since the epoch was noted.
    pub(super) fn is_current(&self, slot: usize, noted: Epoch) -> bool {
        self.epoch(slot) == noted
    }

    /// Returns whether no change of the slot was reported since the epoch was noted; gaps do not
    /// count.
    pub(super) fn is_unchanged(&self, slot: usize, noted: Epoch) -> bool {
        self.epoch(slot).change == noted.change
    }
}
