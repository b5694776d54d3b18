//! How many units a node asks for: one at first, and then as many as it uses in a time, but at
//! most twice as many as before.

use std::time::Duration;

use super::slice::MOST_UNITS;
use crate::clock::nanos;

/// A node may hold a few times as many units, however few it uses.
const FEW: u64 = 16;

/// The use of one meter on this node.
#[derive(Default)]
pub(super) struct Demand {
    size: u64,
    /// Whether that is less than what is used.
    grows: bool,
    /// The units after the last grant, and when it came.
    units: u64,
    granted_at: u64,
}

/// The times by which a node asks, in nanoseconds.
#[derive(Clone, Copy)]
pub(super) struct Span {
    /// For how long the units of one ask last.
    pub(super) lasts: u64,
    /// How long before they are used up a node asks again.
    pub(super) ahead: u64,
}

impl Demand {
    /// Returns how many units to ask for, when so many are left, and requests wait for so many.
    pub(super) fn size(&mut self, left: u64, waiting: u64, now: u64, span: Span) -> u64 {
        let used = u128::from(self.units.saturating_add(waiting).saturating_sub(left));
        let took = now.saturating_sub(self.granted_at).max(1);
        if self.size == 0 {
            (self.size, self.grows) = (1, true);
        } else if used > 0 || took > span.lasts {
            let lasts = u64::try_from(used * u128::from(span.lasts) / u128::from(took)).unwrap_or(MOST_UNITS);
            let (wanted, most) = (lasts.saturating_add(1), self.size * 2);
            (self.size, self.grows) = (wanted.min(most), wanted > most);
        }
        self.size = self.size.min(MOST_UNITS / 4);
        self.size
    }

    /// Returns whether the last units came before this time.
    pub(super) fn is_from_before(&self, time: u64) -> bool {
        self.granted_at < time
    }

    /// Returns whether so many units are far more than are used. They have come back from
    /// reservations, and other nodes may need them.
    pub(super) fn is_far_below(&self, units: u64) -> bool {
        units > self.size.max(FEW) * 4
    }

    pub(super) fn granted(&mut self, units: u64, now: u64) {
        (self.units, self.granted_at) = (units, now);
    }

    /// Returns whether the units are used up soon: the last ask was for fewer than are used, or
    /// came less than this time ago.
    pub(super) fn is_urgent(&self, tick: Duration, now: u64) -> bool {
        self.grows || now.saturating_sub(self.granted_at) < nanos(tick)
    }

    /// Returns the number of units below which a node asks for more.
    pub(super) fn low(&self, span: Span) -> u64 {
        let low = u128::from(self.size) * u128::from(span.ahead) / u128::from(span.lasts.max(1));
        u64::try_from(low).unwrap_or(MOST_UNITS).max(1)
    }
}
