//! What a node knows of a meter.

use super::{Held, Leased};
use crate::{
    limit::{count::Count, gcra::Full, meter::MeterRule, rule::Now, slice},
    rejection::Reason,
};

impl Leased {
    /// Notes what is left at the store.
    pub(in crate::limit) fn looked(&self, left: u64, now: u64) {
        self.held().left = Some((left, now));
    }

    /// Forgets that the store had too few units.
    pub(in crate::limit) fn look_again(&self) {
        let mut held = self.held();
        (held.refused, held.refused_at) = (None, 0);
    }

    /// Returns the reason of a rejection because the credits are used up.
    pub(in crate::limit) fn exhausted(&self) -> Reason {
        if self.refiller.settings.payment_required { Reason::PaymentRequired } else { Reason::CreditsExhausted }
    }

    /// Returns after which time more requests may pass, if the store has said so.
    pub(in crate::limit) fn more_after(&self, count: &Count, now: Now) -> Option<u64> {
        match self.why_full(count, 1, now)? {
            Full::For(wait) => Some(wait),
            _ => None,
        }
    }

    /// Returns when the limit is full again, in nanoseconds from now.
    pub(in crate::limit) fn full_after(&self, remaining: u64, now: Now) -> Option<u64> {
        match self.rule {
            MeterRule::Rate { increment, .. } => {
                Some(self.slice.most.saturating_sub(remaining).saturating_mul(increment))
            }
            MeterRule::Quota { .. } => self.base.full_after(0, now),
            MeterRule::Credits(_) => None,
        }
    }

    /// Returns whether nothing would be lost without the count, except what the node knows.
    pub(in crate::limit) fn is_fresh(&self, count: &Count, now: Now) -> bool {
        let (held, now) = (self.held(), now.monotonic);
        let next = held.next.map_or(0, |next| slice::units(next, now));
        held.debt == 0 && held.spare == 0 && next == 0 && slice::units(count.state(), now) == 0
    }

    /// Returns about how many requests of cost 1 pass now, on all nodes together.
    pub(in crate::limit) fn remaining(&self, count: &Count, now: u64) -> u64 {
        let held = self.held();
        let own = slice::units(count.state(), now) + held.next.map_or(0, |next| slice::units(next, now));
        self.left_at_store(&held, now).saturating_add(own).min(self.slice.most)
    }

    /// Returns about how many units the store has now.
    pub(super) fn left_at_store(&self, held: &Held, now: u64) -> u64 {
        // How many credits there are is unknown before the first answer.
        let unknown = if matches!(self.rule, MeterRule::Credits(_)) { 0 } else { self.slice.most };
        let (left, at) = held.left.unwrap_or((unknown, now));
        let refilled = match self.rule {
            MeterRule::Rate { increment, .. } => now.saturating_sub(at) / increment.max(1),
            MeterRule::Quota { .. } | MeterRule::Credits(_) => 0,
        };
        left.saturating_add(refilled)
    }
}
