//! Every request in clear text gets the same 403.

use std::sync::atomic::Ordering;

use http::{HeaderMap, Method};
use tower_api_key::{
    ApiKeyLayer, ConfigError, KeyHasher, KeyRecord, Outcome, Problem, Reason, RejectionFormat, Scheme, Status,
    store::MemoryStore,
};

use super::*;
use crate::support::{
    Fault, LIVE, TestApi, UNKNOWN, accepted, add, bare, method, passed, path, refused, with, x_api_key,
};

use Transport::{Clear, Tls};

const REVOKED: &str = "revoked-key-0123456789";

fn insecure() -> crate::support::Observed {
    refused(Reason::InsecureTransport, 403)
}

fn api(edit: impl FnOnce(Api) -> Api) -> TestApi {
    let api = Api::live().key("revoked", REVOKED, |record: KeyRecord| record.with_status(Status::Revoked));
    edit(api).layer(|layer| layer.require_tls(TransportSource::server())).run()
}

/// Requests whose credentials differ in everything that the layer tells apart.
fn requests() -> Vec<http::Request<Body>> {
    let mut two = bearer(LIVE);
    add(&mut two, "x-api-key", UNKNOWN);
    let mut repeated = x_api_key(LIVE);
    add(&mut repeated, "x-api-key", LIVE);
    vec![
        bearer(LIVE),
        x_api_key(LIVE),
        bearer(UNKNOWN),
        bearer(REVOKED),
        bare(),
        with("authorization", "Basic dTpw"),
        with("authorization", "Bearer"),
        with("authorization", "Bearer \"quoted\""),
        with("x-api-key", ""),
        with("x-api-key", "k".repeat(600)),
        two,
        repeated,
    ]
}

#[tokio::test]
async fn every_request_in_clear_text_gets_the_same_403_whatever_it_carries() {
    for fault in [Fault::None, Fault::Waits, Fault::Fails, Fault::Hangs] {
        let api = api(|api| api.fault(fault));
        let mut first: Option<(HeaderMap, bytes::Bytes)> = None;
        for request in requests() {
            let answer = api.answer(over(Clear, request)).await;
            assert_eq!((answer.status.as_u16(), answer.decision.outcome()), (403, insecure().outcome));
            let seen = (answer.headers, answer.body);
            assert_eq!(*first.get_or_insert(seen.clone()), seen);
            assert_eq!(
                (answer.decision.key_id(), answer.decision.scheme(), answer.decision.cause()),
                (None, None, None)
            );
        }
        assert_eq!(api.store.finds.load(Ordering::Relaxed), 0, "no key was looked up");
    }
}

#[tokio::test]
async fn a_request_whose_transport_is_unknown_is_rejected_like_one_in_clear_text() {
    let api = api(|api| api);
    let clear = api.answer(over(Clear, bearer(LIVE))).await;
    let unknown = api.answer(bearer(LIVE)).await;
    assert_eq!(unknown.decision.outcome(), clear.decision.outcome());
    assert_eq!((unknown.status, unknown.headers, unknown.body), (clear.status, clear.headers, clear.body));
}

#[tokio::test]
async fn requests_over_tls_are_as_without_the_requirement() {
    let (strict, plain) =
        (api(|api| api), Api::live().key("revoked", REVOKED, |record| record.with_status(Status::Revoked)).run());
    for (one, other) in requests().into_iter().zip(requests()) {
        let (one, other) = (strict.answer(over(Tls, one)).await, plain.answer(other).await);
        assert_eq!(one.decision.outcome(), other.decision.outcome());
        assert_eq!((one.status, one.headers, one.body), (other.status, other.headers, other.body));
    }
}

