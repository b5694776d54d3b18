//! M2, M4, M5, M7, M15: the restrictions of an actor, and the reports of its failures.

mod bounds;
mod ends;
#[cfg(feature = "tracing")]
mod failures;
#[cfg(all(feature = "dashboard", feature = "sqlite", feature = "limits"))]
mod sessions;

use axum::{Router, body::Body};
use http::{HeaderMap, Request, header::CONTENT_TYPE};
use http_body_util::BodyExt;
use serde_json::Value;
use tower::ServiceExt;

struct Answer {
    status: u16,
    #[cfg_attr(
        not(all(feature = "dashboard", feature = "sqlite", feature = "limits")),
        allow(dead_code, reason = "read by the tests of the dashboard")
    )]
    headers: HeaderMap,
    json: Value,
}

/// Sends `POST /path` with these headers, after `prepare` has changed the request.
async fn call(
    app: &Router,
    line: &str,
    headers: &[(&str, &str)],
    body: &Value,
    prepare: impl FnOnce(&mut Request<Body>),
) -> Answer {
    let (method, path) = line.split_once(' ').unwrap();
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let mut request = Request::builder().method(method).uri(path).header(CONTENT_TYPE, "application/json");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut request = request.body(Body::from(body)).unwrap();
    crate::support::logs::watch_for(crate::support::logs::keys_in(&request));
    prepare(&mut request);
    let (parts, body) = app.clone().oneshot(request).await.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let json = serde_json::from_slice(&body).unwrap_or_default();
    Answer { status: parts.status.as_u16(), headers: parts.headers, json }
}
