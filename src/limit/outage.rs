//! What a node admits while the store of meters fails.

use std::time::Duration;

use super::gcra::{Full, Gcra};

/// What becomes of requests while the store of meters fails, for limits that are rates. Quotas and
/// credits spend what the node has leased; then requests get 503.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outage {
    /// Each node admits its share: the rate divided by the number of
    /// [nodes](super::LeasedLimitsBuilder::nodes). It begins without a burst.
    #[default]
    Share,
    /// Requests get 503 once the units of the node are used or over.
    Closed,
    /// Every request passes.
    Open,
}

/// The settings of leased limits.
#[derive(Clone, Copy, Debug)]
pub(super) struct LeaseSettings {
    pub(super) lease: Duration,
    pub(super) nodes: u32,
    pub(super) outage: Outage,
    /// Whether a request without credits gets 402.
    pub(super) payment_required: bool,
}

/// A rate during one outage.
#[derive(Default)]
pub(super) struct Share {
    since: u64,
    full_at: u64,
}

impl Share {
    /// Charges so many units during the outage that began at `since`. `None` if the setting admits
    /// nothing.
    pub(super) fn admit(
        &mut self,
        settings: &LeaseSettings,
        rate: Gcra,
        units: u64,
        now: u64,
        since: u64,
    ) -> Option<Result<(), Full>> {
        match settings.outage {
            Outage::Open => Some(Ok(())),
            Outage::Closed => None,
            Outage::Share => {
                let (share, empty) = rate.share(settings.nodes, since);
                if self.since != since || self.full_at == 0 {
                    *self = Self { since, full_at: empty };
                }
                Some(share.admit(self.full_at, now, units, units).map(|full_at| self.full_at = full_at))
            }
        }
    }
}
