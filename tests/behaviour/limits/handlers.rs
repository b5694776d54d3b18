//! Tests what a handler does with the limits of its caller: look, charge, and reserve.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use super::{SECOND, advance, burst, daily, free, full, left, passes, planned, retry_after};
use crate::support::{Api, LIVE, TestApi, accepted, bearer, t0};
use tower_api_key::{
    ApiKeyLayer, Principal, Reason,
    limit::{Limit, Limits, Plans, Rate, Remaining, Subject},
    store::MemoryStore,
};

/// Returns the principal of an accepted request.
async fn principal(api: &TestApi) -> Principal {
    api.answer(bearer(LIVE)).await.principal.unwrap()
}

fn numbers(remaining: &[Remaining]) -> Vec<(&str, u64, u64)> {
    remaining.iter().map(|limit| (limit.limit.as_str(), limit.most, limit.requests)).collect()
}

#[tokio::test]
async fn remaining_tells_what_is_left_in_the_order_of_the_charges() {
    let (api, limits) = planned(free([
        Limit::concurrency("streams", 3).shared_by(Subject::Organization),
        burst(10).shared_by(Subject::Owner),
        daily(100),
    ]));
    let api = api.run();
    let key = principal(&api).await;
    let remaining = key.remaining();
    assert_eq!(numbers(&remaining), [("daily", 100, 99), ("burst", 10, 9), ("streams", 3, 2)]);
    let subjects: Vec<_> = remaining.iter().map(|limit| limit.subject).collect();
    assert_eq!(subjects, [Subject::Key, Subject::Owner, Subject::Organization]);
    let hour = Duration::from_hours(1);
    let after: Vec<_> = remaining.iter().map(|limit| limit.full_after).collect();
    assert_eq!(after, [Some(16 * hour), Some(hour), None], "the clock of a test begins at 08:00");
    drop(key);
    assert_eq!(left(&api, &limits, LIVE).await, [99, 9, 3]);
}

#[tokio::test]
async fn remaining_spends_nothing_and_makes_no_count() {
    let (api, limits) = planned(free([burst(10), daily(10)]));
    let api = api.run();
    for _ in 0..100 {
        assert_eq!(left(&api, &limits, LIVE).await, [10, 10]);
    }
    assert_eq!(super::memory::counts(&limits), 0);
    let key = principal(&api).await;
    for _ in 0..100 {
        assert_eq!(numbers(&key.remaining()), [("burst", 10, 9), ("daily", 10, 9)]);
    }
}

#[tokio::test]
async fn a_charge_after_the_fact_makes_the_next_request_wait() {
    let (api, limits) = planned(free([Limit::rate("rate", Rate::per_second(10)), daily(100)]));
    let api = api.run();
    let key = principal(&api).await;
    key.charge(4);
    assert_eq!(left(&api, &limits, LIVE).await, [5, 95]);
    key.charge(0);
    assert_eq!(left(&api, &limits, LIVE).await, [5, 95]);
    key.charge(10);
    assert_eq!(left(&api, &limits, LIVE).await, [0, 85]);
    let answer = api.answer(bearer(LIVE)).await;
    assert_eq!((answer.status.as_u16(), retry_after(&answer)), (429, Some(1)));
    advance(&api.clock, Duration::from_millis(599));
    assert_eq!(api.call(bearer(LIVE)).await, full(Reason::RateLimited));
    advance(&api.clock, Duration::from_millis(1));
    assert_eq!(api.call(bearer(LIVE)).await, accepted());
}

