//! Protects a tonic service: any key may call `Check`, and `Watch` needs a permission.
//!
//! ```sh
//! cargo run --example grpc
//! ```
//!
//! It prints its keys, and curl lines with the keys filled in:
//!
//! | method and key           | HTTP status | `grpc-status`          |
//! |--------------------------|-------------|------------------------|
//! | `Check`, key `service`   | 200         | 0                      |
//! | `Watch`, key `service`   | 200         | 7, `PERMISSION_DENIED` |
//! | `Check`, no key          | 200         | 16, `UNAUTHENTICATED`  |
//!
//! With tonic's client, send the key as metadata:
//! `request.metadata_mut().insert("x-api-key", key.parse()?)`.

mod common;

use std::error::Error;

use tonic::transport::{Server, server::TcpIncoming};
use tonic_health::ServingStatus;
use tower_api_key::{ApiKeyLayer, KeyFormat, KeyHasher, KeyRecord, Require, store::MemoryStore};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // The keys. They are printed once; the store keeps their digests.
    let keys = MemoryStore::new();
    let (format, hasher) = (KeyFormat::new("demo")?, KeyHasher::sha256());
    let (operator, service) = (format.generate()?, format.generate()?);
    keys.add(KeyRecord::for_key("operator", &operator, &hasher).grant("health", "watch"))?;
    keys.add(KeyRecord::for_key("service", &service, &hasher))?;
    println!("key operator: {}\nkey service: {}", operator.expose(), service.expose());

    // The layer, and a table of methods. Methods missing from the table are rejected with
    // PERMISSION_DENIED. With `grpc`, rejections are trailers-only responses with status 200 and a
    // message. Without it, they are 401 and 403, which clients map to UNAUTHENTICATED and
    // PERMISSION_DENIED.
    let auth = ApiKeyLayer::builder(keys).formats([format]).grpc().build()?;
    let guard = Require::table()
        .route("POST", CHECK, Require::authenticated())
        .route("POST", WATCH, ("health", "watch"))
        .build()?;

    // The service.
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_service_status("", ServingStatus::Serving).await;

    // Serve.
    let (listener, url) = common::listen().await?;
    println!("listening on {url}\n\nTry:");
    println!(
        "  {MESSAGE} | {CURL} --data-binary @- {url}{CHECK} -H 'x-api-key: {}'   # 200: grpc-status 0",
        service.expose()
    );
    println!(
        "  {CURL} -X POST {url}{WATCH} -H 'x-api-key: {}'   # 200: grpc-status 7, no permission",
        service.expose()
    );
    println!("  {CURL} -X POST {url}{CHECK}   # 200: grpc-status 16, no key\n");
    let server = Server::builder().layer(auth).layer(guard).add_service(health);
    server.serve_with_incoming_shutdown(TcpIncoming::from(listener), common::stopped()).await?;
    Ok(())
}

const CHECK: &str = "/grpc.health.v1.Health/Check";
const WATCH: &str = "/grpc.health.v1.Health/Watch";

const CURL: &str = "curl -i --http2-prior-knowledge -H 'content-type: application/grpc'";

/// Prints an empty gRPC message: five zero bytes, one for the flag and four for the length.
const MESSAGE: &str = "head -c5 /dev/zero";
