//! What those who run a service see: events, the request's span, metrics.
#![cfg(all(feature = "tracing", feature = "metrics"))]

mod support;

use std::{convert::Infallible, time::Duration};

use http::{Request, Response};
use metrics_exporter_prometheus::PrometheusBuilder;
use support::{Api, Body, Fault, LIVE, UNKNOWN, bare, bearer, boxed, logs, with, x_api_key};
use tower::{Layer, ServiceExt, service_fn};
use tower_api_key::{
    ApiKeyLayer, KeyDigest, KeyRecord, KeyStore, Require,
    layer::ApiKeyLayerBuilder,
    store::{BoxError, MemoryStore},
};
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

/// The lines that the library itself has logged.
fn events(lines: &str) -> Vec<String> {
    let own = lines.lines().filter_map(|line| Some((line.split_once("tower_api_key: ")?, line)));
    own.map(|((before, event), line)| {
        assert!(!line.contains(LIVE) && !line.contains(UNKNOWN), "{line}");
        format!("{} {event}", before.split_whitespace().next().unwrap())
    })
    .collect()
}

fn layer(edit: impl FnOnce(ApiKeyLayerBuilder) -> ApiKeyLayerBuilder) -> (support::FaultyStore, ApiKeyLayer) {
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
            "INFO API key outcome=\"refused\" reason=\"malformed\" scheme=authorization:Bearer",
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
        assert_eq!(events(&lines), [expected], "{lines}");
    }
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
    assert!(lines.contains("ERROR tower_api_key: a Require guard was reached without an ApiKeyLayer"), "{lines}");
}

/// Takes 20 ms to answer.
struct Slow(MemoryStore);

impl KeyStore for Slow {
    type Error = BoxError;

    async fn find(&self, digest: &KeyDigest) -> Result<Option<KeyRecord>, BoxError> {
        tokio::time::sleep(Duration::from_millis(20)).await;
        Ok(self.0.find(digest).await?)
    }
}

/// What a Prometheus server would scrape after `work`.
fn scraped(work: impl Future<Output = ()>) -> String {
    let recorder = PrometheusBuilder::new().build_recorder();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    metrics::with_local_recorder(&recorder, || runtime.block_on(work));
    recorder.handle().render()
}

#[test]
fn requests_are_counted_by_outcome_and_reason() {
    let scraped = scraped(async {
        let (store, layer) = layer(ApiKeyLayerBuilder::optional);
        for request in [x_api_key(LIVE), bearer(LIVE), bare(), x_api_key(UNKNOWN), x_api_key("")] {
            send(&layer, request).await;
        }
        store.set(Fault::Fails);
        send(&layer, x_api_key(LIVE)).await;
    });
    for line in [
        "api_key_requests_total{outcome=\"accepted\",reason=\"none\"} 2",
        "api_key_requests_total{outcome=\"anonymous\",reason=\"none\"} 1",
        "api_key_requests_total{outcome=\"refused\",reason=\"unknown\"} 1",
        "api_key_requests_total{outcome=\"refused\",reason=\"malformed\"} 1",
        "api_key_requests_total{outcome=\"refused\",reason=\"store_failed\"} 1",
        "api_key_store_errors_total{reason=\"store_failed\"} 1",
    ] {
        assert!(scraped.lines().any(|scraped| scraped == line), "{line} is not in {scraped}");
    }
    assert!(!scraped.contains(LIVE) && !scraped.contains(UNKNOWN), "{scraped}");
}

#[test]
fn the_store_is_timed_where_it_has_to_wait() {
    let slow = |deadline: u64| {
        scraped(async move {
            let api = Api::live();
            let layer = ApiKeyLayer::builder(Slow(api.store.keys)).deadline(Duration::from_millis(deadline));
            send(&layer.build().unwrap(), x_api_key(LIVE)).await;
        })
    };
    let answered = slow(100);
    assert!(answered.contains("api_key_store_seconds_sum 0.0"), "{answered}");
    assert!(answered.contains("api_key_store_seconds_count 1"), "{answered}");
    let late = slow(10);
    assert!(late.contains("api_key_store_seconds_count 1"), "{late}");
    assert!(late.contains("api_key_store_errors_total{reason=\"store_slow\"} 1"), "{late}");
    let at_once = scraped(async { send(&layer(|layer| layer).1, x_api_key(LIVE)).await });
    assert!(!at_once.contains("api_key_store"), "{at_once}");
}