#[tokio::test]
async fn the_debt_of_a_rate_is_at_most_one_burst() {
    let (api, _) = planned(free([Limit::rate("rate", Rate::per_second(10))]));
    let api = api.run();
    let key = principal(&api).await;
    for cost in [1_000_000, u32::MAX, 1] {
        key.charge(cost);
        let answer = api.answer(bearer(LIVE)).await;
        assert_eq!((answer.status.as_u16(), retry_after(&answer)), (429, Some(2)), "{cost}");
    }
    // One burst of debt, and the time of one request.
    advance(&api.clock, Duration::from_millis(1100) - Duration::from_nanos(1));
    assert_eq!(api.call(bearer(LIVE)).await, full(Reason::RateLimited));
    advance(&api.clock, Duration::from_nanos(1));
    assert_eq!(passes(&api, LIVE).await, 1);
}

#[tokio::test]
async fn a_charge_over_a_quota_is_spent_and_ends_with_the_period() {
    let (api, limits) = planned(free([daily(10)]));
    let api = api.run();
    let key = principal(&api).await;
    for _ in 0..3 {
        key.charge(u32::MAX);
    }
    assert_eq!(left(&api, &limits, LIVE).await, [0]);
    assert_eq!(api.call(bearer(LIVE)).await, full(Reason::QuotaExceeded));
    advance(&api.clock, Duration::from_hours(16));
    assert_eq!(left(&api, &limits, LIVE).await, [10]);
}

#[tokio::test]
async fn a_reservation_that_is_dropped_is_spent() {
    let (api, limits) = planned(free([burst(10), daily(100)]));
    let api = api.run();
    let key = principal(&api).await;
    let reserved = key.reserve(4).await.unwrap();
    assert_eq!(left(&api, &limits, LIVE).await, [5, 95]);
    drop(reserved);
    assert_eq!(left(&api, &limits, LIVE).await, [5, 95]);
}

#[tokio::test]
async fn a_reservation_gives_back_what_was_not_spent() {
    let (api, limits) = planned(free([burst(10), daily(100)]));
    let api = api.run();
    let key = principal(&api).await;
    for (spent, expected) in [(0, 0), (1, 1), (3, 3), (4, 4), (5, 4), (u32::MAX, 4)] {
        let before = left(&api, &limits, LIVE).await;
        key.reserve(4).await.unwrap().settle(spent);
        let after = left(&api, &limits, LIVE).await;
        assert_eq!([before[0] - after[0], before[1] - after[1]], [expected; 2], "{spent}");
        key.reserve(u32::try_from(after[0]).unwrap()).await.unwrap().cancel();
        assert_eq!(left(&api, &limits, LIVE).await, after);
        advance(&api.clock, Duration::from_hours(9)); // The rate is full again.
    }
}

#[tokio::test]
async fn a_reservation_takes_all_limits_or_none() {
    let (api, limits) = planned(free([burst(10), daily(6)]));
    let api = api.run();
    assert_eq!(api.call(bearer(LIVE)).await, accepted());
    let key = principal(&api).await;
    let refused = key.reserve(5).await.unwrap_err();
    assert_eq!(refused.reason(), Reason::QuotaExceeded);
    assert_eq!(refused.violated_limits().collect::<Vec<_>>(), ["daily"]);
    assert_eq!(refused.retry_after(), Some(Duration::from_hours(16)));
    // The request itself costs 1.
    for (cost, expected) in [(6, vec!["daily"]), (10, vec!["burst", "daily"])] {
        let never = key.reserve(cost).await.unwrap_err();
        assert_eq!((never.violated_limits().collect::<Vec<_>>(), never.retry_after()), (expected, None));
    }
    assert_eq!(left(&api, &limits, LIVE).await, [8, 4]);
    key.reserve(4).await.unwrap().cancel();
    key.reserve(0).await.unwrap().settle(5);
    assert_eq!(left(&api, &limits, LIVE).await, [8, 4]);
}

#[tokio::test]
async fn a_reservation_gives_no_quota_back_in_a_later_period() {
    let (api, limits) = planned(free([daily(10)]));
    let api = api.run();
    let key = principal(&api).await;
    let reserved = key.reserve(5).await.unwrap();
    advance(&api.clock, Duration::from_hours(24));
    assert_eq!(api.call(bearer(LIVE)).await, accepted());
    reserved.cancel();
    assert_eq!(left(&api, &limits, LIVE).await, [9]);
}

