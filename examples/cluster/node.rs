//! One node: it caches lookups, and invalidates a key when another node changes it.

use std::{env, error::Error, time::Duration};

use axum::{Json, Router, routing::get};
use serde_json::{Value, json};
use tower_api_key::{
    KeyFormat, KeyManager, Principal, Require,
    store::{CachedStore, PostgresStore},
};

use super::common;

pub(crate) async fn serve() -> Result<(), Box<dyn Error>> {
    // The keys: in the database, and cached for ten minutes. The change feed invalidates cached
    // keys; a revoked key works for at most `revocation_bound`.
    let store = PostgresStore::open(env::var("DATABASE_URL")?).await?;
    let changes = store.change_feed();
    let keys = CachedStore::builder(store, changes).ttl(Duration::from_secs(600)).build()?;
    let manager = KeyManager::builder(keys.clone()).format(KeyFormat::new("acme")?).build()?;

    // The routes.
    let auth = manager.layer().deadline(Duration::from_secs(1)).build()?;
    let app = Router::new()
        .route("/stats", get(stats).layer(Require::permission("stats", "read")))
        .merge(manager.router_at("/api/keys", auth.schemes()))
        .layer(auth)
        .route("/cache", get(async move || cache(&keys)));

    // Serve.
    let (listener, url) = common::listen().await?;
    println!("listening on {url}\n\nTry:\n  curl {url}/cache   # 200\n");
    axum::serve(listener, app).with_graceful_shutdown(common::stopped()).await?;
    Ok(manager.flush().await?)
}

async fn stats(key: Principal) -> Json<Value> {
    Json(json!({ "key": key.id().as_str(), "clicks": 42 }))
}

/// Returns the state of the cache, for monitoring.
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
