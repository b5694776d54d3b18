//! gRPC by tonic: the health service, behind keys. Any key may check; watching takes a permission.
//!
//! ```sh
//! cargo run --example grpc
//! ```
//!
//! Then, in another terminal, the lines that it prints. A gRPC answer is always 200 for HTTP; what it comes to is its `grpc-status`. With
//! tonic's client the key is metadata: `request.metadata_mut().insert("x-api-key", key.parse()?)`.

use std::{env, error::Error};

use tokio::{net::TcpListener, signal};
use tonic::transport::{Server, server::TcpIncoming};
use tonic_health::ServingStatus;
use tower_api_key::{ApiKeyLayer, KeyFormat, KeyHasher, KeyRecord, Require, store::MemoryStore};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // Keys. Each is shown once, here; the store keeps only its digest.
    let keys = MemoryStore::new();
    let (format, hasher) = (KeyFormat::new("demo")?, KeyHasher::sha256());
    let (operator, service) = (format.generate()?, format.generate()?);
    keys.add(KeyRecord::for_key("operator", &operator, &hasher).grant("health", "watch"))?;
    keys.add(KeyRecord::for_key("service", &service, &hasher))?;
    println!("key operator: {}\nkey service: {}", operator.expose(), service.expose());

    // The layer, and one table of methods. What is not in it is PERMISSION_DENIED. `grpc` makes refusals trailers-only, with status 200 and a message;
    // without it they would be 401 and 403, which clients map to UNAUTHENTICATED and PERMISSION_DENIED.
    let auth = ApiKeyLayer::builder(keys).formats([format]).grpc().build()?;
    let guard = Require::table()
        .route("POST", CHECK, Require::authenticated())
        .route("POST", WATCH, ("health", "watch"))
        .build()?;

    // The service.
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_service_status("", ServingStatus::Serving).await;

    // Serve.
    let address = env::var("ADDR").unwrap_or_else(|_| ADDR.to_owned());
    let listener = TcpListener::bind(address).await?;
    let url = format!("http://{}", listener.local_addr()?);
    println!("listening on {url}\n\nTry:");
    println!(
        "  {MESSAGE} | {CURL} --data-binary @- {url}{CHECK} -H 'x-api-key: {}'   # 200: grpc-status 0",
        service.expose()
    );
    println!(
        "  {CURL} -X POST {url}{WATCH} -H 'x-api-key: {}'   # 200: grpc-status 7, it may not watch",
        service.expose()
    );
    println!("  {CURL} -X POST {url}{CHECK}   # 200: grpc-status 16\n");
    let server = Server::builder().layer(auth).layer(guard).add_service(health);
    server.serve_with_incoming_shutdown(TcpIncoming::from(listener), stopped()).await?;
    Ok(())
}

const CHECK: &str = "/grpc.health.v1.Health/Check";
const WATCH: &str = "/grpc.health.v1.Health/Watch";

const CURL: &str = "curl -i --http2-prior-knowledge -H 'content-type: application/grpc'";

/// The empty message: a flag and a length, five zero bytes.
const MESSAGE: &str = "head -c5 /dev/zero";

const ADDR: &str = "127.0.0.1:50051";

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
