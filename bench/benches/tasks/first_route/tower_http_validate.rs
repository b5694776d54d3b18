//! tower-http, `ValidateRequestHeaderLayer`.

use axum::Router;
use axum::routing::{get, post};
use tower_http::validate_request::ValidateRequestHeaderLayer;

pub fn app() -> crate::App {
    let auth = ValidateRequestHeaderLayer::bearer(&std::env::var("API_KEY")?);
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
