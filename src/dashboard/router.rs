//! Assembles the router: the page, its files, and `/manage`.

use axum::{
    Router,
    middleware::{from_fn, from_fn_with_state, map_response},
    response::Response,
    routing::get,
};
use http::{
    HeaderName, HeaderValue, StatusCode,
    header::{
        CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
    },
};
use tower_http::csrf::CsrfLayer;

use super::{
    files::{FILES, STYLE},
    gate::{SessionGate, require_json, require_session},
    page::Page,
    sign_in,
};
use crate::manage::problem::problem;

/// The parts of a dashboard whose settings are checked.
pub(super) struct Dashboard {
    pub(super) page: Page,
    pub(super) gate: SessionGate,
    /// The routes that begin and end a session.
    pub(super) sign_in: Router,
    pub(super) api: Router,
}

/// Only the page's own scripts run, they cannot turn texts into markup, and no site may frame the
/// page.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; \
                      font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
                      require-trusted-types-for 'script'; trusted-types 'none'";

const SECURITY_HEADERS: [(HeaderName, &str); 7] = [
    (CONTENT_SECURITY_POLICY, POLICY),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (X_FRAME_OPTIONS, "DENY"),
    (REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (CACHE_CONTROL, "no-store"),
];

// === impl Dashboard ===

impl Dashboard {
    pub(super) fn router<S: Clone + Send + Sync + 'static>(&self) -> Router<S> {
        let in_session = Router::new()
            .nest("/keys", self.api.clone())
            .merge(sign_in::session(&self.gate.confinement))
            .layer(from_fn_with_state(self.gate.clone(), require_session));
        let manage = in_session.merge(self.sign_in.clone()).layer(from_fn(require_json)).layer(
            CsrfLayer::new().with_rejection_response(|_| {
                problem(StatusCode::FORBIDDEN, "Cross-site requests of browsers are rejected.")
            }),
        );
        let mut files = Router::new();
        for (path, media_type, text) in FILES {
            files = files.route(path, get(([(CONTENT_TYPE, media_type)], text)));
        }
        let theme = get(([(CONTENT_TYPE, STYLE)], self.page.stylesheet()));
        files
            .route("/", self.page.route())
            .route("/theme.css", theme)
            .nest("/manage", manage)
            .layer(map_response(secured))
            .with_state(())
    }
}

pub(super) async fn secured(mut response: Response) -> Response {
    for (name, value) in SECURITY_HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}
