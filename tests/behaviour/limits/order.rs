//! Tests the order: authentication, rates, permissions, quotas, handler. A 401 and a 429 spend
//! nothing, a 403 spends a rate and no quota.

use std::time::Duration;

use super::{burst, daily, free, full, left, planned, status};
use crate::support::{
    Api, App, Body, Fault, LIVE, TestApi, UNKNOWN, accepted, add, bare, bearer, boxed, method, passed, path, refused,
};
use futures_util::future::BoxFuture;
use http::{Method, Request};
use tower::service_fn;
use tower_api_key::{
    Outcome, Principal, Reason, Rejection, Require, Status,
    limit::{Limit, Limits, Rate},
    rejection::Verdict,
};

/// A burst of 10, and 10 a day.
fn ten() -> (Api, Limits) {
    planned(free([burst(10), daily(10)]))
}

/// Returns a service that rejects each request for a reason that it finds itself.
fn rejecting(reject: fn(Principal) -> BoxFuture<'static, Rejection>) -> App {
    boxed(service_fn(move |request: Request<Body>| {
        let principal = request.extensions().get::<Principal>().cloned().unwrap();
        async move { Ok(reject(principal).await.into_response_with(Body::default())) }
    }))
}

fn forbidden() -> Rejection {
    Rejection::forbidden()
}

#[tokio::test]
async fn an_accepted_request_spends_one_of_each_limit() {
    let (api, limits) = ten();
    let api = api.run();
    assert_eq!(api.call(bearer(LIVE)).await, accepted());
    assert_eq!(left(&api, &limits, LIVE).await, [9, 9]);
}

#[tokio::test]
async fn a_401_spends_nothing() {
    const DEAD: &str = "dead_zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ";
    let (api, limits) = ten();
    let api =
        api.key("k2", DEAD, |key| key.with_meter(tower_api_key::KeyId::from("live")).with_status(Status::Revoked));
    let api = api.run();
    assert_eq!(api.call(bare()).await, refused(Reason::Missing, 401));
    assert_eq!(api.call(bearer(UNKNOWN)).await, refused(Reason::Unknown, 401));
    assert_eq!(api.call(bearer(DEAD)).await, refused(Reason::Revoked, 401));
    let mut twice = bearer(LIVE);
    add(&mut twice, "x-api-key", UNKNOWN);
    assert_eq!(api.call(twice).await, refused(Reason::Ambiguous, 401));
    api.store.set(Fault::Fails);
    assert_eq!(api.call(bearer(LIVE)).await, refused(Reason::StoreFailed, 503));
    api.store.set(Fault::None);
    assert_eq!(left(&api, &limits, LIVE).await, [10, 10]);
}

#[tokio::test]
async fn a_rejection_from_further_inside_spends_a_rate_and_no_quota() {
    let reject = |_: &Principal, _: &http::request::Parts| Err::<(), _>(forbidden());
    let wait = |_: &Principal, _: &http::request::Parts| Verdict::wait(async { Err(forbidden()) });
    let table = || Require::table().route("GET", "/other", Require::authenticated()).build().unwrap();
    let guards = [
        Require::permission("links", "read"),
        Require::predicate(|_, _| false),
        Require::check(reject),
        Require::check(wait),
        Require::check(|_, _| Err::<(), _>(Rejection::not_found())),
        Require::check(|_, _| Err::<(), _>(Rejection::unavailable())),
        // A 429 of the application's own is no 429 of a limit.
        Require::check(|_, _| Err::<(), _>(Rejection::too_many_requests(Duration::from_secs(1)))),
        Require::permission("links", "read").hide_as_not_found(),
        Require::authenticated().and_then(reject),
        Require::any([Require::check(wait), Require::check(reject)]),
        table(),
    ];
    for guard in guards {
        let (api, limits) = ten();
        let text = format!("{guard:?}");
        let api = api.guard(guard).run();
        assert_ne!(api.call(bearer(LIVE)).await.status, 200, "{text}");
        assert_eq!(left(&api, &limits, LIVE).await, [9, 10], "{text}");
    }
    let [(at_once, first), (later, second)] = [ten(), ten()];
    let at_once = at_once.layer(move |layer| layer.after_verify(move |_, _| Err::<(), _>(forbidden()))).run();
    let later = later.layer(|layer| layer.after_verify(|_, _| Verdict::wait(async { Err(forbidden()) }))).run();
    for (api, limits) in [(at_once, first), (later, second)] {
        assert_eq!(api.call(bearer(LIVE)).await, refused(Reason::Forbidden, 403));
        assert_eq!(left(&api, &limits, LIVE).await, [9, 10]);
    }
}

