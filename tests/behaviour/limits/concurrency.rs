//! Tests limits on requests at the same time: a place is taken until the body of the response ends,
//! and is never lost.

use std::{
    convert::Infallible,
    future::{pending, ready},
    pin::Pin,
    sync::Arc,
};

use super::{burst, free, full, left, planned, record, retry_after};
use crate::support::{Body, LIVE, TestApi, accepted, bearer, refused};
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, stream};
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use tokio::sync::Notify;
use tower::{Layer, ServiceExt, service_fn, util::BoxCloneSyncService};
use tower_api_key::{
    ApiKeyLayer, KeyRecord, Principal, Reason, Rejection, Require,
    layer::ResponseBody,
    limit::{Limit, Limits, Plans, Subject},
    rejection::Verdict,
};

fn streams(most: u32) -> Limit {
    Limit::concurrency("streams", most)
}

type Frames = Pin<Box<dyn futures_util::Stream<Item = Result<Frame<Bytes>, Infallible>> + Send + Sync>>;
type Handler = BoxCloneSyncService<Request<Body>, Response<StreamBody<Frames>>, Infallible>;
type Streaming = BoxCloneSyncService<Request<Body>, Response<ResponseBody<StreamBody<Frames>>>, Infallible>;

/// Returns a service in a layer with these limits, whose bodies are not collected.
fn over(api: &TestApi, limits: &Limits, handler: Handler) -> Streaming {
    let layer = ApiKeyLayer::builder(api.store.clone()).limits(limits.clone()).build().unwrap();
    BoxCloneSyncService::new(layer.layer(handler))
}

/// Returns a response with a body of three frames.
fn three_frames() -> Response<StreamBody<Frames>> {
    let frames = stream::iter(0..3).map(|_| Ok(Frame::data(Bytes::from_static(b"tick"))));
    Response::new(StreamBody::new(Box::pin(frames)))
}

fn streaming() -> Handler {
    BoxCloneSyncService::new(service_fn(|_| ready(Ok(three_frames()))))
}

/// An API with one limit on requests at the same time, and its limits.
fn with_places(most: u32) -> (TestApi, Limits) {
    let (api, limits) = planned(free([streams(most)]));
    (api.run(), limits)
}

async fn places(api: &TestApi, limits: &Limits) -> u64 {
    left(api, limits, LIVE).await[0]
}

#[tokio::test]
async fn a_place_is_taken_until_the_body_has_ended() {
    let (api, limits) = with_places(2);
    let service = over(&api, &limits, streaming());
    let call = || service.clone().oneshot(bearer(LIVE)).map(Result::unwrap);
    let (first, second) = (call().await, call().await);
    assert_eq!((first.status().as_u16(), second.status().as_u16()), (200, 200));
    assert_eq!(places(&api, &limits).await, 0);
    let answer = api.answer(bearer(LIVE)).await;
    assert_eq!(answer.decision.outcome(), full(Reason::ConcurrencyLimited).outcome);
    assert_eq!((answer.status.as_u16(), retry_after(&answer)), (429, Some(1)));
    assert_eq!(places(&api, &limits).await, 0, "a 429 frees no place");
    assert_eq!(first.into_body().collect().await.unwrap().to_bytes(), "tickticktick");
    assert_eq!(places(&api, &limits).await, 1);
    assert_eq!(api.call(bearer(LIVE)).await, accepted());
    drop(second);
    assert_eq!(places(&api, &limits).await, 2);
}

#[tokio::test]
async fn a_body_that_is_dropped_half_way_frees_its_place() {
    let (api, limits) = with_places(1);
    let service = over(&api, &limits, streaming());
    for frames in 0..3 {
        let mut body = service.clone().oneshot(bearer(LIVE)).await.unwrap().into_body();
        for _ in 0..frames {
            body.frame().await.unwrap().unwrap();
        }
        assert_eq!(places(&api, &limits).await, 0);
        drop(body);
        assert_eq!(places(&api, &limits).await, 1);
    }
}

#[tokio::test]
async fn a_caller_who_leaves_while_the_handler_runs_frees_the_place() {
    let (api, limits) = with_places(1);
    let handler = BoxCloneSyncService::new(service_fn(|_| pending::<Result<Response<_>, _>>()));
    let service = over(&api, &limits, handler);
    for _ in 0..3 {
        let mut call = Box::pin(service.clone().oneshot(bearer(LIVE)));
        assert!((&mut call).now_or_never().is_none());
        assert_eq!(places(&api, &limits).await, 0);
        drop(call);
        assert_eq!(places(&api, &limits).await, 1);
    }
}

