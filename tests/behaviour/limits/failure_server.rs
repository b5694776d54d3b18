//! Failures at a real server: the address is that of the connection.

use std::net::SocketAddr;

use axum::{Router, routing::get};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket},
};
use tower_api_key::{ApiKeyLayer, ClientAddress, KeyStore, limit::FailureLimit, store::StaticKeys};

use crate::support::{LIVE, UNKNOWN};

/// Serves an application over TCP, and returns its address.
async fn serve(limit: FailureLimit) -> SocketAddr {
    let keys = StaticKeys::new([("live", tower_api_key::ApiKey::new(LIVE).unwrap())]).unwrap();
    let app = app(keys, limit).into_make_service_with_connect_info::<SocketAddr>();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

fn app(keys: impl KeyStore, limit: FailureLimit) -> Router {
    let auth = ApiKeyLayer::builder(keys).limit_failures(limit).build().unwrap();
    Router::new().route("/", get("inner")).layer(auth)
}

/// Sends a request from an address of this machine, and returns the head of the response.
async fn call(server: SocketAddr, from: &str, key: &str, lines: &str) -> String {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(format!("{from}:0").parse().unwrap()).unwrap();
    let mut stream = socket.connect(server).await.unwrap();
    let request = format!("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\nx-api-key: {key}\r\n{lines}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).await.unwrap();
    response.split("\r\n\r\n").next().unwrap().to_owned()
}

#[track_caller]
fn assert_status(head: &str, status: u16) {
    assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
}

#[tokio::test]
async fn connections_from_one_address_share_a_count_and_no_header_changes_it() {
    let server = serve(FailureLimit::per_minute(3)).await;
    for forged in ["192.0.2.1", "192.0.2.2", "127.0.0.2"] {
        let lines = format!("x-forwarded-for: {forged}\r\nforwarded: for={forged}\r\nx-real-ip: {forged}\r\n");
        assert_status(&call(server, "127.0.0.1", UNKNOWN, &lines).await, 401);
    }
    let head = call(server, "127.0.0.1", UNKNOWN, "x-forwarded-for: 192.0.2.3\r\n").await;
    assert_status(&head, 429);
    assert!(head.contains("\r\nretry-after: 20"), "{head}");
    assert_status(&call(server, "127.0.0.1", LIVE, "").await, 200);
    // Linux has the whole of 127.0.0.0/8.
    #[cfg(target_os = "linux")]
    assert_status(&call(server, "127.0.0.2", UNKNOWN, "").await, 401);
}

#[tokio::test]
async fn behind_a_proxy_the_address_that_it_appends_has_the_count() {
    let address = ClientAddress::behind(["127.0.0.1"]).x_forwarded_for().unwrap();
    let server = serve(FailureLimit::per_minute(1).by(address)).await;
    let sent = async |lines: &str| call(server, "127.0.0.1", UNKNOWN, lines).await;
    assert_status(&sent("x-forwarded-for: 192.0.2.1, 203.0.113.9\r\n").await, 401);
    assert_status(&sent("x-forwarded-for: 192.0.2.2\r\nx-forwarded-for: 203.0.113.9\r\n").await, 429);
    assert_status(&sent("x-forwarded-for: 203.0.113.10\r\n").await, 401);
}
