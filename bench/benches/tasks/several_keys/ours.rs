//! This library.

use axum::Router;
use axum::routing::{get, post};
use tower_api_key::{ApiKeyLayer, Require, store::StaticKeys};

pub fn app() -> crate::App {
    let reader = StaticKeys::from_env("READER_KEY")?.grant("links", "read");
    let writer = StaticKeys::from_env("WRITER_KEY")?.grant("links", "read").grant("links", "create");
    let auth = ApiKeyLayer::builder(reader.merge(writer)?).build()?;
    let app = Router::new()
        // Routes.
        .route("/links", get(list).layer(Require::permission("links", "read")))
        .route("/links", post(create).layer(Require::permission("links", "create")))
        .layer(auth);
    Ok(app)
}

async fn list() -> &'static str {
    "all links"
}

async fn create() -> &'static str {
    "created"
}