#[tokio::test]
async fn the_response_says_what_to_do_and_carries_no_challenge() {
    let answer = api(|api| api).answer(over(Clear, bearer(LIVE))).await;
    let body = String::from_utf8(answer.body.to_vec()).unwrap();
    assert!(body.contains(r#""detail": "Send requests to this service over HTTPS only.""#), "{body}");
    assert!(body.contains(r#""code": "insecure_transport""#), "{body}");
    assert!(!answer.headers.contains_key("www-authenticate"));
    assert_eq!(Reason::InsecureTransport.problem(), Problem::InsecureTransport);
    assert_eq!((Problem::InsecureTransport.status().as_u16(), Problem::InsecureTransport.grpc_status()), (403, 7));
    let json = api(|api| api.layer(|layer| layer.rejection_format(RejectionFormat::json())));
    let json = json.answer(over(Clear, bearer(LIVE))).await;
    assert!(String::from_utf8_lossy(&json.body).contains("INSECURE_TRANSPORT"), "{:?}", json.body);
    let mut grpc = over(Clear, method(bearer(LIVE), Method::POST));
    add(&mut grpc, "content-type", "application/grpc");
    let grpc = api(|api| api.layer(tower_api_key::layer::ApiKeyLayerBuilder::grpc)).answer(grpc).await;
    assert_eq!((grpc.status.as_u16(), grpc.headers["grpc-status"].as_bytes()), (200, &b"7"[..]));
}

#[tokio::test]
async fn an_optional_layer_requires_tls_too() {
    let api = api(|api| api.layer(tower_api_key::layer::ApiKeyLayerBuilder::optional));
    assert_eq!(api.call(over(Clear, bare())).await, insecure());
    assert_eq!(api.call(over(Tls, bare())).await, passed(Outcome::Anonymous));
    assert_eq!(api.call(over(Tls, bearer(LIVE))).await, accepted());
}

/// A health check of a load balancer, and a preflight, carry no key.
#[tokio::test]
async fn skipped_paths_and_preflights_pass_in_clear_text() {
    let api = api(|api| api.layer(|layer| layer.skip(|path| path == "/health").pass_preflight()));
    assert_eq!(api.call(over(Clear, path(bare(), "/health"))).await, passed(Outcome::Skipped));
    let mut preflight = over(Clear, method(bare(), Method::OPTIONS));
    add(&mut preflight, "origin", "https://app.example");
    add(&mut preflight, "access-control-request-method", "GET");
    assert_eq!(api.call(preflight).await, passed(Outcome::Preflight));
    assert_eq!(api.call(over(Clear, path(bare(), "/health/"))).await, insecure());
}

#[tokio::test]
async fn a_request_that_is_authenticated_without_a_service_requires_tls_too() {
    let store = MemoryStore::new();
    store.add(KeyRecord::for_key("live", &LIVE.parse().unwrap(), &KeyHasher::sha256())).unwrap();
    let layer = ApiKeyLayer::builder(store).require_tls(TransportSource::server()).build().unwrap();
    for request in [over(Clear, bearer(LIVE)), bearer(LIVE), over(Clear, bearer(UNKNOWN)), over(Clear, bare())] {
        let reason = layer.authenticate(&request).await.map(drop).map_err(|rejection| rejection.reason());
        assert_eq!(reason, Err(Reason::InsecureTransport));
        assert!(layer.try_authenticate(&request).is_some_and(|done| done.is_err()));
    }
    assert!(layer.authenticate(&over(Tls, bearer(LIVE))).await.is_ok());
}

/// A key in a query or a cookie is not read either.
#[tokio::test]
async fn no_place_of_a_key_is_read_in_clear_text() {
    let schemes = || [Scheme::query("api_key"), Scheme::cookie("session")];
    let api = api(|api| api.layer(|layer| layer.schemes(schemes())));
    let first = api.answer(over(Clear, bare())).await;
    for request in [path(bare(), &format!("/?api_key={LIVE}")), with("cookie", format!("session={LIVE}"))] {
        let answer = api.answer(over(Clear, request)).await;
        assert_eq!(
            (answer.status, answer.headers, answer.body),
            (first.status, first.headers.clone(), first.body.clone())
        );
    }
}

#[test]
fn exposed_keys_without_the_requirement_are_a_wrong_setting() {
    let layer = ApiKeyLayer::builder(MemoryStore::new()).on_exposed_key(async |_| ());
    assert_eq!(layer.build().map(drop), Err(ConfigError::NoTlsRequired));
}
