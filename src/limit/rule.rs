//! What a limit does to its count: a rate, a quota, or a number of requests at the same time.
//!
//! A count is one `u64`. Numbers in, a verdict out: this file knows no clock and no other thread.

use super::{
    calendar::{DAY, Period},
    gcra::{Full, Gcra},
    slice::{self, Slice, SliceKind},
};

/// The rule of one limit for one subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    Rate(Gcra),
    Quota {
        most: u64,
        period: Period,
    },
    Concurrency {
        most: u64,
    },
    /// Units from a store of meters.
    Leased(Slice),
}

/// The kind of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Rate = 0,
    Quota = 1,
    Concurrency = 2,
    Credits = 3,
}

/// The time of a charge, read once for all limits of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Now {
    /// Nanoseconds on the monotonic clock.
    pub(super) monotonic: u64,
    /// Seconds since 1970, or 0 if no limit of the request is a quota.
    pub(super) wall: u64,
}

/// The bits of a quota's state that count requests. The other bits have the day that ends its
/// period.
const COUNT_BITS: u32 = 44;

/// The largest number of a quota, and of a concurrency limit.
pub(super) const MOST: u64 = (1 << COUNT_BITS) - 1;

impl Rule {
    /// Returns the state after a charge of `cost`, which is a part of the request's `whole` cost.
    #[inline]
    pub(super) fn admit(self, state: u64, now: Now, cost: u64, whole: u64) -> Result<u64, Full> {
        match self {
            Self::Rate(rate) => rate.admit(state, now.monotonic, cost, whole),
            Self::Quota { most, period } => {
                let (end, used) = in_period(state, now, period);
                match used.checked_add(cost) {
                    _ if whole > most => Err(Full::Forever),
                    Some(used) if used <= most => Ok(pack(end, used)),
                    _ => Err(Full::For(seconds(until(end, now)))),
                }
            }
            Self::Concurrency { most } => match state.checked_add(1) {
                _ if most == 0 => Err(Full::Forever),
                Some(state) if state <= most => Ok(state),
                _ => Err(Full::For(0)),
            },
            Self::Leased(slice) => slice.admit(state, now.monotonic, cost, whole),
        }
    }

    /// Returns the state after a charge for what is already done. It may go over the limit.
    pub(super) fn charge(self, state: u64, now: Now, cost: u64) -> u64 {
        match self {
            Self::Rate(rate) => rate.charge(state, now.monotonic, cost),
            Self::Quota { period, .. } => {
                let (end, used) = in_period(state, now, period);
                pack(end, used.saturating_add(cost).min(MOST))
            }
            Self::Concurrency { .. } => state,
            Self::Leased(_) => state - cost.min(slice::units(state, now.monotonic)),
        }
    }

    /// Returns what [`give_back`](Self::give_back) has to know of a charge that has changed the
    /// state to `charged`.
    #[inline]
    pub(super) fn receipt(self, charged: u64, now: Now, cost: u64) -> u64 {
        match self {
            Self::Rate(rate) => rate.over_at(now.monotonic, cost),
            Self::Quota { .. } | Self::Concurrency { .. } | Self::Leased(_) => charged,
        }
    }

    /// Returns the state after `cost` of a charge is given back. Read the time after the state.
    pub(super) fn give_back(self, state: u64, receipt: u64, now: Now, cost: u64) -> u64 {
        match self {
            Self::Rate(rate) => rate.give_back(state, receipt, now.monotonic, cost),
            // In a later period the charge is over.
            Self::Quota { .. } if unpack(state).0 == unpack(receipt).0 => state - cost.min(unpack(state).1),
            Self::Quota { .. } => state,
            Self::Concurrency { .. } => state.saturating_sub(1),
            Self::Leased(slice) => slice.give_back(state, receipt, now.monotonic, cost),
        }
    }

    /// Returns the state after a charge of 1 is given back, which was made at `at`, and the
    /// nanoseconds of it that time has filled up since.
    pub(super) fn give_back_one(self, state: u64, at: Now, now: Now) -> (u64, u64) {
        match self {
            Self::Rate(rate) => rate.give_back_one(state, at.monotonic, now.monotonic),
            Self::Quota { period, .. } => (self.give_back(state, pack(period.end(day(at)), 0), now, 1), 0),
            // `Leased` gives back its own.
            Self::Concurrency { .. } | Self::Leased(_) => (state, 0),
        }
    }

    /// Returns how many requests of cost 1 pass now.
    pub(super) fn remaining(self, state: u64, now: Now) -> u64 {
        match self {
            Self::Rate(rate) => rate.remaining(state, now.monotonic),
            Self::Quota { most, period } => most.saturating_sub(in_period(state, now, period).1),
            Self::Concurrency { most } => most.saturating_sub(state),
            Self::Leased(_) => slice::units(state, now.monotonic),
        }
    }

