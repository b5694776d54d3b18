//! Two keys, three header styles, one permission guard.
//!
//! ```sh
//! cargo run --example quickstart
//! ```
//!
//! Then, in another terminal, the lines that it prints. No key: 401. A key that may not create links: 403.

use std::{env, error::Error};

use axum::{
    Json, Router,
    routing::{get, post},
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
    keys.add(KeyRecord::for_key("editor", &editor, &hasher).grant("links", "read").grant("links", "create"))?;
    keys.add(KeyRecord::for_key("reader", &reader, &hasher).grant("links", "read"))?;
    println!("key editor: {}\nkey reader: {}", editor.expose(), reader.expose());

    // The layer. Bearer, Token and X-API-Key are its default.
    let auth = ApiKeyLayer::builder(keys).formats([format]).build()?;

    // Routes.
    let app = Router::new()
        .route("/whoami", get(whoami))
        .route("/links", post(create).layer(Require::permission("links", "create")))
        .layer(auth);

    // Serve.
    let address = env::var("ADDR").unwrap_or_else(|_| ADDR.to_owned());
    let listener = TcpListener::bind(address).await?;
    let url = format!("http://{}", listener.local_addr()?);
    println!("listening on {url}\n\nTry:");
    println!("  curl {url}/whoami -H 'Authorization: Bearer {}'   # 200", editor.expose());
    println!("  curl {url}/whoami -H 'Authorization: Token {}'   # 200", editor.expose());
    println!("  curl {url}/whoami -H 'X-API-Key: {}'   # 200", editor.expose());
    println!("  curl -X POST {url}/links -H 'X-API-Key: {}'   # 200", editor.expose());
    println!("  curl -X POST {url}/links -H 'X-API-Key: {}'   # 403: it may only read", reader.expose());
    println!("  curl {url}/whoami   # 401\n");
    axum::serve(listener, app).with_graceful_shutdown(stopped()).await?;
    Ok(())
}

async fn whoami(key: Principal) -> Json<Value> {
    Json(json!({ "key": key.id().as_str(), "scheme": key.scheme().to_string() }))
}

async fn create(key: Principal) -> Json<Value> {
    Json(json!({ "created_by": key.id().as_str() }))
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
