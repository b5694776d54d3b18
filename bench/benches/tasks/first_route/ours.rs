//! This library.

use axum::Router;
use axum::routing::{get, post};
use tower_api_key::{ApiKeyLayer, store::StaticKeys};

pub fn app() -> crate::App {
    let auth = ApiKeyLayer::builder(StaticKeys::from_env("API_KEY")?).build()?;
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
