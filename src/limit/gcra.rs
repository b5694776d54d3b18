//! The generic cell rate algorithm (GCRA, ITU-T I.371): numbers in, a verdict out.
//!
//! The state of a rate is one number: the time at which its burst is full again. A request moves
//! that time by one increment, and passes if the time is then at most one burst ahead of now. So a
//! rate admits at most `burst + rate × T` requests in any time T.
//!
//! A thread may take several requests at once and use them later, for up to [`LEASE`]: see
//! `lane.rs`. In any time T it uses what was taken in `T + LEASE`. So while such requests are out,
//! the rate admits as if its burst were shorter by `LEASE`, and the bound stays the same. One bit
//! of the state says so. It is cleared once the burst is full for that long: then all of them are
//! used or over.

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
    /// It passes if the store of meters has units for it.
    Ask,
}

/// The longest burst: 73 years, so that no sum with a time of a process or a calendar overflows.
pub(super) const LONGEST: u64 = 1 << 61;

/// How long a thread may keep requests that it has taken.
pub(super) const LEASE: u64 = 10_000_000;

/// The bit of a state that says that threads keep requests.
const IS_LEASED: u64 = 1 << 63;

impl Gcra {
    /// Returns a rate of `count` requests in `period` nanoseconds. Rounds the increment up, so that
    /// it never admits more. Returns `None` if a burst would take longer than [`LONGEST`].
    pub(super) fn new(count: u64, period: u64, burst: u64) -> Option<Self> {
        if count == 0 || burst == 0 {
            return Some(Self { increment: LONGEST, tolerance: 0 });
        }
        let increment = period.div_ceil(count).max(1);
        let tolerance = increment.checked_mul(burst).filter(|tolerance| *tolerance <= LONGEST)?;
        Some(Self { increment, tolerance })
    }

    /// Returns the rate with these numbers, which a node has computed.
    pub(super) fn of(increment: u64, tolerance: u64) -> Self {
        Self { increment: increment.clamp(1, LONGEST), tolerance: tolerance.min(LONGEST) }
    }

    /// Returns the increment and the tolerance.
    pub(super) fn numbers(self) -> [u64; 2] {
        [self.increment, self.tolerance]
    }

    /// Returns how many requests of cost 1 are admitted at most in so many nanoseconds.
    pub(super) fn bound(self, time: u64) -> u64 {
        if self.tolerance == 0 { 0 } else { self.burst().saturating_add(self.charges_in(time)) }
    }

    /// Returns how many charges of 1 fill up in so many nanoseconds.
    pub(super) fn charges_in(self, time: u64) -> u64 {
        time / self.increment
    }

    /// Returns the share of one of so many nodes, and its state without a burst at `now`.
    pub(super) fn share(self, nodes: u32, now: u64) -> (Self, u64) {
        let increment = self.increment.saturating_mul(nodes.max(1).into()).min(LONGEST);
        let share = Self { increment, tolerance: self.tolerance.max(increment) };
        (share, now.saturating_add(share.tolerance))
    }

    /// Returns the state, if a charge before `now` can have made it, or else that of a used burst.
    pub(super) fn full_at(self, state: u64, now: u64) -> u64 {
        state.min(now.saturating_add(self.tolerance))
    }

    /// Returns the state after a charge that is known to pass.
    pub(super) fn charge_all(self, state: u64, now: u64, cost: u64) -> u64 {
        self.after(parts(state).0, now, cost)
    }

    /// Returns the state after a charge of `cost` at `now`. `whole` is the cost of the request, of
    /// which the charge may be a part.
    #[inline]
    pub(super) fn admit(self, state: u64, now: u64, cost: u64, whole: u64) -> Result<u64, Full> {
        if self.increment.saturating_mul(whole) > self.tolerance {
            return Err(Full::Forever);
        }
        let (full_at, leased) = parts(state);
        let is_leased = leased > 0 && full_at.saturating_add(LEASE) > now;
        let tolerance = if is_leased { self.tolerance.saturating_sub(LEASE) } else { self.tolerance };
        let charged = self.after(full_at, now, cost);
        match (charged - now).saturating_sub(tolerance) {
            0 if is_leased => Ok(charged | IS_LEASED),
            0 => Ok(charged),
            wait => Err(Full::For(wait)),
        }
    }

