//! Charges requests to the limits of their keys.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    clock::LimitClock,
    count::{MOST_CHARGES, take},
    counts::{CountOf, Counts},
    metered::{MOST_LIMITS, Metered, MeteredLimit, MeteredLimits},
    permit::Permit,
    plans::Limit,
    refiller::Refiller,
    refillers::Refillers,
    refused::refused,
    rule::{Kind, Now, Rule},
    taken::Taken,
    unpaid::{Unpaid, pay},
};
use crate::{
    record::{Generation, KeyRecord},
    rejection::Rejection,
    thread_index::thread_index,
};

/// The plans and the counts of one process.
pub(crate) struct Limiter {
    id: Generation,
    pub(super) plans: HashMap<Box<str>, Arc<[Limit]>>,
    default: Option<Arc<[Limit]>>,
    pub(super) counts: Counts,
    clock: LimitClock,
    /// The stores of meters, for limits of many nodes.
    pub(super) refillers: Option<Refillers>,
}

/// What a request was charged that the layer has admitted: 1 in each limit of its key.
pub(crate) struct Admitted {
    at: Now,
    permit: Option<Permit>,
    /// The record, if a rejection gives quotas back.
    record: Option<KeyRecord>,
    /// The address of the record: the rejection of another key gives nothing back.
    address: usize,
}

/// The charges that a guard adds to those of the layer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RouteCharge<'g> {
    /// What the whole request costs, at least 1. The layer has taken 1 of it.
    pub(crate) cost: u32,
    /// Limits for routes that count the request too.
    pub(crate) limits: &'g [&'g str],
}

// === impl Limiter ===

impl Limiter {
    pub(super) fn new(
        plans: HashMap<Box<str>, Arc<[Limit]>>,
        default: Option<Arc<[Limit]>>,
        counts: Counts,
        clock: LimitClock,
        refillers: Option<Refillers>,
    ) -> Self {
        Self { id: Generation::unique(), plans, default, counts, clock, refillers }
    }

    pub(crate) fn id(&self) -> Generation {
        self.id
    }

    /// Charges a request of cost 1 to the limits of its key, to all or to none, and writes into
    /// `admitted` what it has charged. That is nothing for a key without limits. `read` is a time
    /// that was just read.
    ///
    /// The result is written where it stays, because to move it costs as much as to charge.
    #[inline]
    pub(crate) fn admit(
        self: &Arc<Self>,
        record: &KeyRecord,
        read: Option<Instant>,
        admitted: &mut Option<Admitted>,
    ) -> Result<(), Unpaid> {
        match self.kept(record) {
            Some(metered) => self.admit_to(&metered.of_requests, &metered.plan, record, read, admitted),
            None => self.admit_first(record, read, admitted),
        }
    }

    /// Charges a request whose limits are not in the cache of this thread.
    #[cold]
    fn admit_first(
        self: &Arc<Self>,
        record: &KeyRecord,
        read: Option<Instant>,
        admitted: &mut Option<Admitted>,
    ) -> Result<(), Unpaid> {
        let Some(plan) = self.plan(record).map_err(Unpaid::Rejected)? else { return Ok(()) };
        let limits = MeteredLimits::new(plan, self, record, false);
        let result = self.admit_to(&limits, plan, record, read, admitted);
        if let Some(kept) = record.metered() {
            kept.get_or_init(|| Box::new(Metered::new(self, plan, record)));
        }
        result
    }

