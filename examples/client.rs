//! Sends a key from a reqwest client, to one origin only. The example also runs the service.
//!
//! ```sh
//! cargo run --example client --features client
//! ```
//!
//! It calls the service twice, and prints these lines with the key filled in:
//!
//! ```sh
//! curl http://127.0.0.1:3000/hello -H 'Authorization: Bearer KEY'            # 200
//! curl http://127.0.0.1:3000/old -H 'Authorization: Bearer KEY' --location   # 200: redirected
//! curl http://127.0.0.1:3000/hello                                           # 401: no key
//! ```
//!
//! The documentation of the module `client` shows the same with hyper-util's client.

mod common;

use std::error::Error;

use axum::{Router, response::Redirect, routing::get};
use http::{Request, Response};
use tower::{ServiceBuilder, ServiceExt, service_fn};
use tower_api_key::{ApiKey, ApiKeyLayer, KeyFormat, Principal, Scheme, client::SendKeyLayer, store::StaticKeys};
use tower_http::follow_redirect::FollowRedirectLayer;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // The service.
    let key = KeyFormat::new("demo")?.generate()?;
    let (listener, url) = common::listen().await?;
    println!("key caller: {}\nlistening on {url}\n\nTry:", key.expose());
    println!("  curl {url}/hello -H 'Authorization: Bearer {}'   # 200", key.expose());
    println!("  curl {url}/old -H 'Authorization: Bearer {}' --location   # 200: redirected", key.expose());
    println!("  curl {url}/hello   # 401: no key\n");
    let service = axum::serve(listener, protected(key.clone())?).with_graceful_shutdown(common::stopped());
    let service = tokio::spawn(service.into_future());

    // The client. `SendKeyLayer` adds the key to each request to `url`, including redirected ones,
    // and to no other request. `url` is a loopback address; other hosts need `https`.
    let inner = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none()) // `FollowRedirectLayer` follows them
        .no_proxy() // the service is on this machine
        .build()?;
    let client = ServiceBuilder::new()
        .layer(FollowRedirectLayer::new())
        .layer(SendKeyLayer::new(&url, Scheme::bearer(), &key)?)
        .service(service_fn(move |request: Request<reqwest::Body>| {
            let inner = inner.clone();
            async move { inner.execute(request.try_into()?).await.map(Response::from) }
        }));

    // The calls. Their code does not mention the key.
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
