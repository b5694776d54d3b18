//! Charges requests to the limits of their keys.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    clock::LimitClock,
    count::take,
    counts::Counts,
    gcra::Full,
    metered::{MOST_LIMITS, Metered, MeteredLimit, rules},
    permit::Permit,
    plans::Limit,
    registry,
    remaining::Remaining,
    rule::{Kind, Now, Rule},
    taken::Taken,
};
use crate::{
    error::ConfigError,
    record::{Generation, KeyRecord},
    rejection::{Reason, Rejection},
    thread_index::thread_index,
};

/// The plans and the counts of one process.
pub(crate) struct Limiter {
    id: Generation,
    plans: HashMap<Box<str>, Arc<[Limit]>>,
    default: Option<Arc<[Limit]>>,
    pub(super) counts: Counts,
    clock: LimitClock,
}

/// The charges of a request that the layer has admitted.
pub(crate) struct Admitted {
    receipts: [u64; MOST_LIMITS],
    permit: Option<Permit>,
    /// The record, if a rejection gives quotas back.
    record: Option<KeyRecord>,
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
    ) -> Self {
        Self { id: Generation::unique(), plans, default, counts, clock }
    }

    pub(crate) fn id(&self) -> Generation {
        self.id
    }

    /// Charges a request of cost 1 to the limits of its key, to all or to none. Returns `None` for
    /// a key without limits. `read` is a time that was just read.
    #[inline]
    pub(crate) fn admit(
        self: &Arc<Self>,
        record: &KeyRecord,
        read: Option<Instant>,
    ) -> Result<Option<Admitted>, Rejection> {
        self.metered(record, |metered| {
            let Some(metered) = metered else { return Ok(None) };
            let now = self.clock.at(read, metered.has_quota);
            self.counts.sweep(now, || self.now(true));
            let mut receipts = [0; MOST_LIMITS];
            let thread = thread_index() as u64 + 1;
            let charges = metered.of_requests().map(|limit| limit.charge_one(thread));
            if !take(charges, now, &mut receipts, || self.now(metered.has_quota)) {
                return Err(self.refused(metered.of_requests().map(|limit| (limit, 1, 1))));
            }
            let permit = if metered.has_concurrency { Permit::of(metered.of_requests()) } else { None };
            let record = metered.has_quota.then(|| record.clone());
            Ok(Some(Admitted { receipts, permit, record }))
        })?
    }

    /// Gives back what a rejected request was charged: its quotas, or all if a limit has rejected
    /// it. `record` is that of the rejection.
    #[cold]
    pub(crate) fn give_back(self: &Arc<Self>, admitted: &Admitted, record: Option<&KeyRecord>, all: bool) {
        let Some(record) = admitted.record.as_ref().or(record) else { return };
        // The record had limits when it was admitted.
        let _ = self.metered(record, |metered| {
            for (limit, receipt) in metered.into_iter().flat_map(Metered::of_requests).zip(admitted.receipts) {
                if limit.rule.kind() == Kind::Quota || (all && limit.rule.kind() == Kind::Rate) {
                    limit.counted.count.set(|state| limit.rule.give_back(state, receipt, self.now(false), 1));
                }
            }
        });
    }

    /// Charges what a guard adds, to all of its limits or to none.
    pub(super) fn take_for_route(
        self: &Arc<Self>,
        metered: &Metered,
        route: RouteCharge<'_>,
    ) -> Result<Taken, Rejection> {
        self.check_route(route)?;
        let cost = u64::from(route.cost.max(1));
        let of_route = metered.of_routes().filter(|limit| route.limits.contains(&&*limit.limit().name));
        let of_requests = metered.of_requests().filter(|limit| cost > 1 && !limit.is_concurrency());
        self.take(
            metered.has_quota,
            of_requests.map(|limit| (limit, cost - 1, cost)).chain(of_route.map(|limit| (limit, cost, cost))),
        )
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
        self: &Arc<Self>,
        has_quota: bool,
        parts: impl Iterator<Item = (&'m MeteredLimit, u64, u64)> + Clone,
    ) -> Result<Taken, Rejection> {
        let mut receipts = [0; 2 * MOST_LIMITS];
        let charges = parts.clone().map(|(limit, cost, whole)| limit.charge(cost, whole));
        if take(charges, self.now(has_quota), &mut receipts, || self.now(has_quota)) {
            Ok(Taken::new(self.id, parts.zip(receipts)))
        } else {
            Err(self.refused(parts))
        }
    }

    /// Calls `with` with the limits of a record; with `None` if it has none.
    #[inline]
    pub(super) fn metered<R>(
        self: &Arc<Self>,
        record: &KeyRecord,
        with: impl FnOnce(Option<&Metered>) -> R,
    ) -> Result<R, Rejection> {
        let resolve = |plan| Metered::new(self, plan, &self.counts, record);
        if let Some(kept) = record.metered() {
            match kept.get() {
                Some(metered) if metered.limiter.id == self.id => return Ok(with(Some(metered))),
                Some(_) => {}
                None => {
                    let Some(plan) = self.plan(record)? else { return Ok(with(None)) };
                    let metered = kept.get_or_init(|| Box::new(resolve(plan)));
                    if metered.limiter.id == self.id {
                        return Ok(with(Some(metered)));
                    }
                }
            }
        }
        let Some(plan) = self.plan(record)? else { return Ok(with(None)) };
        Ok(with(Some(&resolve(plan))))
    }

    /// Returns the plan of a record; `None` if it has no limits.
    fn plan(&self, record: &KeyRecord) -> Result<Option<&Arc<[Limit]>>, Rejection> {
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

    /// Returns why a request is rejected: the limits that are full, and the longest wait of them.
    #[cold]
    fn refused<'m>(&self, parts: impl Iterator<Item = (&'m MeteredLimit, u64, u64)>) -> Rejection {
        let now = self.now(true);
        let (mut longest, mut reason, mut violated) = (Some(0), None, Vec::new());
        for (limit, cost, whole) in parts {
            let Some(full) = limit.charge(cost, whole).full(now) else { continue };
            violated.push(limit.limit().name.clone());
            let wait = match full {
                Full::For(wait) => Some(wait),
                Full::Forever => None,
            };
            if longest.is_some_and(|longest| wait.is_none_or(|wait| wait >= longest)) {
                longest = wait;
                reason = Some(match limit.rule.kind() {
                    Kind::Rate => Reason::RateLimited,
                    Kind::Quota => Reason::QuotaExceeded,
                    Kind::Concurrency => Reason::ConcurrencyLimited,
                });
            }
        }
        // Another request may have ended meanwhile, so that no limit is full any more.
        let reason = reason.unwrap_or(Reason::RateLimited);
        Rejection::limited(reason, violated, longest.map(Duration::from_nanos))
    }

    /// Returns what is left of the limits of a record; `None` if its plan is unknown.
    pub(super) fn remaining(&self, record: &KeyRecord) -> Option<Vec<Remaining>> {
        let Some(plan) = self.plan(record).ok()? else { return Some(Vec::new()) };
        let now = self.now(true);
        let remaining = |(place, rule): (usize, Rule)| {
            let limit: &Limit = &plan[place];
            let state = self.counts.state(&limit.name, rule, limit.subject, record);
            Remaining {
                limit: limit.name.to_string(),
                subject: limit.subject,
                most: rule.most(),
                requests: rule.remaining(state, now),
                full_after: rule.full_after(state, now).map(Duration::from_nanos),
            }
        };
        Some(rules(plan, record).map(remaining).collect())
    }

    /// Returns the limits of all plans, with the names of their plans.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&str, &Limit)> {
        self.plans.iter().flat_map(|(plan, limits)| limits.iter().map(|limit| (&**plan, limit)))
    }

    /// Checks the charge of a guard against all plans.
    pub(crate) fn check_charge<'g>(
        &self,
        cost: Option<u32>,
        limits: impl Iterator<Item = &'g str> + Clone,
    ) -> Result<(), ConfigError> {
        let wrong = |what: String, why: &str| Err(ConfigError::Limit(what, why.to_owned()));
        if let Some(unknown) = limits.clone().find(|name| !self.has_limit_for_routes(name)) {
            return wrong(unknown.to_owned(), "a guard names it, but no plan has a limit of this name for routes");
        }
        let cost = cost.unwrap_or(1);
        if cost == 0 {
            return wrong("a guard".to_owned(), "it costs 0, but every request costs at least 1");
        }
        let counts = |limit: &Limit| !limit.is_for_routes || limits.clone().any(|name| *name == *limit.name);
        let is_too_small = |limit: &Limit| limit.most_cost().is_some_and(|most| (1..u64::from(cost)).contains(&most));
        match self.all().find(|(_, limit)| is_too_small(limit) && counts(limit)) {
            Some((plan, limit)) => {
                wrong(format!("{plan}: {}", limit.name), &format!("a guard costs {cost}, so it never passes"))
            }
            None => Ok(()),
        }
    }

    fn has_limit_for_routes(&self, name: &str) -> bool {
        self.all().any(|(_, limit)| limit.is_for_routes && *limit.name == *name)
    }

    #[inline]
    pub(super) fn now(&self, reads_wall: bool) -> Now {
        self.clock.now(reads_wall)
    }
}

// === impl Admitted ===

impl Admitted {
    /// Returns the places in limits on requests at the same time.
    pub(crate) fn permit(&self) -> Option<&Permit> {
        self.permit.as_ref()
    }
}

/// Calls `with` with a limiter and the limits that it has for a record. Returns `None` if the
/// limiter does not exist any more, or if the record has no limits.
pub(super) fn with_metered<R>(
    id: Generation,
    record: &KeyRecord,
    with: impl FnOnce(&Arc<Limiter>, &Metered) -> R,
) -> Option<R> {
    if let Some(metered) = record.metered().and_then(|kept| kept.get()).filter(|metered| metered.limiter.id == id) {
        return Some(with(&metered.limiter, metered));
    }
    let limiter = registry::find(id)?;
    limiter.metered(record, |metered| metered.map(|metered| with(&limiter, metered))).ok().flatten()
}