    #[inline]
    fn admit_to(
        &self,
        limits: &MeteredLimits,
        plan: &[Limit],
        record: &KeyRecord,
        read: Option<Instant>,
        admitted: &mut Option<Admitted>,
    ) -> Result<(), Unpaid> {
        let at = self.clock.at(read, limits.has_quota);
        self.counts.sweep(at, || self.now(true));
        #[allow(clippy::cast_possible_truncation, reason = "there are few shards")]
        let thread = thread_index() as u32 + 1;
        let is_taken = if let Some(limit) = limits.only() {
            limit.charge_alone(thread, at).is_ok()
        } else {
            let charges = limits.iter().map(|limit| limit.charge_one(thread));
            take(charges, at, &mut [0; MOST_LIMITS], || self.now(limits.has_quota))
        };
        if !is_taken {
            self.admit_again(limits, plan, thread, at)?;
        }
        if limits.has_leased {
            limits.iter().for_each(|limit| limit.refill_if_low(at));
        }
        let permit = if limits.has_concurrency { Permit::of(limits.iter()) } else { None };
        let (kept, address) = ((limits.has_quota || limits.has_leased).then(|| record.clone()), record.address());
        *admitted = Some(Admitted { at, permit, record: kept, address });
        Ok(())
    }

    /// Charges a request that was not admitted with the units that its node has now, or says why
    /// it is not admitted.
    #[cold]
    fn admit_again(&self, limits: &MeteredLimits, plan: &[Limit], thread: u32, at: Now) -> Result<(), Unpaid> {
        pay(at, plan, &limits.iter().map(|limit| (limit, 1, 1)), || {
            let charges = limits.iter().map(|limit| limit.charge_one(thread));
            take(charges, at, &mut [0; MOST_LIMITS], || self.now(limits.has_quota))
        })
    }

    /// Gives back what a rejected request was charged: its quotas, or all if a limit has rejected
    /// it. `record` is that of the rejection. Returns how much longer the request has to wait,
    /// because time has filled up a part of the charge meanwhile.
    #[cold]
    pub(crate) fn give_back(self: &Arc<Self>, admitted: &Admitted, record: Option<&KeyRecord>, all: bool) -> Duration {
        let same = record.filter(|record| record.address() == admitted.address);
        let Some(record) = admitted.record.as_ref().or(same) else { return Duration::ZERO };
        let mut longer = 0;
        // The record had limits when it was admitted.
        let _ = self.metered(record, |metered| {
            let limits = metered.into_iter().flat_map(|metered| metered.of_requests.iter());
            for limit in limits.filter(|limit| all || limit.rule.kind().is_allowance()) {
                let missing = limit.give_back_one(admitted.at, || self.now(false));
                longer = missing.max(longer);
            }
        });
        Duration::from_nanos(longer)
    }

    /// Charges what a guard adds, to all of its limits or to none.
    pub(super) fn take_for_route(self: &Arc<Self>, metered: &Metered, route: RouteCharge<'_>) -> Result<Taken, Unpaid> {
        self.check_route(route).map_err(Unpaid::Rejected)?;
        self.take(metered, route.parts(metered))
    }

    /// Rejects a request if a rate does not admit what a guard would charge now. Charges nothing.
    pub(super) fn look_for_route(&self, metered: &Metered, route: RouteCharge<'_>) -> Result<(), Rejection> {
        self.check_route(route)?;
        let (parts, now) = (route.parts(metered), self.now(metered.has_quota()));
        let mut rates = parts.clone().filter(|(limit, ..)| limit.rule.kind() == Kind::Rate);
        let is_full = rates.any(|(limit, cost, whole)| limit.full(cost, whole, now).is_some());
        if is_full { Err(refused(now, &metered.plan, parts)) } else { Ok(()) }
    }

    /// Rejects a request if a guard names a limit that no plan has for routes.
    pub(super) fn check_route(&self, route: RouteCharge<'_>) -> Result<(), Rejection> {
        match route.limits.iter().find(|name| !self.has_limit_for_routes(name)) {
            Some(unknown) => Err(Rejection::broken(&format!("no plan has a limit {unknown:?} for routes"))),
            None => Ok(()),
        }
    }

