//! The layers that all routes of the management API share.

use axum::{
    Router,
    extract::DefaultBodyLimit,
    http::{HeaderValue, StatusCode, header::CACHE_CONTROL},
    middleware::{map_request, map_response},
    response::{IntoResponse, Response},
};
use tower_http::csrf::CsrfLayer;

use super::extract::without_page_headers;
use crate::manage::{KeyManager, problem::problem};

const MAX_BODY: usize = 64 * 1024;

impl KeyManager {
    /// Adds the layers that all routes share.
    pub(super) fn served<S>(&self, routes: Router<Self>) -> Router<S> {
        routes
            .method_not_allowed_fallback(async || {
                problem(StatusCode::METHOD_NOT_ALLOWED, "This path does not support the method: see the Allow header.")
            })
            .layer(DefaultBodyLimit::max(MAX_BODY))
            .layer(CsrfLayer::new().with_rejection_response(|_| {
                problem(StatusCode::FORBIDDEN, "Cross-site requests of browsers are rejected.")
            }))
            .layer(map_request(without_page_headers))
            .layer(map_response(no_store))
            .with_state(self.clone())
    }
}

async fn no_store(mut response: Response) -> impl IntoResponse {
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