#[tokio::test]
async fn a_reservation_gives_a_rate_back_only_what_time_has_not() {
    let (api, limits) = planned(free([Limit::rate("rate", Rate::per_second(1).burst(100))]));
    let api = api.run();
    let key = principal(&api).await;
    assert_eq!(left(&api, &limits, LIVE).await, [99]);
    advance(&api.clock, SECOND);
    let reserved = key.reserve(50).await.unwrap();
    advance(&api.clock, SECOND * 20);
    assert_eq!(left(&api, &limits, LIVE).await, [70]);
    reserved.settle(30);
    assert_eq!(left(&api, &limits, LIVE).await, [90], "30 were spent, and 20 of them are over");
    let reserved = key.reserve(50).await.unwrap();
    advance(&api.clock, SECOND * 200);
    assert_eq!(api.call(bearer(LIVE)).await, accepted());
    reserved.cancel();
    assert_eq!(left(&api, &limits, LIVE).await, [99]);
}

/// Several reservations at once: those that end early free nothing for those that end late.
#[tokio::test]
async fn reservations_that_overlap_admit_no_more_than_the_burst() {
    let (api, limits) = planned(free([Limit::rate("rate", Rate::per_second(1).burst(100))]));
    let api = api.run();
    let key = principal(&api).await;
    advance(&api.clock, SECOND);
    let (first, second) = (key.reserve(50).await.unwrap(), key.reserve(50).await.unwrap());
    first.cancel();
    assert_eq!(left(&api, &limits, LIVE).await, [50]);
    advance(&api.clock, SECOND * 40);
    assert_eq!(left(&api, &limits, LIVE).await, [90]);
    drop(key.reserve(50).await.unwrap());
    second.cancel();
    assert_eq!(left(&api, &limits, LIVE).await, [50], "40 of the second were over before the third");
}

#[tokio::test]
async fn a_principal_may_outlive_the_limits_of_its_layer() {
    let plans = || free([burst(10)]);
    let key = {
        let keys = MemoryStore::new();
        let record = tower_api_key::KeyRecord::for_key(
            "k1",
            &tower_api_key::ApiKey::new(LIVE).unwrap(),
            &tower_api_key::KeyHasher::sha256(),
        );
        keys.add(record).unwrap();
        let limits = Limits::in_process(plans()).clock(t0).build().unwrap();
        let layer = ApiKeyLayer::builder(keys).limits(limits).build().unwrap();
        layer.authenticate(&bearer(LIVE)).await.unwrap()
    };
    assert_eq!(key.remaining(), Vec::new());
    key.charge(3);
    key.reserve(1000).await.unwrap().cancel();
}

/// Keys that a thread keeps must not keep the limits of a layer that is gone.
#[tokio::test]
async fn limits_end_with_their_layer_although_its_store_stays() {
    let (api, _) = planned(free([burst(10)]));
    let api = api.run();
    let clock = Arc::new(());
    for expected in [9, 9] {
        let alive = Arc::clone(&clock);
        let now = move || {
            let _ = &alive;
            t0()
        };
        let limits = Limits::in_process(free([burst(10)])).clock(now).build().unwrap();
        let layer = ApiKeyLayer::builder(api.store.keys.clone()).limits(limits).build().unwrap();
        // The third one finds the key in the cache of this thread.
        let keys: Vec<_> = (0..3).map(|_| layer.try_authenticate(&bearer(LIVE)).unwrap().unwrap()).collect();
        assert_eq!(keys[0].remaining()[0].requests, expected - 2);
        drop((layer, keys));
        assert_eq!(Arc::strong_count(&clock), 1);
    }
}

