//! Authorizes all routes in one table. Routes missing from the table are denied with 403.
//!
//! ```sh
//! cargo run --example table
//! ```
//!
//! It prints its keys, and these lines with the keys filled in:
//!
//! ```sh
//! curl http://127.0.0.1:3000/links -H 'X-API-Key: READER'               # 200
//! curl -X POST http://127.0.0.1:3000/links -H 'X-API-Key: READER'       # 403: read only
//! curl -X DELETE http://127.0.0.1:3000/links/7 -H 'X-API-Key: EDITOR'   # 200
//! curl http://127.0.0.1:3000/links/7 -H 'X-API-Key: EDITOR'             # 403: not in the table
//! curl http://127.0.0.1:3000/health                                     # 200: public
//! curl http://127.0.0.1:3000/links                                      # 401: no key
//! ```

mod common;

use std::error::Error;

use axum::{
    Json, Router,
    extract::Path,
    routing::{delete, get},
};
use serde_json::{Value, json};
use tower_api_key::{ApiKeyLayer, KeyFormat, KeyHasher, KeyRecord, Principal, Require, store::MemoryStore};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // The keys. They are printed once; the store keeps their digests.
    let keys = MemoryStore::new();
    let (format, hasher) = (KeyFormat::new("demo")?, KeyHasher::sha256());
    let (editor, reader) = (format.generate()?, format.generate()?);
    let everything = ["create", "read", "update", "delete"].map(|action| ("links", action));
    keys.add(KeyRecord::for_key("editor", &editor, &hasher).with_permissions(everything.into_iter().collect()))?;
    keys.add(KeyRecord::for_key("reader", &reader, &hasher).grant("links", "read"))?;
    println!("key editor: {}\nkey reader: {}", editor.expose(), reader.expose());

    // The layer, and the table. `optional` passes requests without a key to the table, which allows
    // them on open routes only.
    let auth = ApiKeyLayer::builder(keys).formats([format]).optional().build()?;
    let guard = Require::table()
        .route("GET", "/links", ("links", "read"))
        .route("POST", "/links", ("links", "create"))
        .route("DELETE", "/links/{id}", ("links", "delete"))
        .route("GET", "/whoami", Require::authenticated())
        .open("/health")
        .build()?;

    // The routes.
    let app = Router::new()
        .route("/links", get(list).post(create))
        .route("/links/{id}", delete(remove).get(show))
        .route("/whoami", get(whoami))
        .route("/health", get(health))
        .layer(guard)
        .layer(auth);

    // Serve.
    let (listener, url) = common::listen().await?;
    println!("listening on {url}\n\nTry:");
    println!("  curl {url}/links -H 'X-API-Key: {}'   # 200", reader.expose());
    println!("  curl -X POST {url}/links -H 'X-API-Key: {}'   # 403: read only", reader.expose());
    println!("  curl -X DELETE {url}/links/7 -H 'X-API-Key: {}'   # 200", editor.expose());
    println!("  curl {url}/links/7 -H 'X-API-Key: {}'   # 403: not in the table", editor.expose());
    println!("  curl {url}/health   # 200: public");
    println!("  curl {url}/links   # 401: no key\n");
    axum::serve(listener, app).with_graceful_shutdown(common::stopped()).await?;
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
