//! What a guard charges to the limits of a key, once it has accepted a request.

use http::Extensions;

#[cfg(feature = "limits")]
use super::Require;
use crate::{
    body::Held,
    rejection::{Rejection, Wait},
};
#[cfg(feature = "limits")]
use crate::{
    error::ConfigError,
    limit::{Limits, Permit, RouteCharge, Taken, Unpaid},
    principal::Principal,
};

/// The cost of one guard, and the limits that it names.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct GuardCharge {
    cost: Option<u32>,
    limits: Vec<Box<str>>,
}

/// The charge of all guards that have accepted a request: the largest cost, and every limit.
#[derive(Clone, Debug, Default)]
pub(super) struct Charge<'g> {
    cost: Option<u32>,
    limits: Vec<&'g str>,
}

/// A [`Charge`] for a request that waits.
#[derive(Debug)]
pub(super) struct OwnedCharge {
    cost: Option<u32>,
    limits: Vec<Box<str>>,
}

/// Why a request is not charged.
pub(super) enum NotCharged {
    Rejected(Rejection),
    /// Charge it after the wait.
    Wait(Wait),
}

/// What a guard has charged for a request.
#[derive(Default)]
pub(super) struct Charged {
    /// In a box: most guards charge nothing, and every future of a guard has this field.
    #[cfg(feature = "limits")]
    taken: Option<Box<Taken>>,
}

impl GuardCharge {
    pub(super) fn is_none(&self) -> bool {
        let Self { cost, limits } = self;
        cost.is_none() && limits.is_empty()
    }
}

impl<'g> Charge<'g> {
    #[cfg(feature = "limits")]
    fn is_none(&self) -> bool {
        self.cost.is_none() && self.limits.is_empty()
    }

    pub(super) fn add(&mut self, guard: &'g GuardCharge) {
        self.cost = self.cost.max(guard.cost);
        self.limits.extend(guard.limits.iter().map(|name| &**name));
    }

    pub(super) fn join(&mut self, other: Self) {
        self.cost = self.cost.max(other.cost);
        self.limits.extend(other.limits);
    }

    pub(super) fn to_owned(&self) -> OwnedCharge {
        OwnedCharge { cost: self.cost, limits: self.limits.iter().map(|name| (*name).into()).collect() }
    }
}

impl OwnedCharge {
    pub(super) fn as_charge(&self) -> Charge<'_> {
        Charge { cost: self.cost, limits: self.limits.iter().map(|name| &**name).collect() }
    }
}

impl Charge<'_> {
    /// Rejects a request if a rate of the principal does not admit the charge now, so that a check
    /// that waits need not run. Charges nothing.
    #[cfg_attr(not(feature = "limits"), expect(unused_variables, clippy::unnecessary_wraps, clippy::unused_self))]
    pub(super) fn look(&self, extensions: &Extensions) -> Result<(), Rejection> {
        #[cfg(feature = "limits")]
        if let Some(principal) = extensions.get::<Principal>().filter(|_| !self.is_none()) {
            return principal.look_for_route(self.of_route());
        }
        Ok(())
    }

    #[cfg(feature = "limits")]
    fn of_route(&self) -> RouteCharge<'_> {
        RouteCharge { cost: self.cost.unwrap_or(1), limits: &self.limits }
    }

    /// Takes the charge from the limits of the principal, from all or from none.
    #[cfg_attr(not(feature = "limits"), expect(unused_variables, clippy::unnecessary_wraps, clippy::unused_self))]
    pub(super) fn take(&self, extensions: &mut Extensions) -> Result<Charged, NotCharged> {
        #[cfg(feature = "limits")]
        if let Some(principal) = extensions.get_mut::<Principal>().filter(|_| !self.is_none()) {
            let taken = principal.take_for_route(self.of_route()).map_err(|unpaid| match unpaid {
                Unpaid::Rejected(rejection) => NotCharged::Rejected(rejection),
                Unpaid::Wait(wait) => NotCharged::Wait(wait),
            })?;
            if let Some(permit) = taken.as_ref().and_then(Taken::permit) {
                principal.hold(permit.clone());
            }
            return Ok(Charged { taken: taken.map(Box::new) });
        }
        Ok(Charged::default())
    }
}