/// The 429 of another key, such as one that a handler authenticates, is no credit for either.
#[tokio::test]
async fn the_rejection_of_another_key_gives_nothing_back() {
    const OTHER: &str = "other_QWBuTSOoRi4A9spHcVY5ncnsDkxk";
    let (api, limits) = planned(free([burst(3)]));
    let api = api.key("other", OTHER, |key| key);
    let layer = ApiKeyLayer::builder(api.store.keys.clone()).limits(limits.clone()).build().unwrap();
    let of_handler = layer.clone();
    let service = tower::Layer::layer(
        &layer,
        tower::service_fn(move |_: http::Request<crate::support::Body>| {
            let rejection = of_handler.try_authenticate(&bearer(OTHER)).unwrap().err();
            async move {
                let mut response = http::Response::new(crate::support::Body::default());
                response.extensions_mut().insert(rejection.unwrap());
                Ok::<_, std::convert::Infallible>(response)
            }
        }),
    );
    let api: TestApi = api.run();
    for _ in 0..3 {
        layer.try_authenticate(&bearer(OTHER)).unwrap().unwrap();
    }
    let response = tower::ServiceExt::oneshot(service, bearer(LIVE)).await.unwrap();
    assert_eq!(response.status(), 429);
    assert_eq!((left(&api, &limits, LIVE).await, left(&api, &limits, OTHER).await), (vec![2], vec![0]));
}

/// `authenticate` and `try_authenticate` count as a request through the layer does.
#[tokio::test]
async fn a_request_that_is_authenticated_without_a_service_counts() {
    let (api, limits) = planned(Plans::new().plan("free", [burst(4), daily(10)]).default_plan("free"));
    let keys = api.store.keys.clone();
    let layer = ApiKeyLayer::builder(keys).limits(limits.clone()).build().unwrap();
    let api: TestApi = Api::run(api);
    layer.authenticate(&bearer(LIVE)).await.unwrap();
    layer.try_authenticate(&bearer(LIVE)).unwrap().unwrap();
    assert_eq!(left(&api, &limits, LIVE).await, [2, 8]);
    let key = layer.authenticate(&bearer(LIVE)).await.unwrap();
    key.reserve(1).await.unwrap().cancel();
    key.charge(1);
    let reasons = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&reasons);
    let observed = ApiKeyLayer::builder(api.store.keys.clone())
        .limits(limits.clone())
        .observe(move |decision| noted.lock().unwrap().push((decision.outcome(), decision.violated_limits().count())))
        .build()
        .unwrap();
    let rejection = observed.authenticate(&bearer(LIVE)).await.unwrap_err();
    assert_eq!((rejection.reason(), rejection.retry_after().is_some()), (Reason::RateLimited, true));
    let rejection = observed.try_authenticate(&bearer(LIVE)).unwrap().unwrap_err();
    assert_eq!(rejection.reason(), Reason::RateLimited);
    let limit = (full(Reason::RateLimited).outcome, 1);
    assert_eq!(*reasons.lock().unwrap(), [limit, limit]);
    assert_eq!(left(&api, &limits, LIVE).await, [0, 6]);
}

/// Who gets no answer asks again, by `authenticate`: this must not count twice.
#[tokio::test]
async fn try_authenticate_spends_nothing_if_it_would_have_to_wait() {
    use tower_api_key::rejection::Verdict;
    let (api, limits) = planned(free([burst(4), daily(10), Limit::concurrency("streams", 1)]));
    let layer = ApiKeyLayer::builder(api.store.keys.clone())
        .limits(limits.clone())
        .after_verify(|_, _| Verdict::wait(async { Ok(()) }))
        .build()
        .unwrap();
    let api = api.run();
    for _ in 0..10 {
        assert!(layer.try_authenticate(&bearer(LIVE)).is_none());
    }
    assert_eq!(left(&api, &limits, LIVE).await, [4, 10, 1]);
    layer.authenticate(&bearer(LIVE)).await.unwrap();
    assert_eq!(left(&api, &limits, LIVE).await, [3, 9, 1]);
}
