//! Tests the log of a request: one event, and the key's id on its span.

use std::convert::Infallible;

use crate::support::{Api, Body, Fault, LIVE, UNKNOWN, bare, bearer, boxed, logs, with, x_api_key};
use http::{Request, Response};
use tower::{Layer, ServiceExt, service_fn};
use tower_api_key::{ApiKeyLayer, Reason, Require, layer::ApiKeyLayerBuilder};
use tower_http::trace::TraceLayer;

async fn send(layer: &ApiKeyLayer, request: Request<Body>) {
    let inner = boxed(service_fn(async |_: Request<Body>| {
        tracing::info!("inside");
        Ok::<_, Infallible>(Response::new(Body::default()))
    }));
    let traced = TraceLayer::new_for_http()
        .make_span_with(|_: &Request<Body>| tracing::info_span!("request", key_id = tracing::field::Empty));
    let _ = traced.layer(layer.layer(inner)).oneshot(request).await.unwrap();
}

/// Returns the lines that the library itself logged.
fn events(lines: &str) -> Vec<String> {
    let own = lines.lines().filter_map(|line| Some((line.split_once("tower_api_key: ")?, line)));
    own.map(|((before, event), line)| {
        assert!(!line.contains(LIVE) && !line.contains(UNKNOWN), "{line}");
        format!("{} {event}", before.split_whitespace().next().unwrap())
    })
    .collect()
}

fn layer(edit: impl FnOnce(ApiKeyLayerBuilder) -> ApiKeyLayerBuilder) -> (crate::support::FaultyStore, ApiKeyLayer) {
    let api = Api::new().key("k1", LIVE, |record| record.with_organization("acme"));
    let store = api.store.clone();
    (store.clone(), edit(ApiKeyLayer::builder(store)).build().unwrap())
}

#[tokio::test]
async fn every_decision_is_one_event_at_a_level_that_suits_production() {
    logs::capture();
    let (store, layer) = layer(ApiKeyLayerBuilder::optional);
    for (fault, request, expected) in [
        (
            Fault::None,
            bearer(LIVE),
            "DEBUG API key outcome=\"accepted\" scheme=authorization:Bearer key_id=\"k1\" organization=\"acme\"",
        ),
        (
            Fault::Waits,
            x_api_key(LIVE),
            "DEBUG API key outcome=\"accepted\" scheme=header:x-api-key key_id=\"k1\" organization=\"acme\"",
        ),
        (Fault::None, bare(), "DEBUG API key outcome=\"anonymous\""),
        (
            Fault::None,
            x_api_key(UNKNOWN),
            "INFO API key outcome=\"refused\" reason=\"unknown\" scheme=header:x-api-key",
        ),
        (
            Fault::None,
            with("authorization", "Bearer"),
            "INFO API key outcome=\"refused\" reason=\"malformed\" cause=\"empty\" scheme=authorization:Bearer",
        ),
        (
            Fault::Fails,
            x_api_key(LIVE),
            "ERROR API key outcome=\"refused\" reason=\"store_failed\" scheme=header:x-api-key error=the database is gone",
        ),
    ] {
        store.set(fault);
        send(&layer, request).await;
        let lines = logs::take();
        assert_eq!(events(&lines), [format!("{expected} method=\"GET\" path=\"/\"")], "{lines}");
    }
}

#[tokio::test]
async fn a_guards_refusal_is_the_event_of_the_request() {
    let api = Api::new().key("k1", LIVE, |record| record.with_organization("acme"));
    let api = api.guard(Require::permission("links", "read")).run();
    logs::take();
    assert_eq!(api.call(x_api_key(LIVE)).await, crate::support::refused(Reason::Forbidden, 403));
    let event = "INFO API key outcome=\"refused\" reason=\"forbidden\" scheme=header:x-api-key key_id=\"k1\" organization=\"acme\" missing_permissions=\"links:read\" method=\"GET\" path=\"/\"";
    assert_eq!(events(&logs::take()), [event]);
}

#[cfg(feature = "limits")]
#[tokio::test]
async fn the_event_of_a_429_names_the_limits_that_are_full() {
    use tower_api_key::limit::{Limit, Rate};
    let limits = ["burst", "a-minute"].map(|name| Limit::rate(name, Rate::per_minute(1)));
    let api = crate::limits::limited(limits, |layer| layer).run();
    assert_eq!(api.call(x_api_key(LIVE)).await, crate::support::accepted());
    logs::take();
    assert_eq!(api.call(x_api_key(LIVE)).await, crate::support::refused(Reason::RateLimited, 429));
    let event = "INFO API key outcome=\"refused\" reason=\"rate_limited\" scheme=header:x-api-key key_id=\"live\" limits=\"burst, a-minute\" method=\"GET\" path=\"/\"";
    assert_eq!(events(&logs::take()), [event]);
}

#[tokio::test]
async fn the_key_is_named_on_the_span_of_the_request_before_the_service_is_called() {
    logs::capture();
    let (store, layer) = layer(ApiKeyLayerBuilder::optional);
    for (fault, request, span) in [
        (Fault::None, x_api_key(LIVE), "request{key_id=\"k1\"}"),
        (Fault::Waits, x_api_key(LIVE), "request{key_id=\"k1\"}"),
        (Fault::None, bare(), "request:"),
    ] {
        store.set(fault);
        send(&layer, request).await;
        let lines = logs::take();
        let inside = lines.lines().find(|line| line.ends_with("inside")).unwrap();
        assert!(inside.contains(span), "{inside}");
    }
}

#[tokio::test]
async fn a_guard_without_a_layer_is_a_loud_line() {
    logs::capture();
    let guarded = Require::permission("links", "read")
        .layer(service_fn(async |_: Request<Body>| Ok::<_, Infallible>(Response::new(Body::default()))));
    let response = guarded.oneshot(bare()).await.unwrap();
    assert_eq!(response.status(), 500);
    let lines = logs::take();
    assert!(lines.contains("ERROR tower_api_key: a Require guard ran without an ApiKeyLayer"), "{lines}");
}

#[test]
fn a_key_in_a_line_is_found_wherever_it_is() {
    let key = "planted-0123456789abcdef";
    logs::watch_for([key.to_owned()]);
    for line in [format!("{key} at the begin"), format!("at the end: {key}"), format!("<{key}>")] {
        assert!(logs::has_secret(line.as_bytes()), "{line}");
    }
    assert!(!logs::has_secret(b"planted-0123456789abcdeg, and 0123456789abcdef"));
}
