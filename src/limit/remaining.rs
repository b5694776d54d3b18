//! What is left of a limit.

use std::time::Duration;

use super::{
    limiter::Limiter,
    metered::rules,
    plans::{Limit, Subject},
    rule::Rule,
};
use crate::record::KeyRecord;

/// What is left of one limit. [`Limits::remaining`](super::Limits::remaining) has an example.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Remaining {
    /// The name of the limit.
    pub limit: String,
    /// Whose requests it counts together.
    pub subject: Subject,
    /// How many requests it admits at most: the burst of a rate, the number of a quota, or the
    /// number of requests at the same time. For credits, those that are left.
    pub most: u64,
    /// How many requests of cost 1 pass now.
    pub requests: u64,
    /// The time until a rate has its full burst again, or until the next period of a quota, also if
    /// nothing is used. `None` for a limit on requests at the same time, and for credits.
    pub full_after: Option<Duration>,
}

impl Limiter {
    /// Returns what is left of the limits of a record; `None` if its plan is unknown.
    pub(super) fn remaining(&self, record: &KeyRecord) -> Option<Vec<Remaining>> {
        let Some(plan) = self.plan(record).ok()? else { return Some(Vec::new()) };
        let now = self.now(true);
        let remaining = |(place, rule, number): (usize, Rule, Option<u64>)| {
            let limit: &Limit = &plan[place];
            let counted = self.counts.get(&self.count_of(limit, rule, number, record).0);
            let leased = counted.as_deref().and_then(|counted| Some((counted.leased()?, &counted.count)));
            let (requests, full_after) = if let Some((leased, count)) = leased {
                let requests = leased.remaining(count, now.monotonic);
                (requests, leased.full_after(requests, now))
            } else {
                let state = counted.map_or(0, |counted| counted.count.state());
                // Credits that this node has not asked for are unknown: 0.
                (rule.remaining(state, now), rule.full_after(state, now))
            };
            Remaining {
                limit: limit.name.to_string(),
                subject: limit.subject,
                most: if limit.is_credits() { requests } else { rule.most() },
                requests,
                full_after: full_after.map(Duration::from_nanos),
            }
        };
        Some(rules(plan, record).map(remaining).collect())
    }
}
