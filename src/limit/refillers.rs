//! Which store of meters keeps what: one store for all limits, or one for rates and one for the
//! others.

use std::{iter, sync::Arc};

use super::{leasing::LeaseSettings, meter::MeterRule, refiller::Refiller};

/// The stores of meters of one limiter.
pub(super) struct Refillers {
    of_rates: Arc<Refiller>,
    /// Of quotas and credits. It may be the same.
    of_allowances: Arc<Refiller>,
}

impl Refillers {
    pub(super) fn new(of_rates: Arc<Refiller>, of_allowances: Arc<Refiller>) -> Self {
        Self { of_rates, of_allowances }
    }

    /// Returns the store of a meter with this rule.
    pub(super) fn of(&self, rule: MeterRule) -> &Arc<Refiller> {
        match rule {
            MeterRule::Rate { .. } => &self.of_rates,
            MeterRule::Quota { .. } | MeterRule::Credits(_) => &self.of_allowances,
        }
    }

    pub(super) fn of_allowances(&self) -> &Arc<Refiller> {
        &self.of_allowances
    }

    /// Returns each store once.
    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Refiller>> {
        let other = Some(&self.of_rates).filter(|of_rates| !Arc::ptr_eq(of_rates, &self.of_allowances));
        iter::once(&self.of_allowances).chain(other)
    }

    pub(super) fn settings(&self) -> &LeaseSettings {
        &self.of_allowances.settings
    }
}