#[tokio::test]
async fn a_handler_that_panics_frees_the_place() {
    let (api, limits) = with_places(1);
    let handler = BoxCloneSyncService::new(service_fn(async |_| panic!("the handler panics, intentionally")));
    let service = over(&api, &limits, handler);
    for _ in 0..3 {
        let call = tokio::spawn(service.clone().oneshot(bearer(LIVE)));
        assert!(call.await.is_err_and(|error| error.is_panic()));
        assert_eq!(places(&api, &limits).await, 1);
    }
    let handler = BoxCloneSyncService::new(service_fn(|_: Request<Body>| -> std::future::Ready<Result<_, _>> {
        panic!("the handler panics at once, intentionally")
    }));
    let service = over(&api, &limits, handler);
    assert!(tokio::spawn(service.oneshot(bearer(LIVE))).await.is_err_and(|error| error.is_panic()));
    assert_eq!(places(&api, &limits).await, 1);
}

#[tokio::test]
async fn a_caller_who_leaves_while_a_check_waits_frees_the_place() {
    let forever = || Verdict::wait(pending());
    let (guarded, of_guard) = planned(free([streams(1)]));
    let guarded = guarded.guard(Require::check(move |_, _| forever())).run();
    let (checked, of_check) = planned(free([streams(1)]));
    let checked = checked.layer(move |layer| layer.after_verify(move |_, _| forever())).run();
    let (routed, of_route) = planned(free([burst(10), streams(1).for_routes()]));
    let slow = Require::check(|_, _| Verdict::wait(pending())).limited_by("streams");
    let routed = routed.guard(slow).run();
    for (api, limits) in [(guarded, of_guard), (checked, of_check)] {
        let mut call = Box::pin(api.app.clone().oneshot(bearer(LIVE)));
        assert!((&mut call).now_or_never().is_none());
        assert_eq!(places(&api, &limits).await, 0);
        drop(call);
        assert_eq!(places(&api, &limits).await, 1);
    }
    let mut call = Box::pin(routed.app.clone().oneshot(bearer(LIVE)));
    assert!((&mut call).now_or_never().is_none());
    assert_eq!(left(&routed, &of_route, LIVE).await, [9, 1], "a guard takes a place after its checks");
}

#[tokio::test]
async fn a_rejection_from_further_inside_frees_the_place() {
    let (api, limits) = planned(free([streams(1)]));
    let api = api.guard(Require::permission("links", "read")).run();
    for _ in 0..3 {
        assert_eq!(api.call(bearer(LIVE)).await, refused(Reason::Forbidden, 403));
        assert_eq!(places(&api, &limits).await, 1);
    }
    let handler = service_fn(|_| ready(Ok(Rejection::forbidden().into_response_with(three_frames().into_body()))));
    let service = over(&api, &limits, BoxCloneSyncService::new(handler));
    let response = service.oneshot(bearer(LIVE)).await.unwrap();
    assert_eq!((response.status().as_u16(), places(&api, &limits).await), (403, 1));
}

/// A service that fails has no response.
#[tokio::test]
async fn an_error_of_the_service_frees_the_place() {
    let (api, limits) = with_places(1);
    let layer = ApiKeyLayer::builder(api.store.clone()).limits(limits.clone()).build().unwrap();
    let service = layer.layer(service_fn(|_: Request<Body>| ready(Err::<Response<Body>, _>("broken"))));
    for _ in 0..3 {
        assert_eq!(service.clone().oneshot(bearer(LIVE)).await.unwrap_err(), "broken");
        assert_eq!(places(&api, &limits).await, 1);
    }
}

#[tokio::test]
async fn a_task_with_the_principal_keeps_the_place() {
    let (api, limits) = with_places(1);
    let end = Arc::new(Notify::new());
    let ended = Arc::clone(&end);
    let handler = service_fn(move |request: Request<Body>| {
        let (key, ended) = (request.extensions().get::<Principal>().cloned().unwrap(), Arc::clone(&ended));
        tokio::spawn(async move {
            ended.notified().await;
            drop(key);
        });
        ready(Ok(three_frames()))
    });
    let service = over(&api, &limits, BoxCloneSyncService::new(handler));
    let response = service.oneshot(bearer(LIVE)).await.unwrap();
    response.into_body().collect().await.unwrap();
    assert_eq!(places(&api, &limits).await, 0);
    assert_eq!(api.call(bearer(LIVE)).await, full(Reason::ConcurrencyLimited));
    end.notify_one();
    crate::support::until(async || places(&api, &limits).await == 1).await;
}

