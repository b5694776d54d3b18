//! Whether an answer from memory may still be given. Instants in, yes or no out.
//!
//! Knows no store, no cache and no clock, and takes its atomics from the module around it: `tests/interleavings.rs` puts loom's there, and
//! goes through the orders in which threads can meet here, with up to three preemptions.
//!
//! ```text
//! follower   a change is told ─▶ the epoch moves on          a heartbeat comes back ─▶ proven = when it was sent
//! look-up    note the epoch ─▶ ask the store ─▶ keep the answer with the noted epoch
//! request    read proven ─▶ read the epoch ─▶ is the proof young enough, and the epoch still the noted one?
//! ```
//!
//! The order of each line is what makes it right. Whatever was committed before a heartbeat was sent has moved its epoch on
//! before that heartbeat is seen to be proven; so an entry whose epoch stands was true when the heartbeat was sent, or later.

use super::atomics::{AtomicU32, AtomicU64, Ordering};

pub(super) struct Freshness {
    /// One more than the instant at which the newest heartbeat that came back was sent; 0 before the first.
    proven: AtomicU64,
    /// How often it was told that any key may have been changed: after each loss of the channel, and by `Invalidation::All`.
    gaps: AtomicU32,
    /// For each of the last gaps, what had been proven when it came.
    proven_before: [AtomicU64; GAPS_KEPT],
    /// How often keys were changed, by the first bytes of their digests.
    changes: Box<[AtomicU32]>,
}

/// Which changes an answer has seen: the gaps, and those of its key.
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

    /// To be noted before the store is asked.
    pub(super) fn epoch(&self, slot: usize) -> Epoch {
        Epoch { gap: self.gaps.load(Ordering::Acquire), change: self.changes[slot].load(Ordering::Acquire) }
    }

    /// A key was changed: what was kept of it, or is being looked up, is worth nothing any more.
    pub(super) fn changed(&self, slot: usize) {
        self.changes[slot].fetch_add(1, Ordering::AcqRel);
    }

    /// Any key may have been changed. Told by one thread alone.
    pub(super) fn changed_all(&self) {
        let gap = self.gaps.load(Ordering::Acquire);
        self.proven_before[gap as usize % GAPS_KEPT].store(self.proven.load(Ordering::Acquire), Ordering::Release);
        self.gaps.store(gap.wrapping_add(1), Ordering::Release);
    }

    /// A heartbeat came back that was sent at `sent`, and every change that was committed before it has been told.
    pub(super) fn prove(&self, sent: u64) {
        self.proven.store(sent + 1, Ordering::Release);
    }

    /// Whether an answer of the noted epoch was still true at `since`.
    pub(super) fn is_fresh(&self, slot: usize, noted: Epoch, since: u64) -> bool {
        // In this order: what was told before the proof has moved the epoch on before the epoch is read.
        self.is_proven(since) && self.is_current(slot, noted)
    }

    /// The same for an answer from before a gap: whether it was true at `since` for all that was known then, and nothing was told of the key later.
    pub(super) fn was_fresh_at(&self, slot: usize, noted: Epoch, since: u64) -> bool {
        // In this order: a place in the ring that was taken by a later gap is seen to be too far away.
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

    /// Whether every change that was committed before `since` is known here.
    pub(super) fn is_proven(&self, since: u64) -> bool {
        self.proven.load(Ordering::Acquire) > since
    }

    /// The last instant at which what is proven by now counts. To be read before the epoch, as in `trusts`: then an answer whose epoch stands may be given
    /// until then.
    pub(super) fn proven_until(&self, lease: u64) -> u64 {
        self.proven.load(Ordering::Acquire).checked_sub(1).map_or(0, |sent| sent.saturating_add(lease))
    }

    /// Whether no change was told since the epoch was noted.
    pub(super) fn is_current(&self, slot: usize, noted: Epoch) -> bool {
        self.epoch(slot) == noted
    }

    /// Whether no change of the key itself was told since.
    pub(super) fn is_unchanged(&self, slot: usize, noted: Epoch) -> bool {
        self.epoch(slot).change == noted.change
    }
}
