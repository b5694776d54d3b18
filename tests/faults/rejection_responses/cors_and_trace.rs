//! P4: CORS and tracing layers around the API key layer.

use http::Method;
use tower::{ServiceBuilder, ServiceExt};
use tower_api_key::{ApiKeyLayer, Scheme};
use tower_http::{
    cors::CorsLayer,
    sensitive_headers::SetSensitiveRequestHeadersLayer,
    trace::{DefaultMakeSpan, TraceLayer},
};

use super::answering;
use crate::support::{Api, LIVE, UNKNOWN, add, bare, logs, method, with};

/// tower-http around the layer, in the order of the guide: a 401 has CORS headers, and no log line
/// shows a key.
#[tokio::test]
async fn p4_cors_outside_of_the_layer_covers_refusals_and_a_trace_with_headers_shows_no_key() {
    let policy = [
        Scheme::bearer(),
        Scheme::x_api_key(),
        Scheme::header_with_prefix("x-acme", "Key"),
        Scheme::cookie("session"),
        Scheme::websocket_protocol("api-key"),
    ];
    let auth = ApiKeyLayer::builder(Api::live().store).schemes(policy).build().unwrap();
    let names: Vec<_> = auth.schemes().header_names().collect();
    assert_eq!(names, ["authorization", "x-api-key", "x-acme", "cookie", "sec-websocket-protocol"]);
    let cors = CorsLayer::new()
        .allow_origin("https://x.example".parse::<http::HeaderValue>().unwrap())
        .allow_headers([http::header::AUTHORIZATION]);
    let trace = TraceLayer::new_for_http()
        .make_span_with(DefaultMakeSpan::new().include_headers(true).level(tracing::Level::INFO));
    let app = ServiceBuilder::new()
        .layer(SetSensitiveRequestHeadersLayer::new(auth.schemes().header_names()))
        .layer(trace)
        .layer(cors)
        .layer(auth)
        .service(answering(&[]));
    logs::watch_for([LIVE, UNKNOWN].map(str::to_owned));
    logs::take();
    for key in [LIVE, UNKNOWN] {
        for (name, value) in [
            ("authorization", format!("Bearer {key}")),
            ("x-api-key", key.to_owned()),
            ("x-acme", format!("Key {key}")),
            ("cookie", format!("session={key}")),
            ("sec-websocket-protocol", format!("api-key, {key}")),
        ] {
            let mut request = with(name, value);
            add(&mut request, "origin", "https://x.example");
            let response = app.clone().oneshot(request).await.unwrap();
            assert_eq!(response.status(), if key == LIVE { 200 } else { 401 }, "{name}");
            assert_eq!(response.headers()["access-control-allow-origin"], "https://x.example");
        }
    }
    let mut preflight = method(bare(), Method::OPTIONS);
    add(&mut preflight, "origin", "https://x.example");
    add(&mut preflight, "access-control-request-method", "GET");
    let response = app.clone().oneshot(preflight).await.unwrap();
    assert_eq!(
        (response.status().as_u16(), &response.headers()["access-control-allow-headers"]),
        (200, &"authorization".parse().unwrap())
    );
    logs::assert_clean();
    let lines = logs::take();
    assert!(lines.contains("Sensitive") && lines.contains("headers="), "the trace shows headers: {lines}");
}
