//! Requests that a thread has taken from a count at once, so that threads which serve the same key
//! do not wait for one another at each request.
//!
//! A thread takes several only while other threads charge the same count, and twice as many each
//! time as long as it uses them up in time. What it does not use within [`LEASE`] is lost to the
//! key, so that no window of time admits more.
//!
//! This file takes its atomics from its parent module, as `count.rs` does.

use super::{
    atomics::{AtomicU64, Ordering},
    count::Count,
    gcra::{Full, Gcra, LEASE},
    slice::Slice,
};

/// What one thread holds of a count.
#[derive(Debug)]
pub(super) struct Lane {
    /// How many requests are left, in the low byte, and until when, in the other bits.
    held: AtomicU64,
    /// How many requests it took last.
    taken: AtomicU64,
}

/// What a thread takes requests from.
pub(super) trait Source: Copy {
    /// Returns the state of the count after a charge of one request.
    fn admit_one(self, state: u64, now: u64) -> Result<u64, Full>;

    /// Returns the state after a thread has taken so many requests, unless that is too much.
    fn lease(self, state: u64, now: u64, requests: u64) -> Option<u64>;

    /// Returns until when a thread may keep what it has taken, by the state afterwards.
    fn leased_until(self, state: u64, now: u64) -> u64;

    /// Returns how many requests a thread takes at once at most.
    fn most_leased(self) -> u64;

    /// Returns the receipt of a charge of one request, by the state afterwards.
    fn receipt(self, state: u64, now: u64) -> u64;
}

const LEFT: u64 = 0xff;

/// The receipt of a charge that a lane has paid: nothing of it is given back.
pub(super) const PAID: u64 = 0;

impl Lane {
    pub(super) fn new() -> Self {
        Self { held: AtomicU64::new(0), taken: AtomicU64::new(0) }
    }

    /// Returns whether a request is left.
    #[inline]
    pub(super) fn has_one(&self, now: u64) -> bool {
        has_one(self.held.load(Ordering::Relaxed), now)
    }

    /// Charges one request to the lane, or else to the count. Returns its receipt. `thread` is the
    /// number of this thread.
    #[inline]
    pub(super) fn charge(&self, count: &Count, thread: u32, source: impl Source, now: u64) -> Result<u64, Full> {
        let held = self.held.load(Ordering::Relaxed);
        if has_one(held, now) && self.replace(held, held - 1) {
            return Ok(PAID);
        }
        let is_shared = count.charged_by(thread);
        if is_shared && let Some(taken) = self.take(count, source, now, held) {
            return Ok(source.receipt(taken, now));
        }
        count.change(|state| source.admit_one(state, now)).map(|charged| source.receipt(charged, now))
    }

    /// Takes several requests at once, if this thread has used up what it took before. Returns
    /// the state of the count if it has taken any: one of them is for the present request.
    #[cold]
    fn take(&self, count: &Count, source: impl Source, now: u64, held: u64) -> Option<u64> {
        let was_used_up = now < held & !LEFT;
        let next = if was_used_up { 2 * self.taken.load(Ordering::Relaxed) } else { 1 };
        let requests = next.min(source.most_leased());
        if requests <= 1 {
            self.taken.store(requests, Ordering::Relaxed);
            self.replace(held, now.saturating_add(LEASE) & !LEFT);
            return None;
        }
        let taken = count.change(|state| source.lease(state, now, requests).ok_or(())).ok()?;
        self.taken.store(requests, Ordering::Relaxed);
        self.replace(held, source.leased_until(taken, now) & !LEFT | (requests - 1));
        Some(taken)
    }

    /// Replaces what the lane holds, unless another thread has changed it: then what this one has
    /// taken is lost.
    fn replace(&self, held: u64, new: u64) -> bool {
        self.held.compare_exchange(held, new, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

impl Source for Gcra {
    #[inline]
    fn admit_one(self, state: u64, now: u64) -> Result<u64, Full> {
        self.admit(state, now, 1, 1)
    }

    fn lease(self, state: u64, now: u64, requests: u64) -> Option<u64> {
        self.lease(state, now, requests)
    }

    fn leased_until(self, _state: u64, now: u64) -> u64 {
        now.saturating_add(LEASE)
    }

    fn most_leased(self) -> u64 {
        self.most_leased()
    }

    #[inline]
    fn receipt(self, _state: u64, now: u64) -> u64 {
        self.over_at(now, 1)
    }
}

impl Source for Slice {
    #[inline]
    fn admit_one(self, state: u64, now: u64) -> Result<u64, Full> {
        self.admit(state, now, 1, 1)
    }

    fn lease(self, state: u64, now: u64, requests: u64) -> Option<u64> {
        Self::lease(state, now, requests)
    }

    fn leased_until(self, state: u64, now: u64) -> u64 {
        Self::leased_until(state, now)
    }

    fn most_leased(self) -> u64 {
        16
    }

    #[inline]
    fn receipt(self, state: u64, _now: u64) -> u64 {
        state
    }
}

#[inline]
fn has_one(held: u64, now: u64) -> bool {
    held & LEFT > 0 && now < held & !LEFT
}