#[tokio::test]
async fn a_handler_that_returns_a_rejection_spends_a_rate_and_no_quota() {
    let (api, limits) = ten();
    let api = api.run_over(rejecting(|key| Box::pin(async move { key.require("links", "read").unwrap_err() })));
    assert_eq!(status(&api).await, 403);
    assert_eq!(left(&api, &limits, LIVE).await, [9, 10]);
    // An answer of the handler's own is the handler's: the request was served.
    let (api, limits) = ten();
    let api = api.run_over(boxed(service_fn(async |_: Request<Body>| {
        Ok(http::Response::builder().status(403).body(Body::default()).unwrap())
    })));
    assert_eq!(status(&api).await, 403);
    assert_eq!(left(&api, &limits, LIVE).await, [9, 9]);
}

/// Sends one request that a limit rejects. Asserts that no limit is charged.
async fn spends_nothing(api: &TestApi, limits: &Limits, name: &str) {
    let before = left(api, limits, LIVE).await;
    assert_eq!(status(api).await, 429, "{name}");
    assert_eq!(left(api, limits, LIVE).await, before, "{name}");
}

#[tokio::test]
async fn a_429_spends_nothing_of_any_limit() {
    let all = || free([burst(10), daily(10), burst_of("other", 3), daily_of("second", 3)]);
    let burst_of_three = || free([burst_of("other", 3), burst(10), daily(10)]);
    for plans in [all(), burst_of_three(), free([daily(10), daily_of("second", 3), burst(10)])] {
        let (api, limits) = planned(plans);
        let api = api.run();
        assert_eq!(super::passes(&api, LIVE).await, 3);
        for _ in 0..20 {
            spends_nothing(&api, &limits, "by the layer").await;
        }
        let mut left = left(&api, &limits, LIVE).await;
        left.sort_unstable();
        assert!(left.ends_with(&[7, 7]) && left[0] == 0, "{left:?}");
    }
}

#[tokio::test]
async fn a_429_from_further_inside_spends_nothing_of_any_limit() {
    let (api, limits) = ten();
    spends_nothing(&api.guard(Require::authenticated().costs(11)).run(), &limits, "a cost").await;
    let (api, limits) = ten();
    let waiting = Require::check(|_, _| Verdict::wait(async { Ok(()) })).costs(11);
    spends_nothing(&api.guard(waiting).run(), &limits, "a cost of a check that waits").await;
    let (api, limits) = planned(free([burst(10), daily(10), daily_of("images", 0).for_routes()]));
    spends_nothing(&api.guard(Require::authenticated().limited_by("images")).run(), &limits, "a limit of a route")
        .await;
    let (api, limits) = planned(free([burst(10), daily(10), burst_of("images", 4).for_routes()]));
    let both = Require::authenticated().limited_by("images").costs(5);
    spends_nothing(&api.guard(both).run(), &limits, "a cost over the limit of a route").await;
    let (api, limits) = ten();
    let reserving = rejecting(|key| Box::pin(async move { key.reserve(10).await.unwrap_err() }));
    spends_nothing(&api.run_over(reserving), &limits, "a reservation").await;
    // The guard has charged its part, too.
    let (api, limits) = planned(free([burst(10), daily(10), burst_of("images", 4).for_routes()]));
    let reserving = rejecting(|key| Box::pin(async move { key.reserve(8).await.unwrap_err() }));
    let guard = Require::authenticated().costs(3).limited_by("images");
    spends_nothing(&api.guard(guard).run_over(reserving), &limits, "a reservation inside a guard").await;
    // Two guards: the outer has charged, the inner rejects.
    let (api, limits) = ten();
    let api = api.guard(Require::authenticated().costs(8)).guard(Require::authenticated().costs(4));
    spends_nothing(&api.run(), &limits, "the inner one of two guards").await;
}

