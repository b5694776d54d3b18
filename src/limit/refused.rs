//! Why a request is rejected, and when it passes.

use std::{sync::Arc, time::Duration};

use super::{
    gcra::Full,
    leased::Leased,
    metered::MeteredLimit,
    plans::Limit,
    rule::{Kind, Now},
};
use crate::rejection::{Reason, Rejection};

/// Returns why a request is rejected: the limits that are full, and the longest wait of them.
#[cold]
pub(super) fn refused<'m>(
    now: Now,
    plan: &[Limit],
    parts: impl Iterator<Item = (&'m MeteredLimit, u64, u64)> + Clone,
) -> Rejection {
    rejection(parts.filter_map(|(limit, cost, whole)| Some((limit, limit.full(cost, whole, now)?))), plan)
}

/// Returns the rejection for limits that are full.
pub(super) fn rejection<'m>(full: impl Iterator<Item = (&'m MeteredLimit, Full)> + Clone, plan: &[Limit]) -> Rejection {
    let (mut longest, mut reason) = (Some(0), None);
    for (limit, full) in full.clone() {
        let wait = match full {
            Full::For(wait) => Some(wait),
            Full::Forever | Full::Ask => None,
        };
        if longest.is_some_and(|longest| wait.is_none_or(|wait| wait >= longest)) {
            longest = wait;
            reason = Some(match limit.rule.kind() {
                Kind::Rate => Reason::RateLimited,
                Kind::Quota => Reason::QuotaExceeded,
                Kind::Concurrency => Reason::ConcurrencyLimited,
                Kind::Credits => limit.counted.leased().map_or(Reason::CreditsExhausted, Leased::exhausted),
            });
        }
    }
    let mut names = full.map(|(limit, _)| &limit.of(plan).alone);
    let violated = match (names.next(), names.next()) {
        (Some(one), None) => Arc::clone(one),
        (one, other) => one.into_iter().chain(other).chain(names).flat_map(|name| name.iter().cloned()).collect(),
    };
    // Another request may have ended meanwhile, so that no limit is full any more.
    Rejection::limited(reason.unwrap_or(Reason::RateLimited), violated, longest.map(Duration::from_nanos))
}
