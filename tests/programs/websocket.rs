//! Tests keys from browsers that open a `WebSocket` under axum, with a real client.

use std::net::SocketAddr;

use crate::browser::Browser;
use axum::{
    Router,
    extract::ws::{WebSocket, WebSocketUpgrade},
    http::HeaderMap,
    response::Response,
    routing::get,
};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_tungstenite::{
    connect_async,
    tungstenite::{self, client::IntoClientRequest, http::HeaderValue},
};
use tower_api_key::{ApiKey, ApiKeyLayer, Principal, Scheme, store::StaticKeys};

const KEY: &str = "zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ";
const PROTOCOLS: &str = "sec-websocket-protocol";

/// Returns the caller, and the protocols that the service was offered.
async fn greet(key: Principal, headers: HeaderMap, upgrade: WebSocketUpgrade) -> Response {
    let offered: Vec<_> = headers.get_all(PROTOCOLS).iter().map(|line| line.to_str().unwrap().to_owned()).collect();
    let greeting = format!("{} {offered:?}", key.id());
    upgrade.protocols(["chat.v2", "chat.v1"]).on_upgrade(async move |mut socket: WebSocket| {
        socket.send(greeting.into()).await.unwrap();
    })
}

async fn serve() -> SocketAddr {
    let keys = StaticKeys::new([("deploy", ApiKey::new(KEY).unwrap())]).unwrap();
    let layer = ApiKeyLayer::builder(keys).schemes(Scheme::websocket_protocol("api-key")).build().unwrap();
    let app = Router::new().route("/", get(greet)).layer(layer);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

/// Returns the protocol that the server selected, and its first message.
async fn connect(address: SocketAddr, offered: &str) -> Result<(Option<String>, String), tungstenite::Error> {
    crate::support::logs::watch_for([KEY.to_owned()]);
    let mut request = format!("ws://{address}/").into_client_request()?;
    request.headers_mut().insert(PROTOCOLS, HeaderValue::from_str(offered).unwrap());
    let (mut socket, response) = connect_async(request).await?;
    assert!(!format!("{response:?}").contains(KEY), "{response:?}");
    crate::support::logs::assert_clean();
    let selected = response.headers().get(PROTOCOLS).map(|value| value.to_str().unwrap().to_owned());
    let message = futures_util::StreamExt::next(&mut socket).await.unwrap()?;
    Ok((selected, message.into_text()?.to_string()))
}

#[tokio::test]
async fn a_browsers_websocket_authenticates_by_its_protocols() {
    let address = serve().await;
    for (offered, selected, greeting) in [
        (format!("api-key, {KEY}"), "api-key", "deploy []"),
        (format!("chat.v1, api-key, {KEY}"), "chat.v1", "deploy [\"chat.v1\"]"),
        (format!("api-key, {KEY}, chat.v1, chat.v2"), "chat.v2", "deploy [\"chat.v1, chat.v2\"]"),
        (format!("chat.v0, api-key, {KEY}"), "api-key", "deploy [\"chat.v0\"]"),
    ] {
        let answer = connect(address, &offered).await.unwrap();
        assert_eq!(answer, (Some(selected.to_owned()), greeting.to_owned()));
    }
}

#[tokio::test]
async fn a_websocket_without_a_working_key_is_refused_in_the_handshake() {
    let address = serve().await;
    for offered in ["chat.v1".to_owned(), "api-key".to_owned(), format!("api-key, {KEY}x"), format!("{KEY}, api-key")] {
        match connect(address, &offered).await {
            Err(tungstenite::Error::Http(response)) => {
                assert_eq!(response.status(), 401);
                assert!(!format!("{response:?}").contains(KEY));
            }
            other => panic!("{offered}: {other:?}"),
        }
    }
}

/// A browser closes the connection if the server selects none of the offered protocols.
#[tokio::test]
#[ignore = "needs chromium"]
async fn chromium_opens_a_websocket_with_a_key() {
    let (address, browser) = (serve().await, Browser::start().await);
    let open = "const [url, protocols, done] = arguments;
        const socket = new WebSocket(url, protocols);
        socket.onmessage = (event) => done([socket.protocol, event.data]);
        socket.onerror = () => done('refused');";
    browser.client.goto(&format!("http://{address}/")).await.unwrap();
    let open = async |protocols: Value| {
        let arguments = vec![json!(format!("ws://{address}/")), protocols];
        browser.client.execute_async(open, arguments).await.unwrap()
    };
    assert_eq!(open(json!(["api-key", KEY])).await, json!(["api-key", "deploy []"]));
    assert_eq!(open(json!(["chat.v1", "api-key", KEY])).await, json!(["chat.v1", "deploy [\"chat.v1\"]"]));
    assert_eq!(open(json!(["chat.v0", "api-key", KEY])).await, json!(["api-key", "deploy [\"chat.v0\"]"]));
    assert_eq!(open(json!(["api-key", "wrong"])).await, "refused");
    assert_eq!(open(json!(["chat.v1"])).await, "refused");
    browser.client.clone().close().await.unwrap();
}
