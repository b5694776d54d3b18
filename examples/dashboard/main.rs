//! Serves a small API, and a web page on which administrators and members manage keys. The page
//! uses the management API.
//!
//! ```sh
//! cargo run --example dashboard --features admin-api,sqlite,limits
//! ```
//!
//! The first start prints the key of the first administrator, once, and these lines with the key
//! filled in. Keys are stored in the file `dashboard.db`.
//!
//! ```sh
//! curl -H 'X-API-Key: ADMIN' http://127.0.0.1:3000/api/keys   # 200
//! curl http://127.0.0.1:3000/api/keys                         # 401: no key
//! ```
//!
//! Open <http://127.0.0.1:3000> and sign in with the key. The server exchanges it for a session;
//! the browser does not keep the key.
//!
//! - `-- --new-admin-key` prints another administrator key, if the first one is lost.
//! - `-- --new-member-key alice` prints a key of the member `alice`, who manages her own keys only.
//! - Behind TLS, set `PUBLIC_URL=https://…`.

#[path = "../common/mod.rs"]
mod common;
pub(crate) mod sign_in;

use std::{env, error::Error, path::Path, time::Duration};

use axum::{
    Json, Router,
    extract::Request,
    http::{
        HeaderName, HeaderValue,
        header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS},
    },
    middleware::{from_fn_with_state, map_request, map_response},
    response::Response,
    routing::get,
};
use serde_json::{Value, json};
use sign_in::Sessions;
use tower_api_key::{
    KeyFormat, KeyManager, Mask, Owner, Permissions, Principal, Require,
    limit::{Limit, Limits, Plans, Quota, Rate},
    manage::{Actor, Issued, ManageError, NewKey},
    store::SqliteStore,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // The keys.
    let database = env::var("DATABASE").unwrap_or_else(|_| "dashboard.db".to_owned());
    let (manager, limits) = manager(Path::new(&database)).await?;
    let keys = first_keys(&manager, &env::args().skip(1).collect::<Vec<_>>()).await?;
    common::print_keys(&keys);

    // The routes.
    let app = app(&manager)?;

    // Serve.
    let (listener, url) = common::listen().await?;
    println!("listening on {url}\n\nOpen {url} in a browser and sign in with a key, or try:");
    for (name, issued) in &keys {
        println!("  curl -H 'X-API-Key: {}' {url}/api/keys   # 200: {name}", issued.key().expose());
    }
    println!("  curl {url}/api/keys   # 401: no key\n");
    axum::serve(listener, app).with_graceful_shutdown(common::stopped()).await?;
    if let Err(error) = limits.flush().await {
        eprintln!("leased units are not given back: {error}");
    }
    Ok(manager.flush().await?)
}

const ORGANIZATION: &str = "acme";
const RESOURCES: [&str; 4] = ["links", "stats", "webhooks", "apiKeys"];
const ACTIONS: [&str; 4] = ["create", "read", "update", "delete"];

/// Returns a manager of the keys in the file `database`, and the limits that it keeps there too.
pub(crate) async fn manager(database: &Path) -> Result<(KeyManager, Limits), Box<dyn Error>> {
    let store = SqliteStore::open(database).await?;
    let limits = Limits::leased(plans(), store.clone()).build()?;
    let manager = KeyManager::builder(store)
        .format(KeyFormat::new("acme")?)
        .mask(Mask::LastFour)
        .usage_interval(Duration::from_secs(1))
        .limits(limits.clone())
        .on_event(|event| eprintln!("{:?} {} by {}", event.kind(), event.key_id(), event.author()))
        .build()?;
    Ok((manager, limits))
}

/// The key of a member has the plan `free`. The keys that it issues have its plan, and share its
/// limits.
fn plans() -> Plans {
    Plans::new()
        .plan(
            "free",
            [Limit::rate("burst", Rate::per_second(10).burst(20)), Limit::quota("daily", Quota::per_day(10_000))],
        )
        .plan("team", [Limit::rate("burst", Rate::per_second(1_000)), Limit::quota("daily", Quota::per_day(1_000_000))])
        .plan("prepaid", [Limit::rate("burst", Rate::per_second(10)), Limit::credits("calls")])
        .default_plan("team")
}

/// Issues an administrator key at the first start, and the keys that the arguments request. There
/// is no default key.
pub(crate) async fn first_keys(
    manager: &KeyManager,
    arguments: &[String],
) -> Result<Vec<(String, Issued)>, ManageError> {
    let first = manager.bootstrap(&administrator(), new_admin()).await?;
    let mut keys: Vec<_> = first.into_iter().map(|admin| ("admin".to_owned(), admin)).collect();
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--new-admin-key" if keys.is_empty() => {
                keys.push(("admin".to_owned(), manager.issue(&administrator(), new_admin()).await?));
            }
            "--new-member-key" => {
                let name = arguments.next().map_or("member", String::as_str);
                keys.push((name.to_owned(), member_key(manager, name).await?));
            }
            _ => {}
        }
    }
    Ok(keys)
}

