//! The limits of one record, with their counts.

use std::sync::Arc;

use super::{
    count::Charge,
    counts::{Counted, Counts},
    plans::Limit,
    rule::{Kind, Rule},
};
use crate::record::{Generation, KeyRecord};

/// The limits of a record, in the order in which they are charged: those of a key first, those of an
/// organization last.
pub(crate) struct Metered {
    /// Which limiter has resolved them.
    pub(super) limiter: Generation,
    pub(super) limits: Box<[MeteredLimit]>,
    /// Whether one of them is a quota, which needs the wall clock.
    pub(super) has_quota: bool,
}

/// A limit of a plan, with the rule and the count of one record.
pub(super) struct MeteredLimit {
    pub(super) plan: Arc<[Limit]>,
    pub(super) place: usize,
    pub(super) rule: Rule,
    pub(super) counted: Arc<Counted>,
}

impl Metered {
    pub(super) fn new(limiter: Generation, plan: &Arc<[Limit]>, counts: &Counts, record: &KeyRecord) -> Self {
        let limits: Box<[_]> = rules(plan, record)
            .map(|(place, rule)| {
                let limit = &plan[place];
                let counted = counts.get_or_insert(&limit.name, rule, limit.subject, record);
                MeteredLimit { plan: Arc::clone(plan), place, rule, counted }
            })
            .collect();
        let has_quota = limits.iter().any(|limit| limit.rule.kind() == Kind::Quota);
        Self { limiter, limits, has_quota }
    }

    /// Returns the limits that every request is charged to.
    pub(super) fn of_requests(&self) -> impl Iterator<Item = &MeteredLimit> + Clone {
        self.limits.iter().filter(|limit| !limit.limit().is_for_routes)
    }
}

impl MeteredLimit {
    pub(super) fn limit(&self) -> &Limit {
        &self.plan[self.place]
    }

    pub(super) fn charge(&self, cost: u64, whole: u64) -> Charge<'_> {
        Charge { count: &self.counted.count, rule: self.rule, cost, whole }
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
