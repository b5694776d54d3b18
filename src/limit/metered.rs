//! The limits of one record, with their counts.

use std::{
    array,
    cell::Cell,
    sync::{Arc, Weak},
};

use super::{
    count::{Charge, MOST_CHARGES},
    counts::{Counted, meter_id},
    gcra::Full,
    lane::Lane,
    leased::Leased,
    limiter::Limiter,
    plans::Limit,
    rule::{Kind, Now, Rule},
};
use crate::{
    clock::nanos,
    record::{Generation, KeyRecord},
};

/// How many limits of a plan count every request, and how many count requests for some routes only.
pub(super) const MOST_LIMITS: usize = MOST_CHARGES / 2;

/// The limits of a record.
pub(crate) struct Metered {
    /// Which limiter has resolved them.
    pub(super) id: Generation,
    pub(super) limiter: Weak<Limiter>,
    pub(super) plan: Arc<[Limit]>,
    /// Those that every request is charged to.
    pub(super) of_requests: MeteredLimits,
    /// Those that count requests for some routes only.
    pub(super) of_routes: MeteredLimits,
}

/// Limits in the order in which they are charged: those of a key first, those of an organization
/// last.
pub(super) struct MeteredLimits {
    limits: [Option<MeteredLimit>; MOST_LIMITS],
    len: usize,
    /// Whether one of them is a quota, which needs the wall clock.
    pub(super) has_quota: bool,
    /// Whether one of them counts requests at the same time.
    pub(super) has_concurrency: bool,
    /// Whether one of them takes units from a store of meters.
    pub(super) has_leased: bool,
}

/// A limit of a plan, with the rule and the count of one record.
pub(super) struct MeteredLimit {
    place: usize,
    pub(super) rule: Rule,
    pub(super) counted: Arc<Counted>,
    /// For a rate in the cache of a thread.
    lane: Lane,
}

impl Metered {
    pub(super) fn new(limiter: &Arc<Limiter>, plan: &Arc<[Limit]>, record: &KeyRecord) -> Self {
        let of = |for_routes| MeteredLimits::new(plan, limiter, record, for_routes);
        Self {
            id: limiter.id(),
            of_requests: of(false),
            of_routes: of(true),
            limiter: Arc::downgrade(limiter),
            plan: Arc::clone(plan),
        }
    }

    pub(super) fn has_quota(&self) -> bool {
        self.of_requests.has_quota || self.of_routes.has_quota
    }

    /// Returns all limits, with what the plan says of them.
    pub(super) fn all(&self) -> impl Iterator<Item = (&Limit, &MeteredLimit)> + Clone {
        self.of_requests.iter().chain(self.of_routes.iter()).map(|limit| (limit.of(&self.plan), limit))
    }
}

impl MeteredLimits {
    pub(super) fn new(plan: &[Limit], limiter: &Limiter, record: &KeyRecord, for_routes: bool) -> Self {
        let limits = array::from_fn(|_| None);
        let mut of = Self { limits, len: 0, has_quota: false, has_concurrency: false, has_leased: false };
        for (place, base, number) in rules(plan, record).filter(|(place, ..)| plan[*place].is_for_routes == for_routes)
        {
            let limit = &plan[place];
            let (of_count, refiller) = limiter.count_of(limit, base, number, record);
            let rule = refiller.map_or(base, |refiller| base.leased(nanos(refiller.settings.lease)));
            let lease = || {
                let (refiller, meter_rule) = refiller.zip(of_count.meter_rule)?;
                let Rule::Leased(slice) = rule else { return None };
                let meter = meter_id(limit, base, record);
                Some(Box::new(Leased::new(meter, meter_rule, base, slice, Arc::clone(refiller))))
            };
            let counted = limiter.counts.get_or_insert(&of_count, lease);
            // A plan has no more limits than fit.
            if let Some(free) = of.limits.get_mut(of.len) {
                *free = Some(MeteredLimit { place, rule, counted, lane: Lane::new() });
                of.len += 1;
            }
            of.has_quota |= matches!(rule, Rule::Quota { .. });
            of.has_concurrency |= rule.kind() == Kind::Concurrency;
            of.has_leased |= rule.is_leased();
        }
        of
    }

