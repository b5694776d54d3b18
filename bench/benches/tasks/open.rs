//! The service without authentication. The other programs add it, and those lines are counted.

use axum::Router;
use axum::routing::{get, post};

pub fn app() -> crate::App {
    let app = Router::new()
        // Routes.
        .route("/links", get(list))
        .route("/links", post(create));
    Ok(app)
}

async fn list() -> &'static str {
    "all links"
}

async fn create() -> &'static str {
    "created"
}
