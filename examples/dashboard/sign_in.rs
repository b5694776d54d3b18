//! Exchanges a key for a session, for administrators and for members, who manage their own keys
//! only.
//!
//! The page sends the key once, in a header, through the same layer as every other request. The
//! response sets a cookie that no script can read and no other site can send. The server stores the
//! id and the version of the key, and reads the current permissions on every request. Any change of
//! the key ends its sessions for good: enabling a disabled key does not restore them.
//!
//! # Cookies are shared by the ports of a host
//!
//! A server on another port of this host can set cookies here. So each start chooses a random
//! cookie name, which others cannot guess and overwrite. The server reads every cookie of that
//! name, ignores those without a session, and uses the session that began first. Sign-in creates a
//! new session secret and ends the sessions that the browser presented.
//!
//! Over plain HTTP, a server on another port can still read the cookie when the browser visits it.
//! Use plain HTTP only on hosts where you trust all ports. With `PUBLIC_URL=https://…` the cookie
//! is `Secure` and its name begins with `__Host-`, so only this host can set it, over TLS.

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
    ApiKey, ApiKeyLayer, KeyDigest, KeyFormat, KeyHasher, KeyId, KeyManager, Owner, Principal, Require,
    key::FormatError,
    manage::{Actor, ManageError},
};

/// The open sessions. Clones share them.
#[derive(Clone)]
pub(crate) struct Sessions {
    manager: KeyManager,
    /// By the digest of the cookie; the cookie itself is not stored.
    open: Arc<Mutex<HashMap<KeyDigest, Session>>>,
    cookie_name: Arc<str>,
    is_secure: bool,
}

#[derive(Clone)]
struct Session {
    key: KeyId,
    /// The version of the key's record at sign-in.
    version: Option<u64>,
    begun: Instant,
}

const LIFETIME: Duration = Duration::from_secs(8 * 3_600);

/// The most sessions of one key. The next sign-in ends them all and begins one new session.
const SESSIONS_PER_KEY: usize = 100;

pub(crate) fn router(sessions: Sessions, auth: ApiKeyLayer) -> Router {
    let with_a_key =
        Router::new().route("/", post(sign_in)).route_layer(Require::permission("apiKeys", "read")).route_layer(auth);
    let with_a_session =
        Router::new().route("/", get(show)).route_layer(from_fn_with_state(sessions.clone(), require_session));
    with_a_key.merge(with_a_session).route("/", delete(sign_out)).with_state(sessions)
}

/// Rejects requests without a session with 401. Passes the actor of the session to the handler.
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

