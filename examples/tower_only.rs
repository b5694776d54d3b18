//! No framework: tower's services under hyper, HTTP/1 and HTTP/2.
//!
//! ```sh
//! cargo run --example tower_only --no-default-features
//! ```
//!
//! Then, in another terminal, the lines that it prints.

use std::{convert::Infallible, env, error::Error, pin::pin};

use bytes::Bytes;
use http::{Request, Response, header::CONTENT_TYPE};
use http_body_util::Full;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::{conn::auto::Builder, graceful::GracefulShutdown},
    service::TowerToHyperService,
};
use serde_json::json;
use tokio::{net::TcpListener, signal};
use tower::{ServiceBuilder, service_fn};
use tower_api_key::{ApiKeyLayer, KeyFormat, KeyHasher, KeyRecord, Principal, Require, store::MemoryStore};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // Keys. Each is shown once, here; the store keeps only its digest.
    let keys = MemoryStore::new();
    let (format, hasher) = (KeyFormat::new("demo")?, KeyHasher::sha256());
    let (editor, reader) = (format.generate()?, format.generate()?);
    keys.add(KeyRecord::for_key("editor", &editor, &hasher).grant("notes", "read").grant("notes", "create"))?;
    keys.add(KeyRecord::for_key("reader", &reader, &hasher).grant("notes", "read"))?;
    println!("key editor: {}\nkey reader: {}", editor.expose(), reader.expose());

    // The service: the layer, inside it the guard, inside that the handler.
    let guard = Require::table().any("/notes", Require::by_method("notes")).build()?;
    let auth = ApiKeyLayer::builder(keys).formats([format]).build()?;
    let service = ServiceBuilder::new().layer(auth).layer(guard).service(service_fn(notes));

    // Serve.
    let address = env::var("ADDR").unwrap_or_else(|_| ADDR.to_owned());
    let listener = TcpListener::bind(address).await?;
    let url = format!("http://{}", listener.local_addr()?);
    println!("listening on {url}\n\nTry:");
    println!("  curl {url}/notes -H 'Authorization: Bearer {}'   # 200", editor.expose());
    println!("  curl --http2-prior-knowledge {url}/notes -H 'X-API-Key: {}'   # 200", editor.expose());
    println!("  curl -X POST {url}/notes -H 'X-API-Key: {}'   # 403: it may only read", reader.expose());
    println!("  curl {url}/elsewhere -H 'X-API-Key: {}'   # 403: not in the table", editor.expose());
    println!("  curl {url}/notes   # 401\n");
    let (server, connections) = (Builder::new(TokioExecutor::new()), GracefulShutdown::new());
    let mut stopped = pin!(stopped());
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

/// The principal is in the extensions of every request that comes here.
async fn notes<B>(request: Request<B>) -> Result<Response<Full<Bytes>>, Infallible> {
    let key = request.extensions().get::<Principal>().map(|key| key.id().to_string());
    let body = json!({ "method": request.method().as_str(), "key": key }).to_string();
    let mut response = Response::new(Full::from(body));
    response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    Ok(response)
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
