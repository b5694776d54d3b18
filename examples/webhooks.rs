//! Sends the events of keys to an endpoint that is down for a while.
//!
//! ```sh
//! cargo run --example webhooks --features webhooks,sqlite
//! ```
//!
//! It issues and revokes a key while the receiver is down, starts the receiver, and ends when the
//! receiver has both events, each with a valid signature.
use std::{error::Error, net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, body::Bytes, extract::State, http::HeaderMap, routing::post};
use http::{Request, Response, StatusCode};
use tokio::{net::TcpListener, sync::mpsc};
use tower_api_key::{
    KeyFormat, KeyManager, Owner, Permissions,
    manage::{Actor, NewKey},
    store::{BoxError, SqliteStore},
    webhook::{Webhook, WebhookDeliverer, WebhookSecret, WebhookSender},
};

/// Sends webhooks with `reqwest`. It follows no redirects.
struct Client(reqwest::Client);

impl WebhookSender for Client {
    async fn send(&self, request: Request<Bytes>) -> Result<Response<()>, BoxError> {
        let response = self.0.execute(request.try_into()?).await?;
        let mut answer = Response::new(());
        *answer.status_mut() = response.status();
        *answer.headers_mut() = response.headers().clone();
        Ok(answer)
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).unwrap_or_else(|| "webhooks.db".to_owned());
    let store = SqliteStore::open(&path).await?;
    let manager = KeyManager::builder(store.clone()).format(KeyFormat::new("acme")?).build()?;
    // From your configuration. This one is only an example.
    let secret: WebhookSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".parse()?;

    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
    let address = listener.local_addr()?;
    drop(listener); // The receiver is down.
    let endpoint = Webhook::new("audit", format!("http://{address}/events").parse()?, secret.clone());
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build()?;
    let deliverer = WebhookDeliverer::builder(store, Client(client)).endpoint(endpoint).build();
    deliverer.deliver_due().await?; // The endpoint receives the events from here on.
    let sending = tokio::spawn(async move { deliverer.run().await });

    let permissions = Permissions::new().grant("apiKeys", "create").grant("apiKeys", "delete");
    let admin = Actor::trusted(Owner::ServiceAccount, permissions);
    let issued = manager.issue(&admin, NewKey::service_account("nightly build")).await?;
    manager.revoke(&admin.because("the example ends"), issued.record().id().clone()).await?;
    println!("the receiver is down for 3 s");
    tokio::time::sleep(Duration::from_secs(3)).await;

    let (received, mut events) = mpsc::channel(16);
    let app = Router::new().route("/events", post(receive)).with_state(Arc::new(Receiver { secret, received }));
    let listener = TcpListener::bind(address).await?;
    let serving = tokio::spawn(async move { axum::serve(listener, app).await });
    println!("the receiver listens on {address}");
    for _ in 0..2 {
        println!("{}", events.recv().await.ok_or("the receiver has ended")?);
    }
    sending.abort();
    serving.abort();
    Ok(())
}

struct Receiver {
    secret: WebhookSecret,
    received: mpsc::Sender<String>,
}

/// Checks the signature of an event and prints it. A receiver in production also compares the
/// timestamp with its clock, and ignores an id that it has seen.
async fn receive(State(receiver): State<Arc<Receiver>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let (Some(id), Some(signatures)) = (text("webhook-id"), text("webhook-signature")) else {
        return StatusCode::BAD_REQUEST;
    };
    let Some(timestamp) = text("webhook-timestamp").and_then(|seconds| seconds.parse().ok()) else {
        return StatusCode::BAD_REQUEST;
    };
    if !receiver.secret.verifies(id, timestamp, &body, signatures) {
        return StatusCode::UNAUTHORIZED;
    }
    let _ = receiver.received.send(String::from_utf8_lossy(&body).into_owned()).await;
    StatusCode::NO_CONTENT
}