    /// Returns the limit if it is the only one.
    #[inline]
    pub(super) fn only(&self) -> Option<&MeteredLimit> {
        if self.len == 1 { self.limits[0].as_ref() } else { None }
    }

    #[inline]
    pub(super) fn iter(&self) -> impl Iterator<Item = &MeteredLimit> + Clone {
        self.limits[..self.len].iter().flatten()
    }
}

impl MeteredLimit {
    /// Returns what the plan says of the limit.
    pub(super) fn of<'p>(&self, plan: &'p [Limit]) -> &'p Limit {
        &plan[self.place]
    }

    pub(super) fn is_concurrency(&self) -> bool {
        self.rule.kind() == Kind::Concurrency
    }

    /// Returns why a request does not pass; `None` if it passes, or if it is to ask a store of
    /// meters.
    pub(super) fn full(&self, cost: u64, whole: u64, now: Now) -> Option<Full> {
        match self.charge(cost, whole).full(now)? {
            Full::Ask => self.counted.leased()?.why_full(&self.counted.count, cost, now),
            full => Some(full),
        }
    }

    /// Asks for more units in the background if few are left.
    #[inline]
    pub(super) fn refill_if_low(&self, now: Now) {
        if let Rule::Leased(slice) = self.rule
            && self.counted.count.is_low(slice, now.monotonic)
            && let Some(leased) = self.counted.leased()
        {
            leased.refill(&self.counted);
        }
    }

    /// Gives back a charge of 1 that was made at `at`. Returns how much of it time has filled up
    /// since, in nanoseconds. `now` is read after the count.
    pub(super) fn give_back_one(&self, at: Now, now: impl Fn() -> Now) -> u64 {
        if let Some(leased) = self.counted.leased() {
            return leased.give_back_one(&self.counted, at);
        }
        let missing = Cell::new(0);
        self.counted.count.set(|state| {
            let (given_back, rest) = self.rule.give_back_one(state, at, now());
            missing.set(rest);
            given_back
        });
        missing.get()
    }

    /// Charges a request by the layer, on the thread with this number, whose key has no other
    /// limit.
    #[inline]
    pub(super) fn charge_alone(&self, thread: u32, now: Now) -> Result<u64, Full> {
        match self.rule {
            Rule::Rate(rate) => self.lane.charge(&self.counted.count, thread, rate, now.monotonic),
            Rule::Quota { .. } | Rule::Concurrency { .. } => self.charge(1, 1).charge(now),
            Rule::Leased(_) => self.charge_one(thread).charge(now),
        }
    }

    /// Returns the charge of a request by the layer, on the thread with this number.
    #[inline]
    pub(super) fn charge_one(&self, thread: u32) -> Charge<'_> {
        let lane = (self.rule.kind() == Kind::Rate).then_some((&self.lane, thread));
        Charge { lane, ..self.charge(1, 1) }
    }

    #[inline]
    pub(super) fn charge(&self, cost: u64, whole: u64) -> Charge<'_> {
        Charge { count: &self.counted.count, lane: None, rule: self.rule, cost, whole }
    }
}

/// Returns the limits of a plan that a record has, by their places, with their rules,
/// and the number that the record has in place of the limit's own.
pub(super) fn rules<'p>(plan: &'p [Limit], record: &'p KeyRecord) -> impl Iterator<Item = (usize, Rule, Option<u64>)> {
    plan.iter().enumerate().filter_map(|(place, limit)| {
        let number = record.limiting().and_then(|limiting| limiting.numbers.get(&limit.name)).copied();
        let rule = match number {
            Some(None) => return None,
            Some(Some(number)) => limit.rule_with(number),
            None => limit.rule(),
        };
        // The numbers of a plan are checked when it is built.
        Some((place, rule.unwrap_or(Rule::Concurrency { most: 0 }), number.flatten()))
    })
}