    /// Charges these limits, all or none, each with a part of the whole cost.
    pub(super) fn take<'m>(
        &self,
        metered: &Metered,
        parts: impl Iterator<Item = (&'m MeteredLimit, u64, u64)> + Clone,
    ) -> Result<Taken, Unpaid> {
        let mut receipts = [0; MOST_CHARGES];
        let charges = parts.clone().map(|(limit, cost, whole)| limit.charge(cost, whole));
        let now = self.now(metered.has_quota());
        let mut is_taken = || take(charges.clone(), now, &mut receipts, || self.now(metered.has_quota()));
        if !is_taken() {
            pay(now, &metered.plan, &parts, is_taken)?;
        }
        parts.clone().for_each(|(limit, ..)| limit.refill_if_low(now));
        Ok(Taken::new(self.id, parts.zip(receipts)))
    }

    /// Returns the limits of a record in the cache of this thread.
    #[inline]
    fn kept<'r>(&self, record: &'r KeyRecord) -> Option<&'r Metered> {
        let metered = record.metered()?.get()?;
        if metered.id != self.id {
            if metered.limiter.strong_count() == 0 {
                record.forget_metered();
            }
            return None;
        }
        Some(metered)
    }

    /// Calls `with` with the limits of a record; with `None` if it has none.
    #[inline]
    pub(super) fn metered<R>(
        self: &Arc<Self>,
        record: &KeyRecord,
        with: impl FnOnce(Option<&Metered>) -> R,
    ) -> Result<R, Rejection> {
        if let Some(metered) = self.kept(record) {
            return Ok(with(Some(metered)));
        }
        let Some(plan) = self.plan(record)? else { return Ok(with(None)) };
        Ok(with(Some(&Metered::new(self, plan, record))))
    }

    /// Returns the plan of a record; `None` if it has no limits.
    pub(super) fn plan(&self, record: &KeyRecord) -> Result<Option<&Arc<[Limit]>>, Rejection> {
        match record.plan() {
            Some(name) => match self.plans.get(name) {
                Some(plan) => Ok(Some(plan)),
                None => Err(Rejection::broken(&format!(
                    "the key {:?} has the plan {name:?}, which is not in the list of plans: its requests get 500",
                    record.id().as_str()
                ))),
            },
            None => Ok(self.default.as_ref()),
        }
    }

    /// Returns what identifies the count of a limit for a record, and the store of its meter.
    pub(super) fn count_of<'a>(
        &'a self,
        limit: &'a Limit,
        rule: Rule,
        number: Option<u64>,
        record: &'a KeyRecord,
    ) -> (CountOf<'a>, Option<&'a Arc<Refiller>>) {
        let meter_rule = self.refillers.as_ref().and_then(|_| limit.meter_rule(rule, number));
        let refiller = self.refillers.as_ref().zip(meter_rule).map(|(refillers, rule)| refillers.of(rule));
        (CountOf { limit, rule, record, meter_rule }, refiller)
    }

    /// Returns the limits of all plans, with the names of their plans.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&str, &Limit)> {
        self.plans.iter().flat_map(|(plan, limits)| limits.iter().map(|limit| (&**plan, limit)))
    }

    #[inline]
    pub(super) fn now(&self, reads_wall: bool) -> Now {
        self.clock.now(reads_wall)
    }
}

// === impl RouteCharge ===

impl RouteCharge<'_> {
    /// Returns the limits that a request is charged to beyond the 1 of the layer, each with this
    /// part and the whole cost.
    fn parts(self, metered: &Metered) -> impl Iterator<Item = (&MeteredLimit, u64, u64)> + Clone {
        let cost = u64::from(self.cost.max(1));
        let is_named = move |limit: &&MeteredLimit| self.limits.contains(&&*limit.of(&metered.plan).name);
        let of_route = metered.of_routes.iter().filter(is_named);
        let of_requests = metered.of_requests.iter().filter(move |limit| cost > 1 && !limit.is_concurrency());
        let of_requests = of_requests.map(move |limit| (limit, cost - 1, cost));
        of_requests.chain(of_route.map(move |limit| (limit, cost, cost)))
    }
}

// === impl Admitted ===

impl Admitted {
    /// Returns the places in limits on requests at the same time.
    pub(crate) fn permit(&self) -> Option<&Permit> {
        self.permit.as_ref()
    }
}
