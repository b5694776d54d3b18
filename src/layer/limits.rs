//! Where the limits of a key stand in a layer: after the check of the key, before every guard.

use super::{ApiKeyLayerBuilder, admit::Authenticator};
use crate::{
    clock,
    limit::{Admitted, Limits, Unpaid},
    principal::Principal,
    rejection::Rejection,
};

impl ApiKeyLayerBuilder {
    /// Limits how much each key may ask for, by the plan in its record: see
    /// [`Plans`](crate::limit::Plans).
    ///
    /// The layer charges every request with an accepted key 1 in each limit of its plan, except
    /// those [for routes](crate::limit::Limit::for_routes), or rejects it with 429 and charges
    /// nothing. A skipped path and a passed preflight are not charged. A request that a guard, a
    /// check or a handler rejects with a [`Rejection`] spends rates, but no quota. Every request of
    /// a key with an unknown plan gets 500.
    ///
    /// ```
    /// use tower_api_key::{ApiKeyLayer, limit::{Limit, Limits, Plans, Rate}, store::MemoryStore};
    ///
    /// # fn main() -> Result<(), tower_api_key::ConfigError> {
    /// let plans = Plans::new().plan("free", [Limit::rate("burst", Rate::per_second(10))]).default_plan("free");
    /// let layer = ApiKeyLayer::builder(MemoryStore::new()).limits(Limits::in_process(plans).build()?).build()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// `None` removes the limits that a manager has set on its layer, for a route that must answer
    /// when nothing is left.
    pub fn limits(mut self, limits: impl Into<Option<Limits>>) -> Self {
        self.limits = limits.into();
        self
    }
}

impl Authenticator {
    /// Forgets the time that an earlier request has noted.
    #[inline]
    pub(super) fn forget_time(&self) {
        if self.limits.is_some() {
            clock::take_noted();
        }
    }

    /// Charges a request to the limits of its key, at the time that its lookup has noted.
    #[inline]
    pub(super) fn charge(&self, principal: &mut Principal, admitted: &mut Option<Admitted>) -> Result<(), Unpaid> {
        let Some(limits) = &self.limits else { return Ok(()) };
        let charged = limits.limiter().admit(principal.record(), clock::take_noted(), admitted);
        principal.limited_by(limits.limiter().id());
        if let Some(permit) = admitted.as_ref().and_then(Admitted::permit) {
            principal.hold(permit.clone());
        }
        charged.map_err(|unpaid| match unpaid {
            Unpaid::Rejected(rejection) => Unpaid::Rejected(principal.complete(rejection)),
            wait @ Unpaid::Wait(_) => wait,
        })
    }

    /// Gives back what a rejected request was charged: its quotas, or all if a limit has rejected
    /// it.
    #[cold]
    pub(super) fn give_back(&self, admitted: &Admitted, rejection: &mut Rejection) {
        if let Some(limits) = &self.limits {
            let is_of_limit = rejection.reason().is_of_limit();
            let longer = limits.limiter().give_back(admitted, rejection.record(), is_of_limit);
            if is_of_limit {
                rejection.delay(longer);
            }
        }
    }
}
