//! The limits of one record, with their counts.

use std::{array, sync::Arc};

use super::{
    count::Charge,
    counts::{Counted, Counts},
    lane::Lane,
    limiter::Limiter,
    plans::Limit,
    rule::{Kind, Rule},
};
use crate::record::KeyRecord;

/// How many limits of a plan count every request, and how many count requests for some routes only.
pub(super) const MOST_LIMITS: usize = 4;

/// The limits of a record, in the order in which they are charged: those of a key first, those of an
/// organization last.
pub(crate) struct Metered {
    /// Which limiter has resolved them.
    pub(super) limiter: Arc<Limiter>,
    of_requests: Limits,
    of_routes: Limits,
    /// Whether one of them is a quota, which needs the wall clock.
    pub(super) has_quota: bool,
    /// Whether one of them counts requests at the same time.
    pub(super) has_concurrency: bool,
}

type Limits = [Option<MeteredLimit>; MOST_LIMITS];

/// A limit of a plan, with the rule and the count of one record.
pub(super) struct MeteredLimit {
    plan: Arc<[Limit]>,
    place: usize,
    pub(super) rule: Rule,
    pub(super) counted: Arc<Counted>,
    /// For a rate in the cache of a thread.
    lane: Lane,
}

impl Metered {
    pub(super) fn new(limiter: &Arc<Limiter>, plan: &Arc<[Limit]>, counts: &Counts, record: &KeyRecord) -> Self {
        let (mut of_requests, mut of_routes): (Limits, Limits) = (array::from_fn(|_| None), array::from_fn(|_| None));
        let (mut has_quota, mut has_concurrency) = (false, false);
        for (place, rule) in rules(plan, record) {
            let limit = &plan[place];
            let counted = counts.get_or_insert(&limit.name, rule, limit.subject, record);
            let list = if limit.is_for_routes { &mut of_routes } else { &mut of_requests };
            // A plan has no more limits than fit.
            if let Some(free) = list.iter_mut().find(|limit| limit.is_none()) {
                *free = Some(MeteredLimit { plan: Arc::clone(plan), place, rule, counted, lane: Lane::new() });
            }
            has_quota |= rule.kind() == Kind::Quota;
            has_concurrency |= rule.kind() == Kind::Concurrency;
        }
        Self { limiter: Arc::clone(limiter), of_requests, of_routes, has_quota, has_concurrency }
    }

    /// Returns the limits that every request is charged to.
    #[inline]
    pub(super) fn of_requests(&self) -> impl Iterator<Item = &MeteredLimit> + Clone {
        self.of_requests.iter().map_while(Option::as_ref)
    }

    /// Returns the limits that count requests for some routes only.
    pub(super) fn of_routes(&self) -> impl Iterator<Item = &MeteredLimit> + Clone {
        self.of_routes.iter().map_while(Option::as_ref)
    }
}

impl MeteredLimit {
    pub(super) fn limit(&self) -> &Limit {
        &self.plan[self.place]
    }

    pub(super) fn is_concurrency(&self) -> bool {
        self.rule.kind() == Kind::Concurrency
    }

    /// Returns the charge of a request by the layer, on the thread with this number.
    #[inline]
    pub(super) fn charge_one(&self, thread: u64) -> Charge<'_> {
        Charge { lane: Some((&self.lane, thread)), ..self.charge(1, 1) }
    }

    #[inline]
    pub(super) fn charge(&self, cost: u64, whole: u64) -> Charge<'_> {
        Charge { count: &self.counted.count, lane: None, rule: self.rule, cost, whole }
    }
}

/// Returns the limits of a plan that a record has, by their places, with their rules.
pub(super) fn rules<'p>(plan: &'p [Limit], record: &'p KeyRecord) -> impl Iterator<Item = (usize, Rule)> {
    plan.iter().enumerate().filter_map(|(place, limit)| {
        let number = record.limiting().and_then(|limiting| limiting.numbers.get(&limit.name)).copied();
        match number {
            Some(None) => None,
            // A number of a record that no rule can have admits nobody.
            number => Some((place, limit.rule(number.flatten()).unwrap_or(Rule::Concurrency { most: 0 }))),
        }
    })
}
