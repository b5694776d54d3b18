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
};

/// What one thread holds of a count.
#[derive(Debug)]
pub(super) struct Lane {
    /// How many requests are left, in the low byte, and until when, in the other bits.
    held: AtomicU64,
    /// How many requests it took last.
    taken: AtomicU64,
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
    pub(super) fn charge(&self, count: &Count, thread: u64, rate: Gcra, now: u64) -> Result<u64, Full> {
        let held = self.held.load(Ordering::Relaxed);
        if has_one(held, now) && self.replace(held, held - 1) {
            return Ok(PAID);
        }
        let is_shared = count.charged_by(thread);
        if !(is_shared && self.take(count, rate, now, held)) {
            count.change(|state| rate.admit(state, now, 1, 1))?;
        }
        Ok(rate.over_at(now, 1))
    }

    /// Takes several requests at once, if this thread has used up what it took before. Returns
    /// whether it has taken any: one of them is for the present request.
    #[cold]
    fn take(&self, count: &Count, rate: Gcra, now: u64, held: u64) -> bool {
        let was_used_up = now < held & !LEFT;
        let next = if was_used_up { 2 * self.taken.load(Ordering::Relaxed) } else { 1 };
        let requests = next.min(rate.most_leased());
        let takes = requests > 1;
        if takes && count.change(|state| rate.lease(state, now, requests).ok_or(())).is_err() {
            return false;
        }
        self.taken.store(requests, Ordering::Relaxed);
        self.replace(held, now.saturating_add(LEASE) & !LEFT | requests.saturating_sub(1));
        takes
    }

    /// Replaces what the lane holds, unless another thread has changed it: then what this one has
    /// taken is lost.
    fn replace(&self, held: u64, new: u64) -> bool {
        self.held.compare_exchange(held, new, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

#[inline]
fn has_one(held: u64, now: u64) -> bool {
    held & LEFT > 0 && now < held & !LEFT
}
