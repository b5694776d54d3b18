//! Tests the management API over HTTP: authorization, and the text of its errors.

mod addresses;
mod document;
mod edits;
mod events;
mod idempotency;
mod keys;
mod limits;
mod many;
mod mounting;
mod own_key;
#[cfg(feature = "limits")]
mod remaining;
mod requests;
mod roles;
mod search;
#[cfg(feature = "limits")]
mod top_ups;
mod usage;
#[cfg(all(feature = "webhooks", feature = "sqlite"))]
mod webhooks;

use std::sync::Arc;

use axum::{Router, body::Body};
use http::{HeaderMap, Request, Response, header::CONTENT_TYPE};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;
use tower_api_key::{
    KeyManager, Mask, Outcome, Permissions,
    manage::{Issued, KeyManagerBuilder, NewKey},
};

use crate::support::{
    Api, FaultyStore, TestClock, logs,
    registry::{admin, everything},
};

/// The API under `/api/keys`, and an administrator's key.
struct Keys {
    app: Router,
    manager: KeyManager,
    store: FaultyStore,
    clock: TestClock,
    admin: Issued,
    decisions: Arc<std::sync::Mutex<Vec<Outcome>>>,
}

struct Answer {
    status: u16,
    headers: HeaderMap,
    json: Value,
}

impl Keys {
    async fn new() -> Self {
        Self::with(|builder| builder).await
    }

    async fn with(edit: impl FnOnce(KeyManagerBuilder) -> KeyManagerBuilder) -> Self {
        let (api, manager) = Api::managed(|builder| edit(builder.keys_per_user(1).mask(Mask::LastFour)));
        let admin = manager.issue(&admin(), NewKey::service_account("admin").permissions(everything())).await.unwrap();
        let decisions = Arc::new(std::sync::Mutex::new(Vec::new()));
        let told = Arc::clone(&decisions);
        let layer = manager.layer().client_address(tower_api_key::ClientAddress::peer());
        let layer = layer.observe(move |decision| told.lock().unwrap().push(decision.outcome()));
        let layer = layer.build().unwrap();
        let app = Router::new().nest("/api/keys", manager.router(layer.schemes())).layer(layer);
        Self { app, manager, store: api.store.clone(), clock: api.clock.clone(), admin, decisions }
    }

    /// Sends `POST /path` with the administrator's key.
    async fn call(&self, line: &str, body: &Value) -> Answer {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.send(request(line, self.admin.key().expose(), "application/json", &body)).await
    }

    async fn send(&self, request: Request<Body>) -> Answer {
        logs::watch_for(logs::keys_in(&request));
        let line = format!("{} {}", request.method(), request.uri());
        let answer = answer(self.app.clone().oneshot(request).await.unwrap()).await;
        logs::watch_for(answer.json["key"].as_str().filter(|key| key.starts_with("acme_")).map(str::to_owned));
        logs::assert_clean();
        assert_eq!(answer.headers["cache-control"], "no-store", "{line}");
        if answer.status >= 400 {
            assert_eq!(answer.headers[CONTENT_TYPE], "application/problem+json", "{line}: {}", answer.json);
            assert_eq!(answer.json["status"], answer.status, "{line}");
            assert!(!answer.json["detail"].as_str().unwrap().is_empty(), "{line}");
        }
        answer
    }

    /// Returns a key with these permissions, issued by an actor that has them.
    async fn key(&self, permissions: Permissions) -> Issued {
        self.manager.issue(&admin(), NewKey::service_account("x").permissions(permissions)).await.unwrap()
    }
}

fn request(line: &str, key: &str, media_type: &str, body: &str) -> Request<Body> {
    let (method, path) = line.split_once(' ').unwrap();
    let mut request = Request::builder().method(method).uri(path).header("x-api-key", key);
    if !media_type.is_empty() {
        request = request.header(CONTENT_TYPE, media_type);
    }
    request.body(Body::from(body.to_owned())).unwrap()
}

async fn answer(response: Response<Body>) -> Answer {
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let json = serde_json::from_slice(&body).unwrap_or_default();
    Answer { status: parts.status.as_u16(), headers: parts.headers, json }
}

fn bot(name: &str) -> Value {
    json!({"type": "bot", "name": name, "permissions": {"links": ["read"]}})
}
