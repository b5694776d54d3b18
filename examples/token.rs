//! Shows the API keys of the product Hozip: one key per account, in `Authorization: Token`. Users
//! manage it on a profile page, after they have signed in.
//!
//! ```sh
//! cargo run --example token --features sqlite
//! URL=http://127.0.0.1:3000
//! curl -H 'Authorization: Token KEY' $URL/api/v1/external/groups   # 200, for either key
//! curl -X POST -H 'Authorization: Token KEY' $URL/api/v1/external/links   # 201; 403 for `limited`
//! curl -H 'Authorization: Bearer KEY' $URL/api/v1/external/groups   # 401: Token, not Bearer
//! curl -c cookies -d account=alice $URL/login   # 200
//! curl -b cookies -X POST $URL/profile/api-key/generate   # 201: the key, shown once
//! curl -b cookies $URL/profile/api-key/   # 200: masked
//! ```

mod common;

use std::{
    collections::HashMap,
    env,
    error::Error,
    path::Path,
    sync::{Arc, Mutex},
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, FromRef, FromRequestParts, State},
    http::{
        HeaderMap, HeaderValue, StatusCode,
        header::{CACHE_CONTROL, COOKIE, SET_COOKIE, WWW_AUTHENTICATE},
        request::Parts,
    },
    middleware::map_response,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde_json::{Value, json};
use tower_api_key::{
    ConfigError, KeyFormat, KeyManager, KeyRecord, Owner, Permissions, Principal, Require, Scheme,
    manage::{Actor, Issued, ManageError, NewKey},
    store::{KeyFilter, RegistryError, SqliteStore},
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let database = env::var("DATABASE").unwrap_or_else(|_| "hozip.db".to_owned());
    let manager = manager(Path::new(&database)).await?;
    let keys = first_keys(&manager).await?;
    common::print_keys(&keys);
    let app = app(&manager)?;

    let (listener, url) = common::listen().await?;
    println!("listening on {url}\n\n{}", common::heading(&keys, &database));
    for ((name, issued), status) in keys.iter().zip([201, 403]) {
        let header = format!("-H 'Authorization: Token {}'", issued.key().expose());
        println!("  curl {header} {url}/api/v1/external/groups   # 200: {name}");
        println!("  curl -X POST {header} {url}/api/v1/external/links   # {status}: {name}");
        let bearer = header.replace("Token", "Bearer");
        println!("  curl {bearer} {url}/api/v1/external/groups   # 401: Token, not Bearer");
    }
    println!("  curl {url}/api/v1/external/groups   # 401: no key\n");
    axum::serve(listener, app).with_graceful_shutdown(common::stopped()).await?;
    Ok(manager.flush().await?)
}

/// Returns a manager of one key per account, in the file `database`.
pub(crate) async fn manager(database: &Path) -> Result<KeyManager, Box<dyn Error>> {
    let store = SqliteStore::open(database).await?;
    Ok(KeyManager::builder(store).format(KeyFormat::new("hozip")?).keys_per_user(1).build()?)
}

/// Issues, at the first start, a key for each of two accounts. Later starts cannot show them: the
/// file has their digests only.
pub(crate) async fn first_keys(manager: &KeyManager) -> Result<Vec<(&'static str, Issued)>, ManageError> {
    let account = Account::named("account");
    let Some(first) = manager.bootstrap(&account.actor(), account.new_key()).await? else {
        return Ok(Vec::new());
    };
    let limited = Account::named("limited").generate(manager).await?;
    Ok(vec![("account", first), ("limited", limited)])
}

/// Returns the service. Its endpoints need a key in `Authorization: Token`; the profile needs a
/// session instead.
pub(crate) fn app(manager: &KeyManager) -> Result<Router, ConfigError> {
    let auth = manager.layer().schemes([Scheme::token()]).realm("hozip").build()?;
    let hozip = Hozip { manager: manager.clone(), sessions: Sessions::default() };
    Ok(Router::new()
        .route("/api/v1/external/groups", get(groups).layer(Require::permission("groups", "read")))
        .route("/api/v1/external/links", post(create_link).layer(Require::permission("links", "create")))
        .layer(auth)
        .route("/login", post(login))
        .route("/profile/api-key/", get(show))
        .route("/profile/api-key/generate", post(generate))
        .route("/profile/api-key/regenerate", post(regenerate))
        .route("/profile/api-key/revoke", post(revoke))
        .layer(DefaultBodyLimit::max(1024))
        .layer(map_response(async |mut response: Response| {
            response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            response
        }))
        .with_state(hozip))
}

async fn groups(key: Principal) -> Json<Value> {
    let account = key.owner().map(ToString::to_string);
    Json(json!({ "account": account, "groups": [{ "id": 1, "name": "Main" }] }))
}

async fn create_link(key: Principal) -> (StatusCode, Json<Value>) {
    let account = key.owner().map(ToString::to_string);
    (StatusCode::CREATED, Json(json!({ "account": account, "link": "https://hozip.example/a1b2" })))
}

// === the profile ===

type Answer = Result<(StatusCode, Json<Value>), Failure>;

async fn show(State(manager): State<KeyManager>, account: Account) -> Answer {
    let key = account.key(&manager).await?;
    let masked = key.as_ref().and_then(KeyRecord::mask);
    Ok((StatusCode::OK, Json(json!({ "key": masked }))))
}

async fn generate(State(manager): State<KeyManager>, account: Account) -> Answer {
    let issued = account.generate(&manager).await?;
    Ok((StatusCode::CREATED, shown_once(&issued)))
}

