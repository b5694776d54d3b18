//! Hozip: one key per account, in `Authorization: Token`.
//!
//! ```sh
//! cargo run --example token
//! curl -H 'Authorization: Token KEY' http://127.0.0.1:3000/api/v1/external/groups           # 200
//! curl -X POST -H 'Authorization: Token KEY' http://127.0.0.1:3000/api/v1/external/links    # 201
//! curl -H 'Authorization: Bearer KEY' http://127.0.0.1:3000/api/v1/external/groups          # 401: Token, not Bearer
//! ```

use std::{env, error::Error};

use axum::{
    Json, Router,
    http::StatusCode,
    routing::{get, post},
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, signal};
use tower_api_key::{
    ApiKey, ApiKeyLayer, ConfigError, KeyFormat, KeyHasher, KeyRecord, Owner, Principal, Require, Scheme,
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
    for ((name, key), status) in keys.iter().zip([201, 403]) {
        let header = format!("-H 'Authorization: Token {}'", key.expose());
        println!("  curl {header} {url}/api/v1/external/groups   # 200: {name}");
        println!("  curl -X POST {header} {url}/api/v1/external/links   # {status}: {name}");
    }
    let [(_, account), _] = &keys;
    let header = format!("-H 'Authorization: Bearer {}'", account.expose());
    println!("  curl {header} {url}/api/v1/external/groups   # 401: Token, not Bearer\n");
    axum::serve(listener, app).with_graceful_shutdown(stopped()).await?;
    Ok(())
}

/// Keys by the names under which they are printed.
type Keys = [(&'static str, ApiKey); 2];

/// One key for each of two accounts: one that may do everything, one that may only read groups.
pub(crate) fn keys() -> Result<(MemoryStore, Keys), Box<dyn Error>> {
    let (format, hasher) = (KeyFormat::new("hozip")?, KeyHasher::sha256());
    let (account, limited) = (format.generate()?, format.generate()?);
    let store = MemoryStore::new();
    store.insert(
        KeyRecord::for_key("account", &account, &hasher)
            .with_owner(Owner::User("account".to_owned()))
            .grant("groups", "read")
            .grant("links", "create"),
    )?;
    store.insert(
        KeyRecord::for_key("limited", &limited, &hasher)
            .with_owner(Owner::User("limited".to_owned()))
            .grant("groups", "read"),
    )?;
    Ok((store, [("account", account), ("limited", limited)]))
}

/// Every endpoint needs a key, and `Token` is the only way to send it.
pub(crate) fn app(store: MemoryStore) -> Result<Router, ConfigError> {
    let auth = ApiKeyLayer::builder(store).schemes([Scheme::token()]).realm("hozip").build()?;
    Ok(Router::new()
        .route("/api/v1/external/groups", get(groups).layer(Require::permission("groups", "read")))
        .route("/api/v1/external/links", post(create_link).layer(Require::permission("links", "create")))
        .layer(auth))
}

async fn groups(key: Principal) -> Json<Value> {
    let account = key.owner().map(ToString::to_string);
    Json(json!({ "account": account, "groups": [{ "id": 1, "name": "Main" }] }))
}

async fn create_link(key: Principal) -> (StatusCode, Json<Value>) {
    let account = key.owner().map(ToString::to_string);
    (StatusCode::CREATED, Json(json!({ "account": account, "link": "https://hozip.example/a1b2" })))
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
