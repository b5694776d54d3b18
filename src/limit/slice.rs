//! Units that a node has taken from a store of meters, and may spend until a time: numbers in, a
//! verdict out.
//!
//! The state is one number: the units that are left in the lower half, and in the upper half the
//! time until which they count. Whatever a node admits was taken from the store before.

use super::gcra::{Full, LEASE};

/// What a node may do with the units of one limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slice {
    pub(super) kind: SliceKind,
    /// A request of a larger cost never passes.
    pub(super) most: u64,
    /// How long before the end of units a node asks for others, in ticks.
    pub(super) ahead: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SliceKind {
    /// Units are over after a short time, since the rate at the store has filled up meanwhile.
    Rate,
    /// Units are over at the end of the period.
    Quota,
    Credits,
}

/// The resolution of an end: 17 ms. An end is rounded down. The numbers of ends begin again after
/// two years, so an end is compared with a time that is at most a year away.
pub(super) const TICK: u32 = 24;

/// The most units of a slice.
pub(super) const MOST_UNITS: u64 = u32::MAX as u64;

/// Half a day, in ticks: two ends of one period are closer to each other.
const SAME_PERIOD: u32 = tick(43_200_000_000_000);

/// The end of credits, counted from now: longer than any lease.
const LONG: u64 = 1 << 54;

/// Returns the state with so many units that count until `end`; `None` for those that never end.
pub(super) fn state(units: u64, end: Option<u64>, now: u64) -> u64 {
    (end.unwrap_or(now + LONG) >> TICK) << 32 | units.min(MOST_UNITS)
}

/// Returns the units that count at `now`.
#[inline]
pub(super) fn units(state: u64, now: u64) -> u64 {
    if is_over(state, now) { 0 } else { state & MOST_UNITS }
}

/// Returns whether the units of a state do not count any more.
#[inline]
pub(super) fn is_over(state: u64, now: u64) -> bool {
    ticks(state).wrapping_sub(tick(now)).cast_signed() <= 0
}

/// Returns the state with `more` units, at most [`MOST_UNITS`].
pub(super) fn add(state: u64, more: u64) -> u64 {
    state + more.min(MOST_UNITS - (state & MOST_UNITS))
}

/// Returns the state with the units of `more` too, which end as the others do; `more` if there are
/// no others.
pub(super) fn add_or(state: u64, more: u64, now: u64) -> u64 {
    if units(state, now) == 0 { more } else { add(state, units(more, now)) }
}

/// Returns the state without units, and with the same end.
pub(super) fn emptied(state: u64) -> u64 {
    state & !MOST_UNITS
}

/// Returns whether two states are of one period: their ends are about the same.
pub(super) fn is_same_period(one: u64, other: u64) -> bool {
    let between = ticks(one).wrapping_sub(ticks(other)).cast_signed();
    between.unsigned_abs() < SAME_PERIOD
}

impl Slice {
    /// Returns the state after a charge of `cost`, a part of the request's `whole` cost.
    #[inline]
    pub(super) fn admit(self, state: u64, now: u64, cost: u64, whole: u64) -> Result<u64, Full> {
        if whole > self.most {
            return Err(Full::Forever);
        }
        if units(state, now) >= cost { Ok(state - cost) } else { Err(Full::Ask) }
    }

    /// Returns whether it is time to ask for more: fewer units are left than `low`, or they end
    /// soon.
    #[inline]
    pub(super) fn is_low(self, state: u64, low: u32, now: u64) -> bool {
        let left = ticks(state).wrapping_sub(tick(now));
        low > 0 && (state & MOST_UNITS < low.into() || left < self.ahead)
    }

    /// Returns the state after a thread has taken this many requests at once. `None` if that would
    /// take more than a quarter.
    pub(super) fn lease(state: u64, now: u64, requests: u64) -> Option<u64> {
        (requests * 4 <= units(state, now)).then(|| state - requests)
    }

    /// Returns until when a thread may keep requests that it has taken from this state.
    pub(super) fn leased_until(state: u64, now: u64) -> u64 {
        let ticks = u64::from(ticks(state).wrapping_sub(tick(now)));
        now + LEASE.min((ticks << TICK).saturating_sub(1 << TICK))
    }

    /// Returns the state after `cost` of a charge is given back. `receipt` is the state after the
    /// charge. Units of a rate go back to their own slice, those of a quota to their own period.
    pub(super) fn give_back(self, state: u64, receipt: u64, now: u64, cost: u64) -> u64 {
        match self.kind {
            SliceKind::Rate if ticks(state) == ticks(receipt) && !is_over(state, now) => add(state, cost),
            SliceKind::Quota if is_same_period(state, receipt) && !is_over(state, now) => add(state, cost),
            SliceKind::Rate | SliceKind::Quota => state,
            SliceKind::Credits => self::state((state & MOST_UNITS) + cost, None, now),
        }
    }
}

/// Returns a time in ticks, rounded down.
pub(super) const fn tick(time: u64) -> u32 {
    #[allow(clippy::cast_possible_truncation, reason = "ends are compared modulo 2^32")]
    {
        (time >> TICK) as u32
    }
}

fn ticks(state: u64) -> u32 {
    (state >> 32) as u32
}