impl Charged {
    /// Ends the charge with the response. Gives back what a rejected request was charged: its
    /// quotas, or all if a limit has rejected it. Returns what the body of another response holds.
    #[cfg_attr(not(feature = "limits"), expect(unused_variables, clippy::unused_self))]
    pub(super) fn end(&mut self, response: &Extensions) -> Option<Held> {
        #[cfg(feature = "limits")]
        if let Some(taken) = self.taken.take() {
            let Some(rejection) = response.get::<Rejection>() else { return taken.permit().map(Permit::held) };
            taken.give_back(rejection.reason().is_of_limit());
        }
        None
    }
}

#[cfg(feature = "limits")]
impl Require {
    /// Sets the cost of a request, in the rates and quotas that count every request and in the
    /// limits that the guard names. The default is 1, and 0 counts as 1. The layer charges 1, and
    /// the guard the rest once it has accepted the request.
    ///
    /// If several parts of one guard accept a request, the largest cost counts. Nested guards add
    /// up: costs of 5 and 3 charge 7. A cost above a burst or a quota can never pass:
    /// [`Limits::checked`] finds it. In a layer without limits, every request gets 500.
    ///
    /// ```
    /// use tower_api_key::Require;
    ///
    /// # fn main() -> Result<(), tower_api_key::ConfigError> {
    /// let guard = Require::table()
    ///     .route("POST", "/images", Require::permission("images", "create").costs(5))
    ///     .route("GET", "/search", Require::permission("search", "read").limited_by("search"))
    ///     .build()?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn costs(mut self, cost: u32) -> Self {
        self.charge.cost = Some(cost);
        self
    }

    /// Also counts the accepted requests in this limit, which a plan lists
    /// [for routes](crate::limit::Limit::for_routes). A key whose plan has no limit of this name is
    /// not limited by it. If no plan has one, every request gets 500: [`Limits::checked`] finds it.
    /// In a layer without limits, every request gets 500. [`costs`](Self::costs) has an example.
    #[must_use]
    pub fn limited_by(mut self, limit: impl Into<String>) -> Self {
        self.charge.limits.push(limit.into().into());
        self
    }

    /// Calls `each` with every charge of this guard and of the guards in it, and with the largest
    /// cost that a request with this charge may have. `others` is that of the guards around it.
    fn each_charge<'g>(&'g self, others: Option<u32>, each: &mut impl FnMut(&'g GuardCharge, Option<u32>)) {
        each(&self.charge, others.max(self.most_cost()));
        let (others, guards) = (others.max(self.charge.cost), self.check.guards());
        for (place, guard) in guards.iter().enumerate() {
            let beside = guards.iter().enumerate().filter(|(other, _)| self.check.needs_all() && *other != place);
            let beside = beside.filter_map(|(_, other)| other.most_cost()).max();
            guard.each_charge(others.max(beside), each);
        }
    }

    fn most_cost(&self) -> Option<u32> {
        let inner = self.check.guards().into_iter().filter_map(Self::most_cost).max();
        self.charge.cost.max(inner)
    }
}

#[cfg(feature = "limits")]
impl Limits {
    /// Checks the costs of a guard and the limits that it names against all plans, and returns the
    /// guard. Numbers of single records, and limits of 0, are not checked.
    ///
    /// ```
    /// use tower_api_key::{Require, limit::{Limit, Limits, Plans, Rate}};
    ///
    /// # fn main() -> Result<(), tower_api_key::ConfigError> {
    /// let plans = Plans::new().plan("free", [Limit::rate("burst", Rate::per_second(10).burst(20))]);
    /// let limits = Limits::in_process(plans).build()?;
    /// let images = limits.checked(Require::permission("images", "create").costs(5))?;
    /// assert!(limits.checked(images.costs(21)).is_err());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns [`ConfigError::Limit`] for a cost of 0, for a cost above a burst or a quota, since
    /// no such request can pass, and for the name of a limit that no plan lists [for
    /// routes](crate::limit::Limit::for_routes).
    pub fn checked(&self, guard: Require) -> Result<Require, ConfigError> {
        let mut charges = Vec::new();
        guard.each_charge(None, &mut |charge, cost| charges.push((charge, cost)));
        for (charge, cost) in charges {
            let cost = if charge.cost == Some(0) { Some(0) } else { cost };
            self.limiter().check_charge(cost, &charge.limits.iter().map(|name| &**name))?;
        }
        Ok(guard)
    }
}
