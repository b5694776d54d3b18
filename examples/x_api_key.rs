//! H0p: organizations, user and bot keys, permissions, in `x-api-key`.
//!
//! ```sh
//! cargo run --example x_api_key
//! curl -H 'x-api-key: KEY' http://127.0.0.1:3000/api/orgs/org_a/stats              # 200
//! curl -X POST -H 'x-api-key: KEY' http://127.0.0.1:3000/api/orgs/org_a/shortLinks # 200, or 403 for the key `stats`
//! curl -H 'x-api-key: KEY' http://127.0.0.1:3000/api/orgs/org_b/stats              # 403: another organization
//! ```

use std::{env, error::Error};

use axum::{
    Json, Router,
    http::Method,
    routing::{MethodRouter, any},
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, signal};
use tower_api_key::{
    ApiKey, ApiKeyLayer, ConfigError, KeyFormat, KeyHasher, KeyRecord, Owner, Permissions, Principal, Require, Scheme,
    store::MemoryStore,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (store, keys) = keys()?;
    for (name, key) in &keys {
        println!("key {name}: {}", key.expose());
    }

    let app = app(store)?;

    let address = env::var("ADDR").unwrap_or_else(|_| ADDR.to_owned());
    let listener = TcpListener::bind(address).await?;
    let url = format!("http://{}", listener.local_addr()?);
    println!("listening on {url}\n\nTry:");
    let expected = [("org_a", 200), ("org_a", 200), ("org_a", 403), ("org_b", 200)];
    for ((name, key), (own, status)) in keys.iter().zip(expected) {
        let header = format!("-H 'x-api-key: {}'", key.expose());
        println!("  curl {header} {url}/api/orgs/{own}/stats   # 200: {name}");
        println!("  curl -X POST {header} {url}/api/orgs/{own}/shortLinks   # {status}: {name}");
        println!("  curl {header} {url}/api/orgs/org_c/stats   # 403: {name}, another organization");
    }
    println!();
    axum::serve(listener, app).with_graceful_shutdown(stopped()).await?;
    Ok(())
}

const RESOURCES: [&str; 6] = ["shortLinks", "domains", "stats", "files", "apiKeys", "webhooks"];
const ACTIONS: [&str; 4] = ["create", "read", "update", "delete"];

/// Keys by the names under which they are printed.
type Keys = [(&'static str, ApiKey); 4];

/// A user's key and two bots' in `org_a`, and a bot's in `org_b`.
pub(crate) fn keys() -> Result<(MemoryStore, Keys), Box<dyn Error>> {
    let (format, hasher) = (KeyFormat::new("h0p")?, KeyHasher::sha256());
    let everything = everything_but("");
    let keys = ["user", "admin", "stats", "other"].map(|name| format.generate().map(|key| (name, key)));
    let [user, admin, stats, other] = keys;
    let (user, admin, stats, other) = (user?, admin?, stats?, other?);
    let store = MemoryStore::new();
    let record = |(name, key): &(&str, ApiKey)| KeyRecord::for_key(*name, key, &hasher);
    store.insert(
        record(&user)
            .with_owner(Owner::User("alice".to_owned()))
            .with_organization("org_a")
            .with_permissions(everything_but("apiKeys")),
    )?;
    let bot = |key| record(key).with_owner(Owner::Bot);
    store.insert(bot(&admin).with_organization("org_a").with_permissions(everything.clone()))?;
    store.insert(bot(&stats).with_organization("org_a").grant("stats", "read"))?;
    store.insert(bot(&other).with_organization("org_b").with_permissions(everything))?;
    Ok((store, [user, admin, stats, other]))
}

fn everything_but(excepted: &str) -> Permissions {
    let resources = RESOURCES.into_iter().filter(|resource| *resource != excepted);
    resources.flat_map(|resource| ACTIONS.map(|action| (resource, action))).collect()
}

/// `x-api-key` is the only header that counts; the organization in the path must be the key's own.
pub(crate) fn app(store: MemoryStore) -> Result<Router, ConfigError> {
    let auth = ApiKeyLayer::builder(store).schemes([Scheme::x_api_key()]).realm("h0p").build()?;
    let routes = RESOURCES.iter().fold(Router::new(), |routes, resource| {
        routes.route(&format!("/api/orgs/{{organization}}/{resource}"), handler(resource))
    });
    Ok(routes.route_layer(Require::organization_in_path("/api/orgs/{organization}")?).layer(auth))
}

/// POST creates, GET reads, PUT updates, DELETE deletes: if the key may.
fn handler(resource: &'static str) -> MethodRouter {
    any(move |method: Method, key: Principal| async move { describe(resource, &method, &key) })
        .layer(Require::by_method(resource))
}

fn describe(resource: &str, method: &Method, key: &Principal) -> Json<Value> {
    Json(json!({
        "organization": key.organization(),
        "resource": resource,
        "method": method.as_str(),
        "by": key.owner().map(ToString::to_string),
    }))
}

const ADDR: &str = "127.0.0.1:3000";

/// Ctrl-C, or SIGTERM where there is one.
async fn stopped() {
    #[cfg(unix)]
    if let Ok(mut terminate) = signal::unix::signal(signal::unix::SignalKind::terminate()) {
        tokio::select! {
            _ = signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        }
        return;
    }
    let _ = signal::ctrl_c().await;
}
