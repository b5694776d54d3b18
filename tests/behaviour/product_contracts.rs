//! Tests the documents of the three products, line by line, against the services of `examples/`,
//! with keys in SQLite.

#[path = "../../examples/either.rs"]
#[allow(dead_code, clippy::duplicate_mod, reason = "an example, with its main and the code that examples share")]
mod either;
mod h0p;
mod hopx;
mod hozip;
#[path = "../../examples/token.rs"]
#[allow(dead_code, clippy::duplicate_mod, reason = "an example, with its main and the code that examples share")]
mod token;
#[path = "../../examples/x_api_key.rs"]
#[allow(dead_code, clippy::duplicate_mod, reason = "an example, with its main and the code that examples share")]
mod x_api_key;

use axum::{Router, body::Body};
use http::{Request, Response};
use http_body_util::BodyExt;
use serde_json::Value;
use tempfile::TempDir;
use tower::ServiceExt;
use tower_api_key::{
    KeyManager,
    manage::{Issued, KeyEvent},
};

/// The service of a product, and its first keys by name.
struct Product {
    app: Router,
    manager: KeyManager,
    keys: Vec<(&'static str, Issued)>,
    folder: TempDir,
}

macro_rules! product {
    ($example:ident $(, $audit:expr)?) => {{
        let folder = tempfile::tempdir().unwrap();
        let manager = $example::manager(&folder.path().join("keys.db") $(, $audit)?).await.unwrap();
        let keys = $example::first_keys(&manager).await.unwrap();
        Self { app: $example::app(&manager).unwrap(), manager, keys, folder }
    }};
}

impl Product {
    async fn hozip() -> Self {
        product!(token)
    }

    async fn h0p() -> Self {
        product!(x_api_key, |_| {})
    }

    async fn audited_h0p(audit: impl Fn(&KeyEvent) + Send + Sync + 'static) -> Self {
        product!(x_api_key, audit)
    }

    async fn hopx() -> Self {
        product!(either)
    }

    fn key(&self, name: &str) -> &str {
        self.keys.iter().find(|(known, _)| *known == name).unwrap().1.key().expose()
    }

    fn id(&self, name: &str) -> &str {
        self.keys.iter().find(|(known, _)| *known == name).unwrap().1.record().id().as_str()
    }

    async fn respond(&self, request: Request<Body>) -> Response<Body> {
        crate::support::logs::watch_for(crate::support::logs::keys_in(&request));
        let response = self.app.clone().oneshot(request).await.unwrap();
        crate::support::logs::assert_clean();
        response
    }

    async fn send(&self, request: Request<Body>) -> (u16, Value) {
        let response = self.respond(request).await;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    async fn status(&self, line: &str, headers: &[(&str, &str)]) -> u16 {
        self.send(request(line, headers)).await.0
    }
}

/// Sends `GET /path`.
fn request(line: &str, headers: &[(&str, &str)]) -> Request<Body> {
    let (method, path) = line.split_once(' ').unwrap();
    let builder = Request::builder().method(method).uri(path);
    let builder = headers.iter().fold(builder, |builder, (name, value)| builder.header(*name, *value));
    builder.body(Body::empty()).unwrap()
}