async fn regenerate(State(manager): State<KeyManager>, account: Account) -> Answer {
    let old = account.key(&manager).await?.ok_or(Failure::NoKey)?;
    let issued = manager.regenerate(&account.actor(), old.id().clone()).await?;
    Ok((StatusCode::CREATED, shown_once(&issued)))
}

async fn revoke(State(manager): State<KeyManager>, account: Account) -> Answer {
    let mut key = Some(account.key(&manager).await?.ok_or(Failure::NoKey)?);
    // Another request may regenerate the key in the meantime, so revoke until none is left.
    while let Some(old) = key {
        manager.revoke(&account.actor(), old.id().clone()).await?;
        key = account.key(&manager).await?;
    }
    Ok((StatusCode::OK, Json(json!({ "key": null }))))
}

fn shown_once(issued: &Issued) -> Json<Value> {
    Json(json!({ "key": issued.key().expose(), "shown": "once: copy it now" }))
}

enum Failure {
    NoKey,
    Manage(ManageError),
}

impl From<ManageError> for Failure {
    fn from(error: ManageError) -> Self {
        Self::Manage(error)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let (status, error) = match self {
            Self::NoKey => (StatusCode::NOT_FOUND, "there is no key: generate one".to_owned()),
            Self::Manage(ManageError::Registry(RegistryError::LimitReached(_))) => {
                (StatusCode::CONFLICT, "there is a key already: regenerate it, or revoke it first".to_owned())
            }
            Self::Manage(error @ ManageError::Store(_)) => (StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
            Self::Manage(error) => (StatusCode::CONFLICT, error.to_string()),
        };
        (status, Json(json!({ "error": error }))).into_response()
    }
}

// === accounts and sessions: a stand-in for your own login, which would verify a password ===

struct Account {
    name: String,
    permissions: Permissions,
}

impl Account {
    fn named(name: impl Into<String>) -> Self {
        let (name, reader) = (name.into(), Permissions::new().grant("groups", "read"));
        let permissions = if name == "limited" { reader } else { reader.grant("links", "create") };
        Self { name, permissions }
    }

    /// Returns an actor that manages only the account's own key. It has all permissions on
    /// `apiKeys`, in addition to those of the key.
    fn actor(&self) -> Actor {
        let actions = ["create", "read", "update", "delete"].into_iter();
        let permissions = actions.fold(self.permissions.clone(), |all, action| all.grant("apiKeys", action));
        Actor::trusted(self.owner(), permissions).own_keys_only()
    }

    fn owner(&self) -> Owner {
        Owner::User(self.name.clone())
    }

    async fn generate(&self, manager: &KeyManager) -> Result<Issued, ManageError> {
        manager.issue(&self.actor(), self.new_key()).await
    }

    fn new_key(&self) -> NewKey {
        NewKey::user("API key").permissions(self.permissions.clone())
    }

    async fn key(&self, manager: &KeyManager) -> Result<Option<KeyRecord>, ManageError> {
        let filter = KeyFilter::default().owner(self.owner()).limit(1);
        Ok(manager.list(&self.actor(), filter).await?.records.pop())
    }
}

const MAX_SESSIONS: usize = 10_000;

/// Maps the value of a session cookie to the number and the account of the session.
type Sessions = Arc<Mutex<HashMap<String, (u64, String)>>>;

#[derive(Clone)]
struct Hozip {
    manager: KeyManager,
    sessions: Sessions,
}

impl FromRef<Hozip> for KeyManager {
    fn from_ref(hozip: &Hozip) -> Self {
        hozip.manager.clone()
    }
}

/// Starts a session from `account=alice` or `{"account": "alice"}`. The default account is
/// `account`.
async fn login(State(hozip): State<Hozip>, headers: HeaderMap, body: Bytes) -> Result<Response, Response> {
    let named: Value = serde_json::from_slice(&body).unwrap_or_default();
    let form = std::str::from_utf8(&body).ok().and_then(|form| form.strip_prefix("account="));
    let name = named["account"].as_str().or(form).unwrap_or("account").to_owned();
    let session = KeyFormat::new("session").and_then(|format| format.generate());
    let session = session.map_err(|_| StatusCode::SERVICE_UNAVAILABLE.into_response())?;
    let cookie = format!("hozip_session={}; HttpOnly; SameSite=Strict; Path=/", session.expose());
    let mut sessions = hozip.sessions.lock().unwrap();
    for earlier in presented(&headers) {
        sessions.remove(earlier);
    }
    let number = sessions.values().map(|(number, _)| number + 1).max().unwrap_or(0);
    if sessions.len() == MAX_SESSIONS {
        sessions.clear();
    }
    sessions.insert(session.expose().to_owned(), (number, name.clone()));
    Ok(([(SET_COOKIE, cookie)], Json(json!({ "account": name }))).into_response())
}

impl FromRequestParts<Hozip> for Account {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, hozip: &Hozip) -> Result<Self, Response> {
        let sessions = hozip.sessions.lock().unwrap();
        // A service on another port of this host may have set a cookie of the same name. So ignore
        // cookies without a session, and use the oldest session.
        let known = presented(&parts.headers).filter_map(|session| sessions.get(session));
        let name = known.min_by_key(|(number, _)| *number).map(|(_, name)| name);
        name.map(Account::named).ok_or_else(|| {
            let challenge = [(WWW_AUTHENTICATE, "Session realm=\"hozip\"")];
            (StatusCode::UNAUTHORIZED, challenge, Json(json!({ "error": "sign in first: POST /login" })))
                .into_response()
        })
    }
}

fn presented(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let cookies = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
    cookies.flat_map(|line| line.split("; ")).filter_map(|cookie| cookie.strip_prefix("hozip_session="))
}
