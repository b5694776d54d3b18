//! Tests observers: one complete decision per request.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
};

use crate::support::{Api, App, Body, Fault, LIVE, UNKNOWN, accepted, bare, bearer, boxed, refused, x_api_key};
use http::{Request, Response};
use tower::{ServiceExt, service_fn};
use tower_api_key::{Outcome, Reason, Require, Scheme, layer::ApiKeyLayerBuilder};

fn never() -> App {
    boxed(service_fn(async |_: Request<Body>| std::future::pending::<Result<Response<Body>, Infallible>>().await))
}

#[tokio::test]
async fn a_decision_has_outcome_scheme_key_and_organization() {
    let api = Api::new().key("k1", LIVE, |key| key.with_organization("acme")).run();
    let accepted = api.answer(bearer(LIVE)).await.decision;
    assert_eq!(accepted.outcome(), Outcome::Accepted);
    assert_eq!(accepted.scheme(), Some(&Scheme::bearer()));
    assert_eq!(accepted.key_id().map(tower_api_key::KeyId::as_str), Some("k1"));
    assert_eq!(accepted.organization(), Some("acme"));
    let unknown = api.answer(x_api_key(UNKNOWN)).await.decision;
    assert_eq!(unknown.scheme(), Some(&Scheme::x_api_key()));
    assert_eq!((unknown.key_id(), unknown.organization()), (None, None));
    assert_eq!(api.answer(bare()).await.decision.scheme(), None);
}

#[tokio::test]
async fn a_guards_refusal_is_the_requests_decision() {
    let api = Api::live().guard(Require::permission("links", "create")).run();
    let decision = api.answer(bearer(LIVE)).await.decision;
    assert_eq!(decision.outcome(), Outcome::Refused(Reason::Forbidden));
    assert_eq!(decision.key_id().map(tower_api_key::KeyId::as_str), Some("live"));
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_while_the_handler_works_was_accepted_all_the_same() {
    let api = Api::live().run_over(never());
    let gone = tokio::time::timeout(std::time::Duration::from_secs(1), api.app.clone().oneshot(bearer(LIVE)));
    gone.await.expect_err("it never answers");
    assert_eq!(api.outcomes(), [Outcome::Accepted]);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_before_the_store_answers_was_not_judged() {
    let api = Api::live().fault(Fault::Hangs).run_over(never());
    let gone = tokio::time::timeout(std::time::Duration::from_secs(1), api.app.clone().oneshot(bearer(LIVE)));
    gone.await.expect_err("it never answers");
    assert_eq!(api.outcomes(), [Outcome::Abandoned]);
    assert_eq!(api.schemes(), [Some(Scheme::bearer())]);
    assert_eq!(api.calls(), 0);
}

#[tokio::test]
async fn a_handler_that_panics_was_called_by_an_accepted_key() {
    let panicking = boxed(tower::util::MapRequest::new(never(), |_: Request<Body>| panic!("intentionally")));
    for fault in [Fault::None, Fault::Waits] {
        let api = Api::live().fault(fault).run_over(panicking.clone());
        let app = api.app.clone();
        tokio::spawn(app.oneshot(bearer(LIVE))).await.unwrap_err();
        assert_eq!(api.outcomes(), [Outcome::Accepted], "{fault:?}");
    }
}

#[tokio::test]
async fn all_observers_are_told_in_order() {
    let log = Arc::new(Mutex::new(Vec::new()));
    let told = |name: &'static str| {
        let log = Arc::clone(&log);
        move |layer: ApiKeyLayerBuilder| layer.observe(move |_| log.lock().unwrap().push(name))
    };
    let api = Api::live().layer(told("first")).layer(told("second")).run();
    api.call(bare()).await;
    assert_eq!(*log.lock().unwrap(), ["first", "second"]);
}

#[tokio::test]
async fn an_observer_that_panics_changes_nothing_and_silences_nobody() {
    let api = Api::live().layer(|layer| layer.observe(|_| panic!("an observer panics intentionally"))).run();
    assert_eq!(api.call(bearer(LIVE)).await, accepted());
    assert_eq!(api.call(bearer(UNKNOWN)).await, refused(Reason::Unknown, 401));
}

#[tokio::test]
async fn observers_are_told_when_the_response_is_ready_however_long_its_future_is_kept() {
    let api = Api::live().run();
    let mut future = std::pin::pin!(api.app.clone().oneshot(bearer(LIVE)));
    future.as_mut().await.unwrap();
    assert_eq!(api.outcomes(), [Outcome::Accepted]);
}
