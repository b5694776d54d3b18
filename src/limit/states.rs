//! What the fields of a response say about the limits of a record.

use std::time::Duration;

use http::HeaderMap;

use super::{
    fields::{FieldsForm, LimitState},
    limits::Limits,
    metered::{Metered, MeteredLimit},
    plans::{Limit, Subject},
    rule::{Kind, Now},
};
use crate::{
    permission::Action,
    record::KeyRecord,
    rejection::{Problem, Reason, Rejection},
};

impl Limits {
    /// Writes the fields of a response to the key of `record`. `rejection` is what the response
    /// renders, if the request is rejected.
    ///
    /// A limit for routes is part of them if it has rejected the request: the layer does not know
    /// otherwise that it counts this route.
    pub(crate) fn write_fields(
        &self,
        form: FieldsForm,
        record: &KeyRecord,
        rejection: Option<&Rejection>,
        headers: &mut HeaderMap,
    ) {
        if rejection.is_some_and(|rejection| rejection.reason() == Reason::Misconfigured) {
            return; // The plan may be unknown.
        }
        let limiter = self.limiter();
        let sees_shared = record.permissions().allows("limits", Action::READ);
        let is_violated = |limit: &Limit| {
            rejection.is_some_and(|rejection| rejection.violated_limits().any(|name| *name == *limit.name))
        };
        let _ = limiter.metered(record, |metered| {
            let now = limiter.now(true);
            let all = metered.into_iter().flat_map(Metered::all);
            let counting = all.filter(|(limit, _)| !limit.is_for_routes || is_violated(limit));
            // A balance has no window.
            let counting = counting.filter(|(_, metered)| metered.rule.kind() != Kind::Credits);
            let states = counting.map(|(limit, metered)| metered.state(limit, now, sees_shared));
            form.write(states, rejection.and_then(Rejection::retry_after), headers);
        });
    }

    /// Returns the names of all limits, each with the problem that it leads to.
    pub(crate) fn problems(&self) -> impl Iterator<Item = (Problem, &str)> {
        let pays = self.limiter().refillers.as_ref().is_some_and(|refillers| refillers.settings().payment_required);
        self.limiter().all().filter_map(move |(_, limit)| {
            let problem = match limit.rule().ok()?.kind() {
                Kind::Rate => Problem::RateLimited,
                Kind::Quota => Problem::QuotaExceeded,
                Kind::Concurrency => Problem::ConcurrencyLimited,
                Kind::Credits if pays => Problem::PaymentRequired,
                Kind::Credits => Problem::CreditsExhausted,
            };
            Some((problem, &*limit.name))
        })
    }
}

impl MeteredLimit {
    fn state<'p>(&self, limit: &'p Limit, now: Now, sees_shared: bool) -> LimitState<'p> {
        let is_shown = sees_shared || limit.subject == Subject::Key;
        if let Some(leased) = self.counted.leased() {
            let (rule, remaining) = (leased.base, leased.remaining(&self.counted.count, now.monotonic));
            return LimitState {
                name: &limit.name,
                quota: rule.most(),
                window: rule.window(0, now).map(Duration::from_nanos),
                is_concurrency: false,
                remaining: is_shown.then_some(remaining),
                more_after: leased.more_after(&self.counted.count, now).map(Duration::from_nanos),
            };
        }
        let (rule, state) = (self.rule, self.counted.count.state());
        LimitState {
            name: &limit.name,
            quota: rule.most(),
            window: rule.window(state, now).map(Duration::from_nanos),
            is_concurrency: self.is_concurrency(),
            remaining: is_shown.then(|| rule.remaining(state, now)),
            more_after: rule.more_after(state, now).map(Duration::from_nanos),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::limit::{gcra::Gcra, rule::Rule};

    proptest! {
        #[test]
        fn one_more_request_passes_after_the_time_of_the_fields_and_not_before(
            count in 1_u64..1000, period in 1_u64..10_000, burst in 1_u64..100, now in 0_u64..1000, taken in 1_u64..2_000_000,
        ) {
            let rate = Rule::Rate(Gcra::new(count, period, burst).unwrap());
            let (state, at) = (now + taken, |time| Now { monotonic: time, wall: 0 });
            let left = |time| rate.remaining(state, at(time));
            let after = rate.more_after(state, at(now)).unwrap();
            prop_assert_eq!((left(now + after - 1), left(now + after)), (left(now), left(now) + 1));
            prop_assert_eq!(rate.more_after(state, at(state)), None, "it is full");
        }
    }
}