/// As a handler does that upgrades the connection: the body of its 101 ends at once.
#[tokio::test]
async fn a_task_with_the_principal_keeps_the_place_of_a_route_too() {
    let plans = Plans::new().plan("free", [streams(5), Limit::concurrency("sockets", 1).for_routes()]);
    let (api, limits) = planned(plans.default_plan("free"));
    let api = api.run();
    let (sender, kept) = std::sync::mpsc::channel();
    let handler = service_fn(move |request: Request<Body>| {
        sender.send(request.extensions().get::<Principal>().cloned()).unwrap();
        ready(Ok(three_frames()))
    });
    let layer = ApiKeyLayer::builder(api.store.clone()).limits(limits.clone()).build().unwrap();
    let service = layer.layer(Require::authenticated().limited_by("sockets").layer(handler));
    let call = || service.clone().oneshot(bearer(LIVE)).map(|response: Result<_, Infallible>| response.unwrap());
    call().await.into_body().collect().await.unwrap();
    assert_eq!(left(&api, &limits, LIVE).await, [4, 0]);
    assert_eq!(call().await.status(), 429);
    drop(kept.recv().unwrap());
    assert_eq!(left(&api, &limits, LIVE).await, [5, 1]);
}

#[tokio::test]
async fn without_a_service_the_principal_keeps_the_place() {
    let (api, limits) = with_places(2);
    let layer = ApiKeyLayer::builder(api.store.clone()).limits(limits.clone()).build().unwrap();
    let first = layer.authenticate(&bearer(LIVE)).await.unwrap();
    let second = layer.try_authenticate(&bearer(LIVE)).unwrap().unwrap();
    assert_eq!(layer.authenticate(&bearer(LIVE)).await.unwrap_err().reason(), Reason::ConcurrencyLimited);
    let clone = first.clone();
    drop(first);
    assert_eq!(places(&api, &limits).await, 0, "a clone is the same request");
    drop(clone);
    assert_eq!(places(&api, &limits).await, 1);
    drop(second);
    assert_eq!(places(&api, &limits).await, 2);
}

#[tokio::test]
async fn the_keys_of_an_organization_share_its_places() {
    const KEYS: [&str; 2] = ["one_WBuTSOoRi4A9spHcVY5ncnsDkxkJ", "two_WBuTSOoRi4A9spHcVY5ncnsDkxkJ"];
    let acme = |key: KeyRecord| key.with_organization("acme");
    let (api, limits) = planned(free([streams(2).shared_by(Subject::Organization)]));
    let api = api.key("k1", KEYS[0], acme).key("k2", KEYS[1], acme).run();
    let service = over(&api, &limits, streaming());
    let open = [service.clone().oneshot(bearer(KEYS[0])).await, service.oneshot(bearer(KEYS[1])).await];
    assert_eq!(api.call(bearer(KEYS[0])).await, full(Reason::ConcurrencyLimited));
    assert_eq!(api.call(bearer(KEYS[1])).await, full(Reason::ConcurrencyLimited));
    assert_eq!(api.call(bearer(LIVE)).await, accepted(), "of no organization");
    drop(open);
    assert_eq!(api.call(bearer(KEYS[1])).await, accepted());
}

#[tokio::test]
async fn a_cost_takes_one_place_and_a_full_place_spends_nothing() {
    let (api, limits) = planned(free([burst(10), streams(3)]));
    let inner = Require::authenticated().costs(4).layer(streaming());
    let api = api.run();
    let layer = ApiKeyLayer::builder(api.store.clone()).limits(limits.clone()).build().unwrap();
    let service = layer.layer(inner);
    let open = service.oneshot(bearer(LIVE)).await.unwrap();
    assert_eq!(left(&api, &limits, LIVE).await, [6, 2]);
    assert_eq!((api.call(bearer(LIVE)).await, api.call(bearer(LIVE)).await), (accepted(), accepted()));
    assert_eq!(left(&api, &limits, LIVE).await, [4, 2], "bodies that have ended");
    let held = [principal(&api, &limits).await, principal(&api, &limits).await];
    assert_eq!(left(&api, &limits, LIVE).await, [2, 0]);
    assert_eq!(api.call(bearer(LIVE)).await, full(Reason::ConcurrencyLimited));
    assert_eq!(left(&api, &limits, LIVE).await, [2, 0]);
    drop((open, held));
    assert_eq!(left(&api, &limits, LIVE).await, [2, 3]);
}

