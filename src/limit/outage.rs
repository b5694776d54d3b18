//! What a node admits while the store of meters fails.

use super::{
    gcra::{Full, Gcra},
    leasing::LeaseSettings,
    slice,
};

/// What becomes of requests while the store of meters fails, for limits that are rates. Quotas and
/// credits spend what the node has leased; then requests get 503.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outage {
    /// Each node admits its share: the rate divided by the number of
    /// [nodes](super::LeasedLimitsBuilder::nodes). It begins without a burst, and its burst is
    /// divided too. A request that costs more than that burst gets 503.
    #[default]
    Share,
    /// Requests get 503 once the units of the node are spent or have expired.
    Closed,
    /// Every request passes.
    Open,
}

/// For how long units may be charged in advance, in nanoseconds: the time of two ticks of a slice.
pub(super) const AHEAD: u64 = 2 << slice::TICK;

/// The share of a rate during one outage: when that began, and the state of the share.
#[derive(Default)]
pub(super) struct Share(Option<(u64, u64)>);

impl Share {
    /// Charges so many units during the outage that began at `since`, and those of the next
    /// [`AHEAD`], if they are there: so not every request comes here. Returns how many. `None` if
    /// the setting admits nothing.
    pub(super) fn admit(
        &mut self,
        settings: &LeaseSettings,
        rate: Gcra,
        units: u64,
        now: u64,
        since: u64,
    ) -> Option<Result<u64, Full>> {
        match settings.outage {
            Outage::Open => Some(Ok(units)),
            Outage::Closed => None,
            Outage::Share => {
                let (share, empty) = rate.share(settings.nodes, since);
                let known = self.0.filter(|(of, _)| *of == since);
                let state = known.map_or(empty, |(_, state)| state);
                let more = units + share.charges_in(AHEAD);
                let charged = |units| share.admit(state, now, units, units).map(|state| (state, units));
                Some(charged(more).or_else(|_| charged(units)).map(|(state, units)| {
                    self.0 = Some((since, state));
                    units
                }))
            }
        }
    }
}
