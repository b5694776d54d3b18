//! How many units a node asks for: one at first, and then as many as it uses in a time, but at
//! most twice as many as before.

use super::slice::MOST_UNITS;

/// The use of one meter on this node.
#[derive(Default)]
pub(super) struct Demand {
    size: u64,
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
    /// Returns how many units to ask for, when so many are left.
    pub(super) fn size(&mut self, left: u64, now: u64, span: Span) -> u64 {
        let used = u128::from(self.units.saturating_sub(left));
        let took = now.saturating_sub(self.granted_at).max(1);
        if self.size == 0 {
            self.size = 1;
        } else if used > 0 || took > span.lasts {
            let lasts = u64::try_from(used * u128::from(span.lasts) / u128::from(took)).unwrap_or(MOST_UNITS);
            self.size = lasts.saturating_add(1).min(self.size * 2);
        }
        self.size = self.size.min(MOST_UNITS / 4);
        self.size
    }

    pub(super) fn granted(&mut self, units: u64, now: u64) {
        (self.units, self.granted_at) = (units, now);
    }

    /// Returns the number of units below which a node asks for more.
    pub(super) fn low(&self, span: Span) -> u64 {
        let low = u128::from(self.size) * u128::from(span.ahead) / u128::from(span.lasts.max(1));
        u64::try_from(low).unwrap_or(MOST_UNITS).max(1)
    }
}
