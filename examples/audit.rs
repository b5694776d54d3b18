//! Writes an audit log: one JSON line a request, on standard error, from a separate thread.
//!
//! ```sh
//! cargo run --quiet --example audit 2> audit.jsonl
//! ```
//!
//! It prints its key, and these lines with the key filled in:
//!
//! ```sh
//! curl http://127.0.0.1:3000/reports -H 'X-API-Key: REPORTER'    # 200
//! curl http://127.0.0.1:3000/reports -H 'X-API-Key: demo_typo'   # 401: malformed
//! curl http://127.0.0.1:3000/reports                             # 401: no key
//! ```

mod common;

use std::{
    error::Error,
    io::{self, Write},
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
};

use axum::{Json, Router, routing::get};
use jiff::Timestamp;
use serde_json::{Value, json};
use tower_api_key::{
    ApiKeyLayer, Decision, KeyFormat, KeyHasher, KeyId, KeyRecord, Principal, Reason, store::MemoryStore,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // The key. It is printed once; the store keeps its digest.
    let keys = MemoryStore::new();
    let (format, hasher) = (KeyFormat::new("demo")?, KeyHasher::sha256());
    let key = format.generate()?;
    keys.add(KeyRecord::for_key("reporter", &key, &hasher).with_organization("acme"))?;
    println!("key reporter: {}", key.expose());

    // The layer, with an observer that sends each decision to a writer thread.
    let (lines, received) = sync_channel(10_000);
    let writer = thread::spawn(|| write(received));
    let auth = ApiKeyLayer::builder(keys).formats([format]).observe(move |decision| log(&lines, decision)).build()?;

    // The routes.
    let app = Router::new().route("/reports", get(reports)).layer(auth);

    // Serve.
    let (listener, url) = common::listen().await?;
    println!("listening on {url}\n\nTry:");
    println!("  curl {url}/reports -H 'X-API-Key: {}'   # 200", key.expose());
    println!("  curl {url}/reports -H 'X-API-Key: demo_typo'   # 401: malformed");
    println!("  curl {url}/reports   # 401: no key\n");
    axum::serve(listener, app).with_graceful_shutdown(common::stopped()).await?;
    // The server has dropped the last sender, so the writer ends.
    writer.join().map_err(|_| "the writer panicked")??;
    Ok(())
}

async fn reports(key: Principal) -> Json<Value> {
    Json(json!({ "for": key.id().as_str() }))
}

/// Sends a line to the writer. An observer must not block: if the writer is too slow, the line is
/// dropped and the loss is logged.
fn log(lines: &SyncSender<Value>, decision: &Decision) {
    let line = json!({
        "at": Timestamp::now().to_string(),
        "outcome": decision.outcome().as_str(),
        "reason": decision.outcome().reason().map(Reason::as_str),
        "scheme": decision.scheme().map(ToString::to_string),
        "key": decision.key_id().map(KeyId::as_str),
        "organization": decision.organization(),
        "error": decision.error().map(ToString::to_string),
    });
    if lines.try_send(line).is_err() {
        eprintln!("{}", json!({ "lost": 1 }));
    }
}

fn write(lines: Receiver<Value>) -> io::Result<()> {
    let mut log = io::stderr();
    for line in lines {
        writeln!(log, "{line}")?;
    }
    Ok(())
}
