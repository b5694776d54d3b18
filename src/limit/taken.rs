//! Charges that can be given back: those of a guard, and those of a reservation.

use std::sync::Arc;

use super::{counts::Counted, metered::MeteredLimit, permit::Permit, registry, rule::Rule};
use crate::record::Generation;

/// What a request was charged beside the charge of the layer.
pub(crate) struct Taken {
    limiter: Generation,
    charges: Vec<Charged>,
    permit: Option<Permit>,
}

struct Charged {
    counted: Arc<Counted>,
    rule: Rule,
    cost: u64,
    receipt: u64,
}

impl Taken {
    /// Keeps the charges of these limits, with their receipts.
    pub(super) fn new<'m>(
        limiter: Generation,
        taken: impl Iterator<Item = ((&'m MeteredLimit, u64, u64), u64)> + Clone,
    ) -> Self {
        let permit = Permit::of(taken.clone().map(|((limit, ..), _)| limit));
        let charges = taken
            .filter(|((limit, ..), _)| !limit.is_concurrency())
            .map(|((limit, cost, _), receipt)| Charged {
                counted: Arc::clone(&limit.counted),
                rule: limit.rule,
                cost,
                receipt,
            })
            .collect();
        Self { limiter, charges, permit }
    }

    /// Gives back the quotas, or all if a limit has rejected the request.
    pub(crate) fn give_back(self, all: bool) {
        self.give_back_of(|charged| if all || charged.rule.kind().is_allowance() { charged.cost } else { 0 });
    }

    /// Gives back what was not spent.
    pub(super) fn settle(self, spent: u64) {
        self.give_back_of(|charged| charged.cost.saturating_sub(spent));
    }

    fn give_back_of(&self, part: impl Fn(&Charged) -> u64) {
        let Some(limiter) = registry::find(self.limiter) else { return };
        for charged in &self.charges {
            let (rule, receipt, cost) = (charged.rule, charged.receipt, part(charged));
            if cost == 0 {
                continue;
            }
            match charged.counted.leased() {
                Some(leased) => leased.give_back(&charged.counted, receipt, limiter.now(false), cost),
                None => charged.counted.count.set(|state| rule.give_back(state, receipt, limiter.now(false), cost)),
            }
        }
    }

    /// Returns the places in limits on requests at the same time.
    pub(crate) fn permit(&self) -> Option<&Permit> {
        self.permit.as_ref()
    }
}
