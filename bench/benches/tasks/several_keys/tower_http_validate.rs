//! tower-http, `ValidateRequestHeaderLayer`.

use axum::Router;
use axum::extract::Request;
use axum::http::{StatusCode, header::AUTHORIZATION};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tower_http::validate_request::ValidateRequestHeaderLayer;

#[derive(Clone)]
struct Key {
    text: String,
    actions: &'static [&'static str],
}

fn authenticate(keys: &[Key], request: &mut Request) -> Result<(), Response> {
    let text = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    let key = keys.iter().find(|key| Some(key.text.as_str()) == text).cloned();
    request.extensions_mut().insert(key.ok_or_else(|| StatusCode::UNAUTHORIZED.into_response())?);
    Ok(())
}

fn require(action: &str, request: &Request) -> Result<(), Response> {
    let is_allowed = request.extensions().get::<Key>().is_some_and(|key| key.actions.contains(&action));
    if is_allowed { Ok(()) } else { Err(StatusCode::FORBIDDEN.into_response()) }
}

pub fn app() -> crate::App {
    let reader = Key { text: std::env::var("READER_KEY")?, actions: &["read"] };
    let writer = Key { text: std::env::var("WRITER_KEY")?, actions: &["read", "create"] };
    let keys = [reader, writer];
    let auth = ValidateRequestHeaderLayer::custom(move |request: &mut Request| authenticate(&keys, request));
    let may_read = ValidateRequestHeaderLayer::custom(|request: &mut Request| require("read", request));
    let may_create = ValidateRequestHeaderLayer::custom(|request: &mut Request| require("create", request));
    let app = Router::new()
        // Routes.
        .route("/links", get(list).layer(may_read))
        .route("/links", post(create).layer(may_create))
        .layer(auth);
    Ok(app)
}

async fn list() -> &'static str {
    "all links"
}

async fn create() -> &'static str {
    "created"
}