    /// Returns the state after a thread has taken this many requests at once, which it uses within
    /// [`LEASE`]. Returns `None` if that would take more than half of the burst: what a thread
    /// does not use is lost, and a caller that is near its limit must lose nothing.
    pub(super) fn lease(self, state: u64, now: u64, requests: u64) -> Option<u64> {
        let charged = self.after(parts(state).0, now, requests);
        (charged - now <= self.tolerance / 2).then_some(charged | IS_LEASED)
    }

    /// Returns how many requests a thread takes at once at most: so few that several threads leave
    /// most of the burst to others. 1 for a burst that is too short for that.
    pub(super) fn most_leased(self) -> u64 {
        if self.tolerance < 8 * LEASE { 1 } else { (self.burst() / 32).clamp(1, 16) }
    }

    /// Returns the state after a request of this cost that cannot be rejected any more. The rate
    /// gets into debt by at most one burst.
    pub(super) fn charge(self, state: u64, now: u64, cost: u64) -> u64 {
        let (full_at, leased) = parts(state);
        let most = now.saturating_add(self.tolerance.saturating_mul(2)).max(full_at);
        self.after(full_at, now, cost).min(most) | leased
    }

    /// Returns when time has filled up a charge of `cost` at `now`.
    #[inline]
    pub(super) fn over_at(self, now: u64, cost: u64) -> u64 {
        now.saturating_add(self.increment.saturating_mul(cost))
    }

    /// Returns the state after `cost` of a charge is given back, except what time has filled up
    /// since. `over_at` is that of the charge.
    ///
    /// So no caller gets more than without the charge, whatever else is charged and given back. The
    /// state is ahead of a state without the charges that are still to be given back. Time shortens
    /// this lead only while the other state is full, and then it shortens each of them as well.
    pub(super) fn give_back(self, state: u64, over_at: u64, now: u64, cost: u64) -> u64 {
        let (full_at, leased) = parts(state);
        let time = self.increment.saturating_mul(cost).min(over_at.saturating_sub(now));
        full_at.saturating_sub(time) | leased
    }

    /// Returns the state after a charge of 1 is given back, which was made at `at`, and how much of
    /// it time has filled up since: that part is not given back.
    pub(super) fn give_back_one(self, state: u64, at: u64, now: u64) -> (u64, u64) {
        // A lane may have taken it before.
        let taken_at = if parts(state).1 > 0 { at.saturating_sub(LEASE) } else { at };
        let over_at = self.over_at(taken_at, 1);
        let missing = self.increment.saturating_sub(over_at.saturating_sub(now));
        (self.give_back(state, over_at, now, 1), missing)
    }

    /// Returns how many requests of cost 1 pass now.
    pub(super) fn remaining(self, state: u64, now: u64) -> u64 {
        if self.tolerance == 0 {
            return 0;
        }
        self.tolerance.saturating_sub(Self::full_after(state, now)) / self.increment
    }

    /// Returns the time until the burst is full again.
    pub(super) fn full_after(state: u64, now: u64) -> u64 {
        parts(state).0.saturating_sub(now)
    }

    /// Returns whether a state equals a new one.
    pub(super) fn is_fresh(state: u64, now: u64) -> bool {
        let (full_at, leased) = parts(state);
        full_at.saturating_add(if leased > 0 { LEASE } else { 0 }) <= now
    }

    /// Returns after which time one more request of cost 1 would pass than now. `None` if the burst
    /// is full.
    pub(super) fn more_after(self, state: u64, now: u64) -> Option<u64> {
        let taken = Some(Self::full_after(state, now)).filter(|taken| *taken > 0 && self.tolerance > 0)?;
        let rest = self.tolerance.saturating_sub(taken) % self.increment;
        Some(taken.saturating_sub(self.tolerance).saturating_add(self.increment - rest))
    }

    /// Returns the burst.
    pub(super) fn burst(self) -> u64 {
        self.tolerance / self.increment
    }

    /// Returns the time in which a full burst is allowed, as the plan says it: not longer, although
    /// each increment is rounded up. Three a second are in a window of one second.
    pub(super) fn window(self) -> u64 {
        self.tolerance - self.burst().min(self.tolerance / 128)
    }

    #[inline]
    fn after(self, full_at: u64, now: u64, cost: u64) -> u64 {
        full_at.max(now).saturating_add(self.increment.saturating_mul(cost))
    }
}

/// Returns the time at which a burst is full, and the bit that says that threads keep
/// requests.
#[inline]
fn parts(state: u64) -> (u64, u64) {
    (state & !IS_LEASED, state & IS_LEASED)
}
