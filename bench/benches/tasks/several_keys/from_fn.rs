//! axum, `middleware::from_fn`.

use axum::Extension;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header::AUTHORIZATION};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::{get, post};

#[derive(Clone)]
struct Key {
    text: String,
    actions: &'static [&'static str],
}

async fn authenticate(State(keys): State<[Key; 2]>, mut request: Request, next: Next) -> Result<Response, StatusCode> {
    let text = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    let key = keys.iter().find(|key| Some(key.text.as_str()) == text).cloned();
    request.extensions_mut().insert(key.ok_or(StatusCode::UNAUTHORIZED)?);
    Ok(next.run(request).await)
}

async fn require(
    State(action): State<&'static str>,
    Extension(key): Extension<Key>,
    request: Request,
    next: Next,
) -> Result<Response, StatusCode> {
    if key.actions.contains(&action) { Ok(next.run(request).await) } else { Err(StatusCode::FORBIDDEN) }
}

pub fn app() -> crate::App {
    let reader = Key { text: std::env::var("READER_KEY")?, actions: &["read"] };
    let writer = Key { text: std::env::var("WRITER_KEY")?, actions: &["read", "create"] };
    let keys = [reader, writer];
    let app = Router::new()
        // Routes.
        .route("/links", get(list).layer(from_fn_with_state("read", require)))
        .route("/links", post(create).layer(from_fn_with_state("create", require)))
        .layer(from_fn_with_state(keys, authenticate));
    Ok(app)
}

async fn list() -> &'static str {
    "all links"
}

async fn create() -> &'static str {
    "created"
}
