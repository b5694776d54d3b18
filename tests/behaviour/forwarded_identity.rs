//! Tests the header that forwards the caller's identity to the inner service.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
};

use crate::support::{Api, App, Body, Fault, LIVE, TestApi, accepted, add, bare, boxed, passed, path, x_api_key};
use http::{HeaderMap, Request, Response};
use tower::service_fn;
use tower_api_key::{ApiKeyLayer, ConfigError, Outcome, layer::ApiKeyLayerBuilder, store::MemoryStore};

/// A service that records the headers it receives.
fn recording() -> (App, Arc<Mutex<HeaderMap>>) {
    let received = Arc::new(Mutex::new(HeaderMap::new()));
    let taken = Arc::clone(&received);
    let service = boxed(service_fn(move |request: Request<Body>| {
        *taken.lock().unwrap() = request.headers().clone();
        async { Ok::<_, Infallible>(Response::new(Body::default())) }
    }));
    (service, received)
}

/// Returns an API that forwards the identity in `x-principal`, and the headers that its inner
/// service received.
fn forwarding(
    id: &str,
    layer: impl FnOnce(ApiKeyLayerBuilder) -> ApiKeyLayerBuilder,
) -> (TestApi, Arc<Mutex<HeaderMap>>) {
    let (inner, received) = recording();
    let api = Api::new().key(id, LIVE, |record| record).layer(|builder| layer(builder.forward_identity("X-Principal")));
    (api.run_over(inner), received)
}

fn claimed(mut request: Request<Body>) -> Request<Body> {
    for name in ["x-principal", "x-principal", "x_principal", "X-Principal", "X.Principal", "x~principal"] {
        add(&mut request, name, "root");
    }
    request
}

/// Returns every value under a name that could be mistaken for ours.
fn identities(headers: &Mutex<HeaderMap>) -> Vec<(String, String)> {
    let headers = headers.lock().unwrap();
    let alike = headers.iter().filter(|(name, _)| name.as_str().replace(['_', '.', '~'], "-") == "x-principal");
    alike.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect()
}

#[tokio::test]
async fn the_id_replaces_whatever_the_client_has_sent() {
    let (api, received) = forwarding("k1", |layer| layer);
    for fault in [Fault::None, Fault::Waits] {
        api.store.set(fault);
        assert_eq!(api.call(claimed(x_api_key(LIVE))).await, accepted());
        assert_eq!(identities(&received), [("x-principal".to_owned(), "k1".to_owned())], "{fault:?}");
    }
}

#[tokio::test]
async fn no_connection_option_takes_the_identity_out_again() {
    let (api, received) = forwarding("k1", |layer| layer);
    let kept = async |lines: &[&str]| {
        let mut request = x_api_key(LIVE);
        for line in lines {
            add(&mut request, "connection", line);
        }
        assert_eq!(api.call(request).await, accepted());
        let headers = received.lock().unwrap();
        headers.get_all("connection").iter().map(|line| line.to_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert!(kept(&["X-Principal"]).await.is_empty());
    assert_eq!(kept(&["close, x-principal ,x_principal"]).await, ["close"]);
    assert_eq!(kept(&["close", "X-Principal, upgrade"]).await, ["close, upgrade"]);
    assert_eq!(kept(&["keep-alive, x-other"]).await, ["keep-alive, x-other"]);
    assert_eq!(kept(&[",,x-principal,, \"x-principal\", close"]).await, ["close"]);
    assert_eq!(kept(&["keep-alive", "\u{e9}"]).await, ["keep-alive"]);
}

#[tokio::test]
async fn nobody_has_no_identity() {
    let (api, received) = forwarding("k1", |layer| layer.optional().pass_preflight().skip(|path| path == "/health"));
    let mut preflight = claimed(crate::support::method(bare(), http::Method::OPTIONS));
    add(&mut preflight, "origin", "https://acme.example");
    add(&mut preflight, "access-control-request-method", "POST");
    for (request, outcome) in [
        (claimed(bare()), Outcome::Anonymous),
        (path(claimed(x_api_key(LIVE)), "/health"), Outcome::Skipped),
        (preflight, Outcome::Preflight),
    ] {
        assert_eq!(api.call(request).await, passed(outcome));
        assert_eq!(identities(&received), [], "{outcome:?}");
    }
}

#[tokio::test]
async fn an_id_that_no_field_value_carries_is_percent_encoded() {
    for (id, forwarded) in [
        ("key_0Zz-9.~", "key_0Zz-9.~"),
        ("50%", "50%25"),
        (" a b ", "%20a%20b%20"),
        ("a\r\nx-admin: 1", "a%0D%0Ax-admin:%201"),
        ("schl\u{fc}ssel", "schl%C3%BCssel"),
    ] {
        let (api, received) = forwarding(id, |layer| layer);
        assert_eq!(api.call(x_api_key(LIVE)).await, accepted());
        assert_eq!(identities(&received), [("x-principal".to_owned(), forwarded.to_owned())]);
    }
}

#[tokio::test]
async fn a_nested_layers_principal_is_the_one_that_is_forwarded() {
    let (service, received) = recording();
    let inner = Api::new().key("inner", LIVE, |record| record);
    let inner = inner.layer(|layer| layer.forward_identity("x-principal")).run_over(service);
    let outer = Api::new().key("outer", LIVE, |record| record);
    let outer = outer.layer(|layer| layer.forward_identity("x-principal")).run_over(inner.app);
    assert_eq!(outer.call(x_api_key(LIVE)).await, accepted());
    assert_eq!(identities(&received), [("x-principal".to_owned(), "inner".to_owned())]);
}

#[test]
fn a_header_that_carries_keys_cannot_carry_the_identity() {
    let error = |name: &str| ApiKeyLayer::builder(MemoryStore::new()).forward_identity(name).build().err();
    for name in ["", "x principal", "X-API-Key", "x_api_key", "authorization"] {
        assert_eq!(error(name), Some(ConfigError::ForwardIdentity(name.into())));
    }
    assert_eq!(error("x-principal"), None);
}
