//! Tests the dashboard without a browser: its routes, its sessions, and what they may do.

mod cookies;
mod find;
mod host;
mod keys;
mod page;
mod settings;

use axum::{Router, body::Body};
use http::{HeaderMap, Request, header::CONTENT_TYPE, request::Parts};
use http_body_util::BodyExt;
use serde_json::Value;
use tower::ServiceExt;
use tower_api_key::{
    KeyManager, Owner, Permissions,
    manage::{Actor, Issued, NewKey},
};

use crate::support::{
    Api, logs,
    registry::{everything, text},
};

struct Answer {
    status: u16,
    headers: HeaderMap,
    text: String,
    json: Value,
}

/// Sends `POST /path` with these headers. A body is JSON, unless a header says otherwise.
async fn call(app: &Router, line: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let (method, path) = line.split_once(' ').unwrap();
    let mut request = Request::builder().method(method).uri(path);
    if headers.iter().all(|(name, _)| *name != "content-type") {
        request = request.header(CONTENT_TYPE, "application/json");
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::from(body.to_owned())).unwrap();
    logs::watch_for(logs::keys_in(&request));
    let (parts, body) = app.clone().oneshot(request).await.unwrap().into_parts();
    let text = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
    let json = serde_json::from_str(&text).unwrap_or_default();
    Answer { status: parts.status.as_u16(), headers: parts.headers, text, json }
}

async fn status(app: &Router, line: &str, headers: &[(&str, &str)]) -> u16 {
    call(app, line, headers, "").await.status
}

fn manager() -> KeyManager {
    Api::managed(|builder| builder).1
}

/// The user of a session of the host application: `cookie: app=NAME`.
fn user_of(parts: &Parts) -> Option<String> {
    let cookie = parts.headers.get("cookie")?.to_str().ok()?;
    Some(cookie.strip_prefix("app=")?.to_owned())
}

/// The administrator `admin` sees all keys of `acme`, and other users their own.
fn actor_of(user: String) -> Actor {
    let is_admin = user == "admin";
    let actor = Actor::trusted(Owner::User(user), everything()).in_organization("acme");
    if is_admin { actor } else { actor.own_keys_only() }
}

/// The dashboard at `/keys`, with the session of the host application.
fn hosted(manager: &KeyManager) -> Router {
    let page = manager.dashboard().sign_in_with_session(async |parts: Parts| user_of(&parts).map(actor_of));
    Router::new().nest("/keys", page.router().unwrap())
}

/// The dashboard at `/keys`, with sessions that begin with a key.
fn with_keys(manager: &KeyManager) -> Router {
    let auth = manager.layer().build().unwrap();
    manager.dashboard().sign_in_with_keys(&auth).router_at("/keys").unwrap()
}

async fn issue(manager: &KeyManager, user: &str, permissions: Permissions) -> Issued {
    let held = everything().union(&permissions);
    let user_itself = Actor::trusted(Owner::User(user.to_owned()), held).in_organization("acme");
    manager.issue(&user_itself, NewKey::user(user).permissions(permissions)).await.unwrap()
}

/// Signs in. Returns the cookie of the session.
async fn sign_in(app: &Router, key: &Issued) -> String {
    let answer = call(app, "POST /keys/manage/session", &[("x-api-key", text(key))], "{}").await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.headers["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned()
}