    /// Returns how many requests of cost 1 pass at most.
    pub(super) fn most(self) -> u64 {
        match self {
            Self::Rate(rate) => rate.burst(),
            Self::Quota { most, .. } | Self::Concurrency { most } | Self::Leased(Slice { most, .. }) => most,
        }
    }

    /// Returns when the limit is full again, in nanoseconds from now. `None` for a number of
    /// requests at the same time, which ends when they do.
    pub(super) fn full_after(self, state: u64, now: Now) -> Option<u64> {
        match self {
            Self::Rate(_) => Some(Gcra::full_after(state, now.monotonic)),
            Self::Quota { period, .. } => Some(seconds(until(in_period(state, now, period).0, now))),
            Self::Concurrency { .. } | Self::Leased(_) => None,
        }
    }

    /// Returns when one more request of cost 1 would pass, in nanoseconds from now. `None` for a
    /// limit that is full or 0, and for a number of requests at the same time.
    pub(super) fn more_after(self, state: u64, now: Now) -> Option<u64> {
        match self {
            Self::Rate(rate) => rate.more_after(state, now.monotonic),
            Self::Quota { most: 0, .. } | Self::Concurrency { .. } | Self::Leased(_) => None,
            Self::Quota { .. } => self.full_after(state, now),
        }
    }

    /// Returns the time in which [`most`](Self::most) requests pass, in nanoseconds. `None` for a
    /// number of requests at the same time.
    pub(super) fn window(self, state: u64, now: Now) -> Option<u64> {
        match self {
            Self::Rate(rate) => Some(rate.window()),
            Self::Quota { period, .. } => Some(seconds(period.length(in_period(state, now, period).0))),
            Self::Concurrency { .. } | Self::Leased(_) => None,
        }
    }

    pub(super) fn kind(self) -> Kind {
        match self {
            Self::Rate(_) | Self::Leased(Slice { kind: SliceKind::Rate, .. }) => Kind::Rate,
            Self::Quota { .. } | Self::Leased(Slice { kind: SliceKind::Quota, .. }) => Kind::Quota,
            Self::Concurrency { .. } => Kind::Concurrency,
            Self::Leased(Slice { kind: SliceKind::Credits, .. }) => Kind::Credits,
        }
    }

    /// Returns the rule for units from a store of meters, which count for `lease` nanoseconds if
    /// they are of a rate.
    pub(super) fn leased(self, lease: u64) -> Self {
        let slice = |kind, ahead| Self::Leased(Slice { kind, most: self.most(), ahead });
        match self {
            Self::Rate(_) => slice(SliceKind::Rate, slice::tick(lease / 2)),
            Self::Quota { .. } => slice(SliceKind::Quota, 0),
            Self::Concurrency { .. } | Self::Leased(_) => self,
        }
    }

    pub(super) fn is_leased(self) -> bool {
        matches!(self, Self::Leased(_))
    }
}

impl Kind {
    /// The bits that hold a kind.
    pub(super) const MASK: u64 = 0b11;

    /// Returns the kind in the bits of [`MASK`](Self::MASK).
    pub(super) fn of(bits: u64) -> Self {
        match bits & Self::MASK {
            0 => Self::Rate,
            1 => Self::Quota,
            2 => Self::Concurrency,
            _ => Self::Credits,
        }
    }

    /// Returns whether a rejected request gets back what it was charged.
    pub(super) fn is_allowance(self) -> bool {
        matches!(self, Self::Quota | Self::Credits)
    }

    /// Returns whether a count in this state equals a new one.
    pub(super) fn is_fresh(self, state: u64, now: Now) -> bool {
        match self {
            Self::Rate => Gcra::is_fresh(state, now.monotonic),
            Self::Quota => {
                let (end, used) = unpack(state);
                used == 0 || u64::from(end) <= now.wall / DAY
            }
            Self::Concurrency => state == 0,
            Self::Credits => false,
        }
    }
}

/// Returns the end of the present period, and what is used of it. A clock that went back stays in
/// the later period, but not in one that is further away than the next: such a clock was wrong
/// before.
fn in_period(state: u64, now: Now, period: Period) -> (u32, u64) {
    let (end, used) = unpack(state);
    let today = day(now);
    let is_present = today < end && end - today <= 2 * period.longest();
    if is_present { (end, used) } else { (period.end(today), 0) }
}

fn day(now: Now) -> u32 {
    u32::try_from(now.wall / DAY).unwrap_or(u32::MAX)
}

fn until(end: u32, now: Now) -> u64 {
    (u64::from(end) * DAY).saturating_sub(now.wall)
}

fn seconds(seconds: u64) -> u64 {
    seconds.saturating_mul(1_000_000_000)
}

fn pack(end: u32, used: u64) -> u64 {
    u64::from(end) << COUNT_BITS | used
}

fn unpack(state: u64) -> (u32, u64) {
    #[allow(clippy::cast_possible_truncation, reason = "20 bits are left")]
    let end = (state >> COUNT_BITS) as u32;
    (end, state & MOST)
}
