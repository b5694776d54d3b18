//! An audit log: one line of JSON for each request, on standard error, written beside the requests.
//!
//! ```sh
//! cargo run --quiet --example audit 2> audit.jsonl
//! ```
//!
//! Then, in another terminal, the lines that it prints.

use std::{
    env,
    error::Error,
    io::{self, Write},
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
};

use axum::{Json, Router, routing::get};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::{net::TcpListener, signal};
use tower_api_key::{
    ApiKeyLayer, Decision, KeyFormat, KeyHasher, KeyId, KeyRecord, Principal, Reason, store::MemoryStore,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // Keys. Each is shown once, here; the store keeps only its digest.
    let keys = MemoryStore::new();
    let (format, hasher) = (KeyFormat::new("demo")?, KeyHasher::sha256());
    let key = format.generate()?;
    keys.add(KeyRecord::for_key("reporter", &key, &hasher).with_organization("acme"))?;
    println!("key reporter: {}", key.expose());

    // The layer, and a thread that writes what the layer tells.
    let (lines, written) = sync_channel(10_000);
    let writer = thread::spawn(|| write(written));
    let auth = ApiKeyLayer::builder(keys).formats([format]).observe(move |decision| tell(&lines, decision)).build()?;

    // Routes.
    let app = Router::new().route("/reports", get(reports)).layer(auth);

    // Serve.
    let address = env::var("ADDR").unwrap_or_else(|_| ADDR.to_owned());
    let listener = TcpListener::bind(address).await?;
    let url = format!("http://{}", listener.local_addr()?);
    println!("listening on {url}\n\nTry:");
    println!("  curl {url}/reports -H 'X-API-Key: {}'   # 200", key.expose());
    println!("  curl {url}/reports -H 'X-API-Key: demo_typo'   # 401");
    println!("  curl {url}/reports   # 401\n");
    axum::serve(listener, app).with_graceful_shutdown(stopped()).await?;
    // The last sender went with the server, so the writer comes to its end.
    writer.join().map_err(|_| "the writer panicked")??;
    Ok(())
}

async fn reports(key: Principal) -> Json<Value> {
    Json(json!({ "for": key.id().as_str() }))
}

/// An observer must not block: when the writer does not keep up, the line is lost, and that is said aloud.
fn tell(lines: &SyncSender<Value>, decision: &Decision) {
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
