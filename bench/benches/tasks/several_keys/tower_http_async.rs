//! tower-http, `AsyncRequireAuthorizationLayer`.

use axum::Router;
use axum::extract::Request;
use axum::http::{StatusCode, header::AUTHORIZATION};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use std::future::ready;
use tower_http::auth::AsyncRequireAuthorizationLayer;

#[derive(Clone)]
struct Key {
    text: String,
    actions: &'static [&'static str],
}

fn authenticate(keys: &[Key], mut request: Request) -> Result<Request, Response> {
    let text = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    let key = keys.iter().find(|key| Some(key.text.as_str()) == text).cloned();
    request.extensions_mut().insert(key.ok_or_else(|| StatusCode::UNAUTHORIZED.into_response())?);
    Ok(request)
}

fn require(action: &str, request: Request) -> Result<Request, Response> {
    let is_allowed = request.extensions().get::<Key>().is_some_and(|key| key.actions.contains(&action));
    if is_allowed { Ok(request) } else { Err(StatusCode::FORBIDDEN.into_response()) }
}

pub fn app() -> crate::App {
    let reader = Key { text: std::env::var("READER_KEY")?, actions: &["read"] };
    let writer = Key { text: std::env::var("WRITER_KEY")?, actions: &["read", "create"] };
    let keys = [reader, writer];
    let auth = AsyncRequireAuthorizationLayer::new(move |request: Request| ready(authenticate(&keys, request)));
    let may_read = AsyncRequireAuthorizationLayer::new(|request: Request| ready(require("read", request)));
    let may_create = AsyncRequireAuthorizationLayer::new(|request: Request| ready(require("create", request)));
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
