//! One node: it keeps what it has looked up in memory, and forgets it when another node has changed it.

use std::{env, error::Error, time::Duration};

use axum::{Json, Router, routing::get};
use serde_json::{Value, json};
use tokio::{net::TcpListener, signal};
use tower_api_key::{
    KeyFormat, KeyManager, Principal, Require,
    store::{CachedStore, PostgresStore},
};

pub(crate) async fn serve() -> Result<(), Box<dyn Error>> {
    // Keys: in the database, and in memory for ten minutes. What is in memory counts for as long as it is proven that no change was
    // missed, and never longer than `revocation_bound`.
    let store = PostgresStore::open(&env::var("DATABASE_URL")?).await?;
    let changes = store.change_feed();
    let keys = CachedStore::builder(store, changes).ttl(Duration::from_secs(600)).build()?;
    let manager = KeyManager::builder(keys.clone()).format(KeyFormat::new("acme")?).build()?;

    // Routes.
    let auth = manager.layer().deadline(Duration::from_secs(1)).build()?;
    let app = Router::new()
        .route("/stats", get(stats).layer(Require::permission("stats", "read")))
        .merge(manager.router_at("/api/keys", auth.schemes()))
        .layer(auth)
        .route("/cache", get(async move || cache(&keys)));

    // Serve.
    let address = env::var("ADDR").unwrap_or_else(|_| ADDR.to_owned());
    let listener = TcpListener::bind(address).await?;
    let url = format!("http://{}", listener.local_addr()?);
    println!("listening on {url}\n\nTry:\n  curl {url}/cache   # 200\n");
    axum::serve(listener, app).with_graceful_shutdown(stopped()).await?;
    Ok(manager.flush().await?)
}

async fn stats(key: Principal) -> Json<Value> {
    Json(json!({ "key": key.id().as_str(), "clicks": 42 }))
}

/// What somebody who watches this node wants to know.
fn cache(keys: &CachedStore<PostgresStore>) -> Json<Value> {
    let status = keys.status();
    Json(json!({
        "is_following": status.is_following,
        "lag_ms": status.lag.map(|lag| lag.as_secs_f64() * 1000.0),
        "entries": status.entries,
        "lookups": status.lookups,
        "revocation_bound_ms": keys.revocation_bound().as_millis(),
    }))
}

const ADDR: &str = "127.0.0.1:3000";

/// Ctrl-C, or SIGTERM.
pub(crate) async fn stopped() {
    let terminate = signal::unix::signal(signal::unix::SignalKind::terminate());
    let Ok(mut terminate) = terminate else { return signal::ctrl_c().await.unwrap_or_default() };
    tokio::select! {
        _ = signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}
