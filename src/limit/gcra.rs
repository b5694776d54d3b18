//! The generic cell rate algorithm (GCRA, ITU-T I.371): numbers in, a verdict out.
//!
//! The state of a rate is one number: the time at which its burst is full again. A request moves
//! that time by one increment, and passes if the time is then at most one burst ahead of now. So a
//! rate admits at most `burst + rate × T` requests in any time T.

/// A rate, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Gcra {
    /// The time that one request takes up.
    increment: u64,
    /// The time that a full burst takes up.
    tolerance: u64,
}

/// Why a request does not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    /// It passes after this time, unless others come first.
    For(u64),
    /// It never passes: its cost is above the burst.
    Forever,
}

/// The longest burst: 146 years, so that no sum with a time of a process overflows.
pub(super) const LONGEST: u64 = 1 << 62;

impl Gcra {
    /// Returns a rate of `count` requests in `period` nanoseconds. Rounds the increment up, so that
    /// it never admits more. Returns `None` if a burst would take longer than [`LONGEST`].
    pub(super) fn new(count: u64, period: u64, burst: u64) -> Option<Self> {
        if count == 0 || burst == 0 {
            return Some(Self { increment: LONGEST, tolerance: 0 });
        }
        let increment = period.div_ceil(count);
        let tolerance = increment.checked_mul(burst).filter(|tolerance| *tolerance <= LONGEST)?;
        Some(Self { increment, tolerance })
    }

    /// Returns the state after a charge of `cost` at `now`. `full_at` is the state before it, and
    /// `whole` the cost of the request, of which the charge may be a part.
    #[inline]
    pub(super) fn admit(self, full_at: u64, now: u64, cost: u64, whole: u64) -> Result<u64, Full> {
        if self.increment.saturating_mul(whole) > self.tolerance {
            return Err(Full::Forever);
        }
        let charged = full_at.max(now).saturating_add(self.increment.saturating_mul(cost));
        match (charged - now).saturating_sub(self.tolerance) {
            0 => Ok(charged),
            wait => Err(Full::For(wait)),
        }
    }

    /// Returns the state after a request of this cost that cannot be rejected any more. The rate
    /// goes into debt by at most one burst.
    pub(super) fn charge(self, full_at: u64, now: u64, cost: u64) -> u64 {
        let most = now.saturating_add(self.tolerance.saturating_mul(2)).max(full_at);
        full_at.max(now).saturating_add(self.increment.saturating_mul(cost)).min(most)
    }

    /// Returns the state after `cost` of a charge is given back. The charge has changed the state to
    /// `charged`.
    ///
    /// If others were charged since, only the part that is still ahead of now is given back: the
    /// time before that is over for them too. So nobody gets more than without the charge.
    pub(super) fn give_back(self, full_at: u64, charged: u64, now: u64, cost: u64) -> u64 {
        let time = self.increment.saturating_mul(cost);
        let ahead = if full_at == charged { time } else { time.min(charged.saturating_sub(now)) };
        full_at.saturating_sub(ahead)
    }

    /// Returns how many requests of cost 1 pass now.
    pub(super) fn remaining(self, full_at: u64, now: u64) -> u64 {
        if self.tolerance == 0 {
            return 0;
        }
        self.tolerance.saturating_sub(full_at.saturating_sub(now)) / self.increment
    }

    /// Returns after which time one more request of cost 1 would pass than now. `None` if the burst
    /// is full.
    pub(super) fn more_after(self, full_at: u64, now: u64) -> Option<u64> {
        let taken = full_at.checked_sub(now).filter(|taken| *taken > 0 && self.tolerance > 0)?;
        let rest = self.tolerance.saturating_sub(taken) % self.increment;
        Some(taken.saturating_sub(self.tolerance).saturating_add(self.increment - rest))
    }

    /// Returns the burst.
    pub(super) fn burst(self) -> u64 {
        self.tolerance / self.increment
    }

    /// Returns the time that a full burst takes up.
    pub(super) fn window(self) -> u64 {
        self.tolerance
    }
}
