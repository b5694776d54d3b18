//! R13 to R19, P4: the status, headers and body of a response, and the decision that an observer
//! gets.

mod cache_headers;
mod cors_and_trace;
mod foreign_credentials;
mod nested_layers;
mod observers;
mod statuses;

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use tower::{Layer, service_fn};
use tower_api_key::{ApiKeyLayer, Decision, Principal, layer::ApiKeyLayerBuilder};

use crate::support::{Api, App, Body, add, boxed, method, path, x_api_key};

type Log<T> = Arc<Mutex<Vec<T>>>;

/// axum's `ConnectInfo`, as set by a server without axum.
#[derive(Clone)]
struct Peer(&'static str);

fn request(verb: &str, target: &str, key: &str, id: &str) -> Request<Body> {
    let mut request = path(method(x_api_key(key), verb.parse().unwrap()), target);
    if key.is_empty() {
        request.headers_mut().remove("x-api-key");
    }
    add(&mut request, "x-request-id", id);
    request.extensions_mut().insert(Peer("192.0.2.7"));
    request
}

async fn body(response: Response<Full<Bytes>>) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

/// Returns a layer with one key under `id`, around `inner`.
fn nest(
    id: &'static str,
    key: &str,
    edit: impl FnOnce(ApiKeyLayerBuilder) -> ApiKeyLayerBuilder,
    outcomes: &Log<(&'static str, Decision)>,
    inner: App,
) -> App {
    let log = Arc::clone(outcomes);
    let store = Api::new().key(id, key, |record| record.grant("links", "read")).store;
    let layer = edit(ApiKeyLayer::builder(store).optional().forward_identity("x-principal"));
    let layer = layer.observe(move |decision| log.lock().unwrap().push((id, decision.clone()))).build().unwrap();
    boxed(layer.layer(inner))
}

/// Returns the caller, and the forwarded name.
fn says_who() -> App {
    boxed(service_fn(async |request: Request<Body>| {
        let who = request.extensions().get::<Principal>().map_or("nobody", |key| key.id().as_str()).to_owned();
        let forwarded = request.headers().get("x-principal").map_or("nobody", |id| id.to_str().unwrap());
        assert_eq!(who, forwarded);
        Ok::<_, Infallible>(Response::new(Body::from(who)))
    }))
}

const INNER: &str = "inner_WBuTSOoRi4A9spHcVY5ncnsDkxkJ";

/// A service that returns these headers.
fn answering(headers: &[(&'static str, &'static str)]) -> App {
    let headers = headers.to_vec();
    boxed(service_fn(move |_: Request<Body>| {
        let mut response = Response::new(Body::from("answer"));
        for (name, value) in &headers {
            response.headers_mut().append(*name, value.parse().unwrap());
        }
        std::future::ready(Ok::<_, Infallible>(response))
    }))
}

fn all(headers: &HeaderMap, name: &str) -> Vec<String> {
    headers.get_all(name).iter().map(|value| value.to_str().unwrap().to_owned()).collect()
}
