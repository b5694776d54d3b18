//! Protects an axum API with two keys, three header styles and one permission guard.
//!
//! ```sh
//! cargo run --example quickstart
//! ```
//!
//! It prints its keys, and these lines with the keys filled in:
//!
//! ```sh
//! curl http://127.0.0.1:3000/whoami -H 'Authorization: Bearer EDITOR'   # 200
//! curl http://127.0.0.1:3000/whoami -H 'Authorization: Token EDITOR'    # 200
//! curl -X POST http://127.0.0.1:3000/links -H 'X-API-Key: EDITOR'       # 200
//! curl -X POST http://127.0.0.1:3000/links -H 'X-API-Key: READER'       # 403: read only
//! curl http://127.0.0.1:3000/whoami                                     # 401: no key
//! ```

mod common;

use std::error::Error;

use axum::{
    Json, Router,
    routing::{get, post},
};
use serde_json::{Value, json};
use tower_api_key::{ApiKeyLayer, KeyFormat, KeyHasher, KeyRecord, Principal, Require, store::MemoryStore};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // The keys. They are printed once; the store keeps their digests.
    let keys = MemoryStore::new();
    let (format, hasher) = (KeyFormat::new("demo")?, KeyHasher::sha256());
    let (editor, reader) = (format.generate()?, format.generate()?);
    keys.add(KeyRecord::for_key("editor", &editor, &hasher).grant("links", "read").grant("links", "create"))?;
    keys.add(KeyRecord::for_key("reader", &reader, &hasher).grant("links", "read"))?;
    println!("key editor: {}\nkey reader: {}", editor.expose(), reader.expose());

    // The layer. By default it accepts Bearer, Token and X-API-Key.
    let auth = ApiKeyLayer::builder(keys).formats([format]).build()?;

    // The routes.
    let app = Router::new()
        .route("/whoami", get(whoami))
        .route("/links", post(create).layer(Require::permission("links", "create")))
        .layer(auth);

    // Serve.
    let (listener, url) = common::listen().await?;
    println!("listening on {url}\n\nTry:");
    println!("  curl {url}/whoami -H 'Authorization: Bearer {}'   # 200", editor.expose());
    println!("  curl {url}/whoami -H 'Authorization: Token {}'   # 200", editor.expose());
    println!("  curl {url}/whoami -H 'X-API-Key: {}'   # 200", editor.expose());
    println!("  curl -X POST {url}/links -H 'X-API-Key: {}'   # 200", editor.expose());
    println!("  curl -X POST {url}/links -H 'X-API-Key: {}'   # 403: read only", reader.expose());
    println!("  curl {url}/whoami   # 401: no key\n");
    axum::serve(listener, app).with_graceful_shutdown(common::stopped()).await?;
    Ok(())
}

async fn whoami(key: Principal) -> Json<Value> {
    Json(json!({ "key": key.id().as_str(), "scheme": key.scheme().to_string() }))
}

async fn create(key: Principal) -> Json<Value> {
    Json(json!({ "created_by": key.id().as_str() }))
}
