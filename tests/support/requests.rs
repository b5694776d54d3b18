//! Requests with a credential, or without.

use http::{Method, Request};
use http_body_util::BodyExt;
use tower::{Layer, ServiceExt};
use tower_api_key::{KeyRegistry, KeyStore};

use super::test_api::Body;

/// A key that works.
pub const LIVE: &str = "live_zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ";

/// An unknown key.
pub const UNKNOWN: &str = "gone_aXWBuTSOoRi4A9spHcVY5ncnsDkxkJ";

pub fn get(path: &str) -> http::request::Builder {
    Request::get(path)
}

pub fn bare() -> Request<Body> {
    Request::get("/").body(Body::default()).unwrap()
}

pub fn with(header: &str, value: impl AsRef<[u8]>) -> Request<Body> {
    let mut request = bare();
    add(&mut request, header, value);
    request
}

pub fn add(request: &mut Request<Body>, header: &str, value: impl AsRef<[u8]>) {
    let name = http::HeaderName::from_bytes(header.as_bytes()).unwrap();
    let value = http::HeaderValue::from_bytes(value.as_ref()).unwrap();
    request.headers_mut().append(name, value);
}

pub fn bearer(key: &str) -> Request<Body> {
    with("authorization", format!("Bearer {key}"))
}

pub fn x_api_key(key: &str) -> Request<Body> {
    with("x-api-key", key)
}

pub fn method(mut request: Request<Body>, method: Method) -> Request<Body> {
    *request.method_mut() = method;
    request
}

pub fn path(mut request: Request<Body>, path: &str) -> Request<Body> {
    *request.uri_mut() = path.parse().unwrap();
    request
}
