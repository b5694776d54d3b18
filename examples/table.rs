//! One table of routes and permissions. What is not in it is 403, whoever asks.
//!
//! ```sh
//! cargo run --example table
//! ```
//!
//! Then, in another terminal, the lines that it prints.

use std::{env, error::Error};

use axum::{
    Json, Router,
    extract::Path,
    routing::{delete, get},
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, signal};
use tower_api_key::{ApiKeyLayer, KeyFormat, KeyHasher, KeyRecord, Principal, Require, store::MemoryStore};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // Keys. Each is shown once, here; the store keeps only its digest.
    let keys = MemoryStore::new();
    let (format, hasher) = (KeyFormat::new("demo")?, KeyHasher::sha256());
    let (editor, reader) = (format.generate()?, format.generate()?);
    let everything = ["create", "read", "update", "delete"].map(|action| ("links", action));
    keys.add(KeyRecord::for_key("editor", &editor, &hasher).with_permissions(everything.into_iter().collect()))?;
    keys.add(KeyRecord::for_key("reader", &reader, &hasher).grant("links", "read"))?;
    println!("key editor: {}\nkey reader: {}", editor.expose(), reader.expose());

    // The layer. What is open needs no key, so a request without one goes on to the table.
    let auth = ApiKeyLayer::builder(keys).formats([format]).optional().build()?;
    let guard = Require::table()
        .route("GET", "/links", ("links", "read"))
        .route("POST", "/links", ("links", "create"))
        .route("DELETE", "/links/{id}", ("links", "delete"))
        .route("GET", "/whoami", Require::authenticated())
        .open("/health")
        .build()?;

    // Routes.
    let app = Router::new()
        .route("/links", get(list).post(create))
        .route("/links/{id}", delete(remove).get(show))
        .route("/whoami", get(whoami))
        .route("/health", get(health))
        .layer(guard)
        .layer(auth);

    // Serve.
    let address = env::var("ADDR").unwrap_or_else(|_| ADDR.to_owned());
    let listener = TcpListener::bind(address).await?;
    let url = format!("http://{}", listener.local_addr()?);
    println!("listening on {url}\n\nTry:");
    println!("  curl {url}/links -H 'X-API-Key: {}'   # 200", reader.expose());
    println!("  curl -X POST {url}/links -H 'X-API-Key: {}'   # 403: it may only read", reader.expose());
    println!("  curl -X DELETE {url}/links/7 -H 'X-API-Key: {}'   # 200", editor.expose());
    println!("  curl {url}/links/7 -H 'X-API-Key: {}'   # 403: forgotten in the table", editor.expose());
    println!("  curl {url}/health   # 200");
    println!("  curl {url}/links   # 401\n");
    axum::serve(listener, app).with_graceful_shutdown(stopped()).await?;
    Ok(())
}

async fn list() -> Json<Value> {
    Json(json!({ "links": [7] }))
}

async fn create(key: Principal) -> Json<Value> {
    Json(json!({ "created_by": key.id().as_str() }))
}

async fn show(Path(id): Path<u32>) -> Json<Value> {
    Json(json!({ "id": id }))
}

async fn remove(key: Principal, Path(id): Path<u32>) -> Json<Value> {
    Json(json!({ "id": id, "removed_by": key.id().as_str() }))
}

async fn whoami(key: Principal) -> Json<Value> {
    Json(json!({ "key": key.id().as_str() }))
}

async fn health() -> Json<Value> {
    Json(json!({ "healthy": true }))
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
