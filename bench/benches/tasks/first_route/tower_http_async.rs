//! tower-http, `AsyncRequireAuthorizationLayer`.

use axum::Router;
use axum::extract::Request;
use axum::http::{StatusCode, header::AUTHORIZATION};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use tower_http::auth::AsyncRequireAuthorizationLayer;

pub fn app() -> crate::App {
    let expected = format!("Bearer {}", std::env::var("API_KEY")?);
    let auth = AsyncRequireAuthorizationLayer::new(move |request: Request| {
        let is_valid = request.headers().get(AUTHORIZATION).is_some_and(|value| *value == expected);
        async move { if is_valid { Ok(request) } else { Err(StatusCode::UNAUTHORIZED.into_response()) } }
    });
    let app = Router::new()
        // Routes.
        .route("/links", get(list))
        .route("/links", post(create))
        .layer(auth);
    Ok(app)
}

async fn list() -> &'static str {
    "all links"
}

async fn create() -> &'static str {
    "created"
}
