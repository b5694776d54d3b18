//! The caller's side: reqwest with a key for one origin. The service that it calls runs here too.
//!
//! ```sh
//! cargo run --example client --features client
//! ```
//!
//! It calls by itself; the lines that it prints do the same by hand. hyper-util's client stands in the documentation of the module `client`.

use std::{env, error::Error};

use axum::{Router, response::Redirect, routing::get};
use http::{Request, Response};
use tokio::{net::TcpListener, signal};
use tower::{ServiceBuilder, ServiceExt, service_fn};
use tower_api_key::{ApiKey, ApiKeyLayer, KeyFormat, Principal, Scheme, client::SendKeyLayer, store::StaticKeys};
use tower_http::follow_redirect::FollowRedirectLayer;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // The service.
    let key = KeyFormat::new("demo")?.generate()?;
    let listener = TcpListener::bind(env::var("ADDR").unwrap_or_else(|_| ADDR.to_owned())).await?;
    let url = format!("http://{}", listener.local_addr()?);
    println!("key caller: {}\nlistening on {url}\n\nTry:", key.expose());
    println!("  curl {url}/hello -H 'Authorization: Bearer {}'   # 200", key.expose());
    println!("  curl {url}/old -H 'Authorization: Bearer {}' --location   # 200: by a redirect", key.expose());
    println!("  curl {url}/hello   # 401\n");
    let service = axum::serve(listener, protected(key.clone())?).with_graceful_shutdown(stopped());
    let service = tokio::spawn(service.into_future());

    // Its client. The key is added to each request for `url`, a redirected one too, and to no other.
    let inner = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none()) // redirects are followed outside, below
        .no_proxy() // the service is on this machine
        .build()?;
    let client = ServiceBuilder::new()
        .layer(FollowRedirectLayer::new())
        .layer(SendKeyLayer::new(&url, Scheme::bearer(), &key)?)
        .service(service_fn(move |request: Request<reqwest::Body>| {
            let inner = inner.clone();
            async move { inner.execute(request.try_into()?).await.map(Response::from) }
        }));

    // Calls, without a word about the key.
    for path in ["/hello", "/old"] {
        let request = Request::get(format!("{url}{path}")).body(reqwest::Body::default())?;
        let response = reqwest::Response::from(client.clone().oneshot(request).await?);
        println!("reqwest got {}: {}", response.status().as_u16(), response.text().await?);
    }

    service.await??;
    Ok(())
}

fn protected(key: ApiKey) -> Result<Router, Box<dyn Error>> {
    let auth = ApiKeyLayer::builder(StaticKeys::new([("caller", key)])?).build()?;
    Ok(Router::new().route("/hello", get(hello)).route("/old", get(async || Redirect::permanent("/hello"))).layer(auth))
}

async fn hello(key: Principal) -> String {
    format!("hello, {}", key.id())
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
