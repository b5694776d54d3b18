//! Serves a small API, and a web page on which administrators and members manage keys. The page
//! uses the management API.
//!
//! ```sh
//! cargo run --example dashboard --features dashboard,sqlite,limits
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
pub(crate) mod keys;

use std::{env, error::Error, path::Path};

use axum::{Json, Router, extract::Request, middleware::map_request, routing::get};
use keys::{ORGANIZATION, first_keys, is_administrator, manager};
use serde_json::{Value, json};
use tower_api_key::{KeyManager, Principal, Require, manage::Actor};

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

pub(crate) fn app(manager: &KeyManager) -> Result<Router, Box<dyn Error>> {
    let auth = manager.layer().organization(ORGANIZATION).realm(ORGANIZATION).build()?;
    let is_secure = env::var("PUBLIC_URL").is_ok_and(|url| url.starts_with("https://"));
    let page = manager.dashboard().sign_in_with_keys(&auth).administrators(is_administrator).secure_cookies(is_secure);
    let api = Router::new()
        .route("/stats", get(stats).layer(Require::permission("stats", "read")))
        .route("/links", get(links).post(links).layer(Require::by_method("links")))
        .merge(manager.router_at("/keys", auth.schemes()).layer(map_request(confine_members)))
        .layer(auth);
    Ok(page.router()?.nest("/api", api))
}

/// Confines the key of a member that a request presents directly, as the page does.
async fn confine_members(mut request: Request) -> Request {
    let actor = request.extensions().get::<Principal>().map(Actor::from);
    if let Some(member) = actor.filter(|actor| !is_administrator(actor)) {
        request.extensions_mut().insert(member.own_keys_only());
    }
    request
}

async fn stats(key: Principal) -> Json<Value> {
    Json(json!({ "key": key.id().as_str(), "clicks": 42 }))
}

async fn links(key: Principal) -> Json<Value> {
    Json(json!({ "key": key.id().as_str(), "links": ["https://acme.example/a1b2"] }))
}
