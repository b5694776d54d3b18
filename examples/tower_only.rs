//! Protects a tower service under hyper, without a framework, over HTTP/1 and HTTP/2.
//!
//! ```sh
//! cargo run --example tower_only --no-default-features
//! ```
//!
//! It prints its keys, and these lines with the keys filled in:
//!
//! ```sh
//! curl http://127.0.0.1:3000/notes -H 'Authorization: Bearer EDITOR'                       # 200
//! curl --http2-prior-knowledge http://127.0.0.1:3000/notes -H 'X-API-Key: EDITOR'          # 200
//! curl -X POST http://127.0.0.1:3000/notes -H 'X-API-Key: READER'   # 403: read only
//! curl http://127.0.0.1:3000/elsewhere -H 'X-API-Key: EDITOR'   # 403: not in the table
//! curl http://127.0.0.1:3000/notes   # 401: no key
//! ```

mod common;

use std::{convert::Infallible, error::Error, pin::pin};

use bytes::Bytes;
use http::{Request, Response, header::CONTENT_TYPE};
use http_body_util::Full;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::{conn::auto::Builder, graceful::GracefulShutdown},
    service::TowerToHyperService,
};
use serde_json::json;
use tower::{ServiceBuilder, service_fn};
use tower_api_key::{ApiKeyLayer, KeyFormat, KeyHasher, KeyRecord, Principal, Require, store::MemoryStore};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // The keys. They are printed once; the store keeps their digests.
    let keys = MemoryStore::new();
    let (format, hasher) = (KeyFormat::new("demo")?, KeyHasher::sha256());
    let (editor, reader) = (format.generate()?, format.generate()?);
    keys.add(KeyRecord::for_key("editor", &editor, &hasher).grant("notes", "read").grant("notes", "create"))?;
    keys.add(KeyRecord::for_key("reader", &reader, &hasher).grant("notes", "read"))?;
    println!("key editor: {}\nkey reader: {}", editor.expose(), reader.expose());

    // The service: the layer around the guard, the guard around the handler.
    let guard = Require::table().any("/notes", Require::by_method("notes")).build()?;
    let auth = ApiKeyLayer::builder(keys).formats([format]).build()?;
    let service = ServiceBuilder::new().layer(auth).layer(guard).service(service_fn(notes));

    // Serve.
    let (listener, url) = common::listen().await?;
    println!("listening on {url}\n\nTry:");
    println!("  curl {url}/notes -H 'Authorization: Bearer {}'   # 200", editor.expose());
    println!("  curl --http2-prior-knowledge {url}/notes -H 'X-API-Key: {}'   # 200", editor.expose());
    println!("  curl -X POST {url}/notes -H 'X-API-Key: {}'   # 403: read only", reader.expose());
    println!("  curl {url}/elsewhere -H 'X-API-Key: {}'   # 403: not in the table", editor.expose());
    println!("  curl {url}/notes   # 401: no key\n");
    let (server, connections) = (Builder::new(TokioExecutor::new()), GracefulShutdown::new());
    let mut stopped = pin!(common::stopped());
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                let service = TowerToHyperService::new(service.clone());
                let connection = server.serve_connection(TokioIo::new(stream), service).into_owned();
                tokio::spawn(connections.watch(connection));
            }
            () = &mut stopped => break,
        }
    }
    connections.shutdown().await;
    Ok(())
}

/// Reads the principal from the extensions. The layer adds it to every request that it accepts.
async fn notes<B>(request: Request<B>) -> Result<Response<Full<Bytes>>, Infallible> {
    let key = request.extensions().get::<Principal>().map(|key| key.id().to_string());
    let body = json!({ "method": request.method().as_str(), "key": key }).to_string();
    let mut response = Response::new(Full::from(body));
    response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    Ok(response)
}