/// Issues a key for a member to sign in with. Only an operator, who acts across organizations, sets
/// the plan.
async fn member_key(manager: &KeyManager, name: &str) -> Result<Issued, ManageError> {
    let own_keys = ACTIONS.map(|action| ("apiKeys", action));
    let may: Permissions = own_keys.into_iter().chain([("links", "read"), ("stats", "read")]).collect();
    let member = Actor::trusted(Owner::User(name.to_owned()), may.clone()).in_organization(ORGANIZATION);
    let key = NewKey::user("Member").permissions(may).plan("free");
    manager.issue(&member.own_keys_only().across_organizations(), key).await
}

fn administrator() -> Actor {
    Actor::trusted(Owner::User("admin".to_owned()), everything()).in_organization(ORGANIZATION)
}

fn new_admin() -> NewKey {
    NewKey::user("Administrator").permissions(everything())
}

fn everything() -> Permissions {
    let all = RESOURCES.into_iter().flat_map(|resource| ACTIONS.map(|action| (resource, action)));
    all.chain([("credits", "create")]).collect()
}

pub(crate) fn app(manager: &KeyManager) -> Result<Router, Box<dyn Error>> {
    let auth = manager.layer().organization(ORGANIZATION).realm(ORGANIZATION).build()?;
    let is_secure = env::var("PUBLIC_URL").is_ok_and(|url| url.starts_with("https://"));
    let sessions = Sessions::new(manager.clone(), is_secure)?;
    let api = Router::new()
        .route("/stats", get(stats).layer(Require::permission("stats", "read")))
        .route("/links", get(links).post(links).layer(Require::by_method("links")))
        .merge(manager.router_at("/keys", auth.schemes()).layer(map_request(confine_members)))
        .layer(auth.clone());
    let admin = Router::new()
        .merge(manager.router_at("/keys", auth.schemes()).layer(map_request(trust_administrators)))
        .layer(from_fn_with_state(sessions.clone(), sign_in::require_session))
        .nest("/session", sign_in::router(sessions, auth));
    Ok(Router::new()
        .route("/", get(async || file("text/html; charset=utf-8", include_str!("page.html"))))
        .route("/style.css", get(async || file("text/css; charset=utf-8", include_str!("style.css"))))
        .route("/app.js", get(async || file("text/javascript; charset=utf-8", include_str!("app.js"))))
        .route("/credits.js", get(async || file("text/javascript; charset=utf-8", include_str!("credits.js"))))
        .route("/import.js", get(async || file("text/javascript; charset=utf-8", include_str!("import.js"))))
        .route("/many.js", get(async || file("text/javascript; charset=utf-8", include_str!("many.js"))))
        .route("/search.js", get(async || file("text/javascript; charset=utf-8", include_str!("search.js"))))
        .route("/usage.js", get(async || file("text/javascript; charset=utf-8", include_str!("usage.js"))))
        .nest("/api", api)
        .nest("/admin", admin)
        .layer(map_response(secured)))
}

/// Restricts a key that a request presents directly, in the same way as the key of a session.
async fn confine_members(mut request: Request) -> Request {
    let actor = request.extensions().get::<Principal>().map(|key| sign_in::confined(key.into()));
    if let Some(actor) = actor {
        request.extensions_mut().insert(actor);
    }
    request
}

/// Lets a signed-in administrator find a key by its text. The management API refuses this to a key.
async fn trust_administrators(mut request: Request) -> Request {
    let actor = request.extensions().get::<Actor>().filter(|actor| !actor.is_own_keys_only()).cloned();
    if let Some(owner) = actor.as_ref().and_then(Actor::owner).filter(|_| request.uri().path().ends_with("/find")) {
        let permissions = actor.as_ref().map(|actor| actor.permissions().clone()).unwrap_or_default();
        let trusted = Actor::trusted(owner.clone(), permissions).in_organization(ORGANIZATION);
        request.extensions_mut().insert(trusted);
    }
    request
}

async fn stats(key: Principal) -> Json<Value> {
    Json(json!({ "key": key.id().as_str(), "clicks": 42 }))
}

async fn links(key: Principal) -> Json<Value> {
    Json(json!({ "key": key.id().as_str(), "links": ["https://acme.example/a1b2"] }))
}

fn file(media_type: &'static str, text: &'static str) -> ([(HeaderName, &'static str); 1], &'static str) {
    ([(CONTENT_TYPE, media_type)], text)
}

/// Adds security headers: only the page's own script runs, no site may frame the page, and it sends
/// no referrer.
async fn secured(mut response: Response) -> Response {
    let policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; \
                  base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
    for (name, value) in [
        (CONTENT_SECURITY_POLICY, policy),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (CACHE_CONTROL, "no-store"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}