async fn sign_in(State(sessions): State<Sessions>, headers: HeaderMap, key: Principal) -> Response {
    if key.token_ends_at().is_some() {
        return unauthorized("Sign in with a key: a token ends too soon.");
    }
    let Ok(secret) = KeyFormat::new("session").and_then(|format| format.generate()) else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    // A replaced key still works during its grace period, but cannot manage keys.
    match sessions.manager.actor(key.id()).await {
        Ok(Some(actor)) => {
            sessions.end_presented(&headers);
            sessions.begin(&secret, key.id().clone(), actor.key_version());
            let cookie = sessions.cookie(secret.expose(), LIFETIME);
            ([(SET_COOKIE, cookie)], Json(described(&confined(actor)))).into_response()
        }
        Ok(None) => unauthorized("This key was replaced: sign in with the new one."),
        Err(_) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}

async fn show(request: Request) -> Json<Value> {
    Json(request.extensions().get::<Actor>().map(described).unwrap_or_default())
}

async fn sign_out(State(sessions): State<Sessions>, headers: HeaderMap) -> Response {
    sessions.end_presented(&headers);
    ([(SET_COOKIE, sessions.cookie("", Duration::ZERO))], Json(json!({ "signed_in": false }))).into_response()
}

/// The users that manage the keys of the whole organization. The keys of service accounts manage
/// them too, since only administrators can create such keys.
const ADMINISTRATORS: [&str; 1] = ["admin"];

/// Restricts the actor of a member to the member's own keys.
pub(crate) fn confined(actor: Actor) -> Actor {
    match actor.owner() {
        Some(Owner::User(user)) if !ADMINISTRATORS.contains(&user.as_str()) => actor.own_keys_only(),
        _ => actor,
    }
}

impl Sessions {
    pub(crate) fn new(manager: KeyManager, is_secure: bool) -> Result<Self, FormatError> {
        let random = KeyFormat::new("name")?.generate()?;
        let prefix = if is_secure { "__Host-" } else { "" };
        let cookie_name = format!("{prefix}dashboard_session_{}", &random.expose()[5..17]).into();
        Ok(Self { manager, open: Arc::default(), cookie_name, is_secure })
    }

    fn begin(&self, secret: &ApiKey, key: KeyId, version: Option<u64>) {
        let mut open = self.open();
        open.retain(|_, session| session.is_open());
        if open.values().filter(|session| session.key == key).count() >= SESSIONS_PER_KEY {
            open.retain(|_, session| session.key != key);
        }
        open.insert(KeyHasher::sha256().digest(secret), Session { key, version, begun: Instant::now() });
    }

    async fn actor(&self, headers: &HeaderMap) -> Result<Option<Actor>, ManageError> {
        for (digest, session) in self.presented(headers) {
            let actor = self.manager.actor(&session.key).await?;
            match actor.filter(|actor| actor.key_version() == session.version) {
                Some(actor) => return Ok(Some(confined(actor))),
                None => drop(self.open().remove(&digest)),
            }
        }
        Ok(None)
    }

    /// Returns the sessions of a request's cookies, the oldest first.
    fn presented(&self, headers: &HeaderMap) -> Vec<(KeyDigest, Session)> {
        let cookies = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
        let cookies = cookies.flat_map(|line| line.split(';')).filter_map(|cookie| cookie.trim().split_once('='));
        let secrets = cookies.filter(|(name, _)| **name == *self.cookie_name).map(|(_, secret)| secret);
        let digests = secrets.filter_map(|secret| Some(KeyHasher::sha256().digest(&ApiKey::new(secret).ok()?)));
        let open = self.open();
        let known = digests.filter_map(|digest| Some((digest, open.get(&digest)?.clone())));
        let mut known: Vec<_> = known.filter(|(_, session)| session.is_open()).collect();
        known.sort_by_key(|(_, session)| session.begun);
        known
    }

    fn end_presented(&self, headers: &HeaderMap) {
        for (digest, _) in self.presented(headers) {
            self.open().remove(&digest);
        }
    }

    fn cookie(&self, secret: &str, lifetime: Duration) -> String {
        // The prefix `__Host-` requires this path.
        let scope = if self.is_secure { "Secure; Path=/" } else { "Path=/admin" };
        let (name, seconds) = (&self.cookie_name, lifetime.as_secs());
        format!("{name}={secret}; HttpOnly; SameSite=Strict; {scope}; Max-Age={seconds}")
    }

    fn open(&self) -> MutexGuard<'_, HashMap<KeyDigest, Session>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Session {
    fn is_open(&self) -> bool {
        self.begun.elapsed() < LIFETIME
    }
}

fn described(actor: &Actor) -> Value {
    json!({
        "key_id": actor.key_id().map(KeyId::as_str),
        "owner": actor.owner().map(ToString::to_string),
        "organization": actor.organization(),
        "permissions": actor.permissions(),
        "own_keys_only": actor.is_own_keys_only(),
    })
}

fn unauthorized(detail: &str) -> Response {
    let headers = [(CONTENT_TYPE, "application/problem+json"), (WWW_AUTHENTICATE, "Session realm=\"acme\"")];
    let problem = json!({ "type": "about:blank", "title": "Unauthorized", "status": 401, "detail": detail });
    (StatusCode::UNAUTHORIZED, headers, problem.to_string()).into_response()
}
