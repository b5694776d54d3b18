//! A session in exchange for an administrator's key.
//!
//! The page sends the key once, in a header, through the same layer as every other request. What it gets is a cookie that no script
//! can read and no other site can send. The server keeps which key that was, and asks at every request what it may do now: a session
//! ends with its key.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    Json, Router,
    extract::{Request, State},
    http::{
        HeaderMap, StatusCode,
        header::{CONTENT_TYPE, COOKIE, SET_COOKIE, WWW_AUTHENTICATE},
    },
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::{delete, get, post},
};
use serde_json::{Value, json};
use tokio::time::Instant;
use tower_api_key::{
    ApiKey, ApiKeyLayer, KeyDigest, KeyFormat, KeyHasher, KeyId, KeyManager, Principal, Require,
    manage::{Actor, ManageError},
};

/// Who has signed in. Clones share the sessions.
#[derive(Clone)]
pub(crate) struct Sessions {
    manager: KeyManager,
    /// By the digest of the cookie: its text is nowhere here.
    open: Arc<Mutex<HashMap<KeyDigest, Session>>>,
}

struct Session {
    key: KeyId,
    ends: Instant,
}

const LIFETIME: Duration = Duration::from_hours(8);

/// One more ends them all.
const SESSIONS_PER_KEY: usize = 100;

pub(crate) fn router(sessions: Sessions, auth: ApiKeyLayer) -> Router {
    let with_a_key =
        Router::new().route("/", post(sign_in)).route_layer(Require::permission("apiKeys", "read")).route_layer(auth);
    let with_a_session =
        Router::new().route("/", get(show)).route_layer(from_fn_with_state(sessions.clone(), require_session));
    with_a_key.merge(with_a_session).route("/", delete(sign_out)).with_state(sessions)
}

/// Lets a request through for whoever has signed in.
pub(crate) async fn require_session(State(sessions): State<Sessions>, mut request: Request, next: Next) -> Response {
    match sessions.actor(request.headers()).await {
        Ok(Some(actor)) => {
            request.extensions_mut().insert(actor);
            next.run(request).await
        }
        Ok(None) => unauthorized("Sign in first."),
        Err(_) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}

async fn sign_in(State(sessions): State<Sessions>, key: Principal) -> Response {
    let Ok(secret) = KeyFormat::new("session").and_then(|format| format.generate()) else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    // A key that was rotated away works on for a while, but manages nothing.
    match sessions.manager.actor(key.id()).await {
        Ok(Some(actor)) => {
            sessions.begin(&secret, key.id().clone());
            ([(SET_COOKIE, cookie(secret.expose(), LIFETIME))], Json(described(&actor))).into_response()
        }
        Ok(None) => unauthorized("This key was replaced: sign in with the new one."),
        Err(_) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}

async fn show(request: Request) -> Json<Value> {
    Json(request.extensions().get::<Actor>().map(described).unwrap_or_default())
}

async fn sign_out(State(sessions): State<Sessions>, headers: HeaderMap) -> Response {
    if let Some(digest) = presented(&headers) {
        sessions.open().remove(&digest);
    }
    ([(SET_COOKIE, cookie("", Duration::ZERO))], Json(json!({ "signed_in": false }))).into_response()
}

impl Sessions {
    pub(crate) fn new(manager: KeyManager) -> Self {
        Self { manager, open: Arc::default() }
    }

    fn begin(&self, secret: &ApiKey, key: KeyId) {
        let now = Instant::now();
        let mut open = self.open();
        open.retain(|_, session| now < session.ends);
        if open.values().filter(|session| session.key == key).count() >= SESSIONS_PER_KEY {
            open.retain(|_, session| session.key != key);
        }
        open.insert(KeyHasher::sha256().digest(secret), Session { key, ends: now + LIFETIME });
    }

    async fn actor(&self, headers: &HeaderMap) -> Result<Option<Actor>, ManageError> {
        match presented(headers).and_then(|digest| self.key(&digest)) {
            Some(key) => self.manager.actor(&key).await,
            None => Ok(None),
        }
    }

    fn key(&self, digest: &KeyDigest) -> Option<KeyId> {
        let open = self.open();
        let session = open.get(digest).filter(|session| Instant::now() < session.ends)?;
        Some(session.key.clone())
    }

    fn open(&self) -> MutexGuard<'_, HashMap<KeyDigest, Session>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn described(actor: &Actor) -> Value {
    json!({
        "key_id": actor.key_id().map(KeyId::as_str),
        "owner": actor.owner().map(ToString::to_string),
        "organization": actor.organization(),
        "permissions": actor.permissions(),
    })
}

/// Behind TLS, add `Secure` here.
fn cookie(secret: &str, lifetime: Duration) -> String {
    format!("dashboard_session={secret}; HttpOnly; SameSite=Strict; Path=/admin; Max-Age={}", lifetime.as_secs())
}

fn presented(headers: &HeaderMap) -> Option<KeyDigest> {
    let cookies = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
    let mut cookies = cookies.flat_map(|line| line.split("; "));
    let secret = cookies.find_map(|cookie| cookie.strip_prefix("dashboard_session="))?;
    Some(KeyHasher::sha256().digest(&ApiKey::new(secret).ok()?))
}

fn unauthorized(detail: &str) -> Response {
    let headers = [(CONTENT_TYPE, "application/problem+json"), (WWW_AUTHENTICATE, "Session realm=\"acme\"")];
    let problem = json!({ "type": "about:blank", "title": "Unauthorized", "status": 401, "detail": detail });
    (StatusCode::UNAUTHORIZED, headers, problem.to_string()).into_response()
}
