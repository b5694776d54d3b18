//! axum, `middleware::from_fn`.

use axum::Router;
use axum::extract::Request;
use axum::http::{StatusCode, header::AUTHORIZATION};
use axum::middleware::{Next, from_fn};
use axum::routing::{get, post};

pub fn app() -> crate::App {
    let expected = format!("Bearer {}", std::env::var("API_KEY")?);
    let auth = from_fn(move |request: Request, next: Next| {
        let is_valid = request.headers().get(AUTHORIZATION).is_some_and(|value| *value == expected);
        async move { if is_valid { Ok(next.run(request).await) } else { Err(StatusCode::UNAUTHORIZED) } }
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
