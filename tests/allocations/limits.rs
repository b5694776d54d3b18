//! Limits allocate when they first count a key, and not for the requests after that.

use std::{convert::Infallible, time::Duration};

use http::{Request, StatusCode};
use tower::Layer;
use tower_api_key::{
    ApiKey, ApiKeyLayer, KeyDigest, KeyHasher, KeyRecord, KeyStore, Lookup, Require,
    layer::ApiKeyLayerBuilder,
    limit::{Limit, Limits, Plans, Quota, Rate, Subject},
    store::MemoryStore,
};

use super::{
    allocations, answer, inner,
    support::{Body, LIVE, TestClock, UNKNOWN, bearer},
    warm_up,
};

/// A store whose records no thread caches, like those of a key that is used rarely.
struct Uncached(KeyRecord);

impl KeyStore for Uncached {
    type Error = Infallible;

    async fn find(&self, digest: &KeyDigest) -> Result<Option<KeyRecord>, Infallible> {
        Ok((digest == self.0.digest()).then(|| self.0.clone()))
    }

    fn try_find(&self, digest: &KeyDigest) -> Lookup {
        (digest == self.0.digest()).then(|| self.0.clone()).into()
    }
}

fn record() -> KeyRecord {
    let key = ApiKey::new(LIVE).unwrap();
    KeyRecord::for_key("live", &key, &KeyHasher::sha256()).grant("links", "read").with_organization("acme")
}

fn memory() -> ApiKeyLayerBuilder {
    let keys = MemoryStore::new();
    keys.add(record()).unwrap();
    ApiKeyLayer::builder(keys)
}

fn limits(plan: impl IntoIterator<Item = Limit>) -> Limits {
    // A clock that stands still: no count is removed.
    let clock = TestClock::new();
    let plans = Plans::new().plan("plan", plan).default_plan("plan");
    Limits::in_process(plans).clock(move || clock.get()).build().unwrap()
}

fn plans() -> [(&'static str, Vec<Limit>); 3] {
    let rate = || Limit::rate("rate", Rate::per_second(1000));
    let shared = || Limit::rate("organization", Rate::per_second(1000)).shared_by(Subject::Organization);
    let [daily, monthly] = [("daily", Quota::per_day(1000)), ("monthly", Quota::per_month(1000))]
        .map(|(name, quota)| Limit::quota(name, quota));
    [
        ("one rate", vec![rate()]),
        ("a rate and a quota", vec![rate(), daily.clone()]),
        ("four limits", vec![rate(), shared(), daily, monthly]),
    ]
}

/// Returns the allocations of an accepted request by a layer that has already counted its key.
fn accepted(builder: ApiKeyLayerBuilder) -> u64 {
    let guard = Require::permission("links", "read");
    let mut service = builder.build().unwrap().layer(guard.layer(inner()));
    warm_up(|| allocations(&mut service, bearer(LIVE)));
    allocations(&mut service, bearer(LIVE))
}

#[test]
fn rates_and_quotas_add_no_allocation_to_an_accepted_request() {
    for (name, plan) in plans() {
        assert_eq!(accepted(memory().limits(limits(plan.clone()))), accepted(memory()), "{name}");
        let uncached = || ApiKeyLayer::builder(Uncached(record()));
        assert_eq!(accepted(uncached().limits(limits(plan))), accepted(uncached()), "{name}, not cached by a thread");
    }
}

/// The places of a request have one owner, which the body and the principal share.
#[test]
fn a_limit_on_requests_at_the_same_time_adds_one_allocation() {
    let limits = limits([Limit::concurrency("streams", 2)]);
    assert_eq!(accepted(memory().limits(limits)), accepted(memory()) + 1);
}

/// Returns the allocations of a response with this status.
fn rejected(builder: ApiKeyLayerBuilder, request: fn() -> Request<Body>, status: StatusCode) -> u64 {
    let mut service = builder.build().unwrap().layer(inner());
    warm_up(|| answer(&mut service, request()).1);
    let (response, count) = answer(&mut service, request());
    assert_eq!(response, status);
    count
}

/// The body of a 429 is made in advance for each limit. So it costs at most five allocations more
/// than a 401, for the names, the time, and the header with it.
#[test]
fn a_429_of_one_limit_renders_no_body() {
    let unauthorized = rejected(memory(), || bearer(UNKNOWN), StatusCode::UNAUTHORIZED);
    for limit in [
        Limit::rate("burst", Rate::per_hour(1)),
        Limit::rate("burst", Rate::per(1, Duration::from_hours(8000))),
        Limit::quota("monthly", Quota::per_month(1)),
    ] {
        let limited = rejected(memory().limits(limits([limit])), || bearer(LIVE), StatusCode::TOO_MANY_REQUESTS);
        assert!(limited <= unauthorized + 5, "{limited} allocations, and {unauthorized} of a 401");
    }
}