fn burst_of(name: &str, requests: u64) -> Limit {
    Limit::rate(name, Rate::per_hour(1).burst(requests))
}

fn daily_of(name: &str, requests: u64) -> Limit {
    Limit::quota(name, tower_api_key::limit::Quota::per_day(requests))
}

#[tokio::test]
async fn a_preflight_and_a_skipped_path_spend_nothing_and_other_options_do() {
    let (api, limits) = planned(free([burst(10), daily(10)]));
    let api = api.layer(|layer| layer.pass_preflight().skip(|path| path == "/health")).run();
    let mut preflight = method(bearer(LIVE), Method::OPTIONS);
    add(&mut preflight, "origin", "https://example.com");
    add(&mut preflight, "access-control-request-method", "GET");
    assert_eq!(api.call(preflight).await, passed(Outcome::Preflight));
    assert_eq!(api.call(path(bearer(LIVE), "/health")).await, passed(Outcome::Skipped));
    assert_eq!(left(&api, &limits, LIVE).await, [10, 10]);
    assert_eq!(api.call(method(bearer(LIVE), Method::OPTIONS)).await, accepted());
    assert_eq!(left(&api, &limits, LIVE).await, [9, 9]);
    assert_eq!(api.call(method(bearer(LIVE), Method::HEAD)).await, accepted());
    assert_eq!(left(&api, &limits, LIVE).await, [8, 8], "HEAD counts as GET does");
    for _ in 0..8 {
        assert_eq!(api.call(bearer(LIVE)).await, accepted());
    }
    let head = api.answer(method(bearer(LIVE), Method::HEAD)).await;
    assert_eq!((head.status.as_u16(), head.body.len()), (429, 0));
    assert_eq!(api.call(method(bearer(LIVE), Method::OPTIONS)).await.status, 429);
    assert_eq!(api.call(path(bearer(LIVE), "/health")).await, passed(Outcome::Skipped), "also when limits are full");
}

/// A limit rejects a request before its permission is checked.
#[tokio::test]
async fn a_full_limit_is_429_also_without_the_permission_and_before_any_check() {
    let (api, _) = planned(free([burst(1)]));
    let api = api.layer(|layer| layer.after_verify(|_, _| Err::<(), _>(forbidden())));
    let api = api.guard(Require::permission("links", "read")).run();
    assert_eq!(api.call(bearer(LIVE)).await, refused(Reason::Forbidden, 403));
    assert_eq!(api.call(bearer(LIVE)).await, full(Reason::RateLimited));
}

#[tokio::test]
async fn an_optional_layer_limits_only_requests_with_a_key() {
    let (api, limits) = ten();
    let api = api.layer(tower_api_key::layer::ApiKeyLayerBuilder::optional).run();
    for _ in 0..20 {
        assert_eq!(api.call(bare()).await, passed(Outcome::Anonymous));
    }
    assert_eq!(left(&api, &limits, LIVE).await, [10, 10]);
    assert_eq!(super::passes(&api, LIVE).await, 10);
}

#[tokio::test]
async fn a_key_of_a_store_that_waits_is_counted_too() {
    let (api, limits) = ten();
    let api = api.fault(Fault::Waits).run();
    assert_eq!(super::passes(&api, LIVE).await, 10);
    assert_eq!(left(&api, &limits, LIVE).await, [0, 0]);
    let (api, limits) = ten();
    let api = api.fault(Fault::Waits).guard(Require::permission("links", "read")).run();
    assert_eq!(api.call(bearer(LIVE)).await, refused(Reason::Forbidden, 403));
    assert_eq!(left(&api, &limits, LIVE).await, [9, 10]);
}