async fn principal(api: &TestApi, limits: &Limits) -> Principal {
    let layer = ApiKeyLayer::builder(api.store.clone()).limits(limits.clone()).build().unwrap();
    layer.authenticate(&bearer(LIVE)).await.unwrap()
}

#[tokio::test]
async fn a_route_may_have_places_of_its_own() {
    let plans = || Plans::new().plan("free", [burst(100), streams(1).for_routes()]).default_plan("free");
    let (api, limits) = planned(plans());
    let api = api.run();
    let guard = || Require::table().route("GET", "/", Require::authenticated().limited_by("streams")).build().unwrap();
    let layer = ApiKeyLayer::builder(api.store.clone()).limits(limits.clone()).build().unwrap();
    let service = layer.layer(guard().layer(streaming()));
    let call = || service.clone().oneshot(bearer(LIVE)).map(Result::unwrap);
    let open = call().await;
    assert_eq!((open.status().as_u16(), left(&api, &limits, LIVE).await), (200, vec![99, 0]));
    assert_eq!(call().await.status(), 429);
    assert_eq!(left(&api, &limits, LIVE).await, [99, 0], "a 429 spends nothing");
    assert_eq!(api.call(bearer(LIVE)).await, accepted(), "other routes go on");
    let mut body = open.into_body();
    body.frame().await.unwrap().unwrap();
    drop(body);
    assert_eq!(left(&api, &limits, LIVE).await, [98, 1]);
    assert_eq!(call().await.status(), 200);
    assert_eq!(left(&api, &limits, LIVE).await, [97, 1]);
    let never = layer
        .layer(guard().layer(service_fn(|_: Request<Body>| pending::<Result<Response<Full<Bytes>>, Infallible>>())));
    let mut waits = Box::pin(never.oneshot(bearer(LIVE)));
    assert!((&mut waits).now_or_never().is_none());
    assert_eq!(left(&api, &limits, LIVE).await, [96, 0]);
    drop(waits);
    assert_eq!(left(&api, &limits, LIVE).await, [96, 1]);
}

/// A change of the number keeps the count: the requests still run.
#[tokio::test]
async fn a_change_of_the_number_counts_the_requests_that_run() {
    let (api, limits) = with_places(5);
    let service = over(&api, &limits, streaming());
    let call = || service.clone().oneshot(bearer(LIVE)).map(Result::unwrap);
    let open = [call().await, call().await, call().await];
    super::change(&api, LIVE, |record| record.with_limit("streams", 2)).await;
    assert_eq!(api.call(bearer(LIVE)).await, full(Reason::ConcurrencyLimited));
    super::change(&api, LIVE, |record| record.with_limit("streams", 4)).await;
    assert_eq!(limits.remaining(&record(&api, LIVE).await).unwrap()[0].requests, 1);
    assert_eq!(api.call(bearer(LIVE)).await, accepted());
    drop(open);
    assert_eq!(places(&api, &limits).await, 4);
}

#[tokio::test]
async fn a_thousand_calls_that_end_in_every_way_lose_no_place() {
    let (api, limits) = with_places(8);
    let handler = service_fn(async |_| {
        tokio::task::yield_now().await;
        Ok(three_frames())
    });
    let service = over(&api, &limits, BoxCloneSyncService::new(handler));
    let mut open = Vec::new();
    for number in 0_usize..1000 {
        let mut call = Box::pin(service.clone().oneshot(bearer(LIVE)));
        let polled = (&mut call).now_or_never();
        match (number % 7, polled) {
            (0..2, _) => drop(call),
            (2..5, None) => open.push(call.await.unwrap().into_body()),
            (_, None) => drop(call.await.unwrap().into_body().frame().await),
            (_, Some(response)) => assert_eq!(response.unwrap().status(), 429),
        }
        if open.len() > number % 11 {
            let _ = open.swap_remove(number % open.len()).frame().await;
        }
        assert_eq!(places(&api, &limits).await, 8 - open.len() as u64, "{number}");
    }
    drop(open);
    assert_eq!(places(&api, &limits).await, 8);
}
