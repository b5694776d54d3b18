//! A real nginx in front, with and without TLS, and a client that forges every header.
//!
//! The client binds an address of 127.0.0.0/8, which nginx sees; nginx itself connects from 127.0.0.1.

use std::{
    net::SocketAddr,
    process::Command,
    sync::{Arc, Mutex},
};

use axum::{Router, routing::get};
use tower_api_key::{
    ApiKeyLayer, ClientAddress, KeyHasher, KeyRecord, TransportSource, address::Network, layer::ApiKeyLayerBuilder,
    store::MemoryStore,
};

use crate::nginx_server::{Nginx, free_port};

/// A key that is accepted from [`OFFICE`] only, and one that is accepted from everywhere.
const BOUND: &str = "bound-key-zQWBuTSOoRi4A9spHcVY5n";
const FREE: &str = "free-key-TmSfF0MCDRDBbS2wE0jCFYk";
const UNKNOWN: &str = "unknown-key-d9c1XgQm3RrW0uTzEoPj";

const OFFICE: &str = "127.0.0.5";
const STRANGER: &str = "127.0.0.6";

/// The address from which nginx connects.
const NGINX: [&str; 1] = ["127.0.0.1"];

/// What a client may send to be taken for another one.
fn forged() -> Vec<String> {
    let addresses = ["127.0.0.5", "127.0.0.5, 127.0.0.1", "127.0.0.1", "::ffff:127.0.0.5", "for=127.0.0.5;proto=https"];
    let names = [
        "X-Forwarded-For",
        "Forwarded",
        "X-Real-IP",
        "X_Forwarded_For",
        "x-forwarded-for",
        "True-Client-IP",
        "CF-Connecting-IP",
        "X-Client-IP",
        "X-Original-Forwarded-For",
    ];
    let mut lines: Vec<_> =
        names.iter().flat_map(|name| addresses.iter().map(move |address| format!("{name}: {address}"))).collect();
    let protocols =
        ["X-Forwarded-Proto", "X-Forwarded-Scheme", "X_Forwarded_Proto", "Front-End-Https", "X-Forwarded-Ssl"];
    lines.extend(protocols.iter().flat_map(|name| ["https", "on"].map(|value| format!("{name}: {value}"))));
    // Makes a proxy drop its own headers, where it believes the client's `Connection`.
    lines.push("Connection: close, X-Forwarded-For, X-Forwarded-Proto, Forwarded".to_owned());
    lines.push(format!("X-Forwarded-For: {}127.0.0.5", "127.0.0.1, ".repeat(40)));
    lines
}

fn store() -> MemoryStore {
    let store = MemoryStore::new();
    let record = |id: &str, key: &str| KeyRecord::for_key(id, &key.parse().unwrap(), &KeyHasher::sha256());
    store.add(record("bound", BOUND).with_allowed_addresses(Network::list([OFFICE]).unwrap())).unwrap();
    store.add(record("free", FREE)).unwrap();
    store
}

/// Serves an API behind this layer. Returns its address.
async fn serve(edit: impl FnOnce(ApiKeyLayerBuilder) -> ApiKeyLayerBuilder) -> SocketAddr {
    let layer = edit(ApiKeyLayer::builder(store())).build().unwrap();
    let app = Router::new().fallback(get("inner")).layer(layer);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = app.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, service).await });
    address
}

/// Sends a request with curl. Returns the status and the body.
async fn curl(from: &str, url: &str, key: &str, lines: &[&str]) -> (String, String) {
    let mut curl = Command::new("curl");
    curl.args(["-sS", "--insecure", "--max-time", "10", "--noproxy", "*", "--interface", from]);
    curl.args(["-w", "\n%{http_code}"]);
    if !key.is_empty() {
        curl.args(["-H", &format!("X-API-Key: {key}")]);
    }
    for line in lines {
        curl.args(["-H", line]);
    }
    curl.arg(url);
    let output = tokio::task::spawn_blocking(move || curl.output().expect("curl")).await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let (body, status) = text.rsplit_once('\n').unwrap();
    (status.to_owned(), body.to_owned())
}

/// The `server` block of a proxy that appends to the headers, or sets them.
fn server(listen: &str, settings: &str, upstream: SocketAddr) -> String {
    format!(
        "server {{ listen 127.0.0.1:{listen}; location / {{ proxy_pass http://{upstream};\n\
         proxy_set_header Host $host; proxy_set_header Connection ''; proxy_http_version 1.1;\n{settings} }} }}\n"
    )
}

const X_FORWARDED: &str =
    "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header X-Forwarded-Proto $scheme;";
const RFC_7239: &str = r#"proxy_set_header Forwarded "$http_forwarded, for=$remote_addr;proto=$scheme";"#;
/// As the first of two proxies: the second one appends, and knows that the first had TLS.
const SECOND: &str = "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header X-Forwarded-Proto $http_x_forwarded_proto;";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs nginx and curl"]
async fn a_client_behind_nginx_is_where_it_is_whatever_it_sends() {
    let behind = || ClientAddress::behind(NGINX);
    let x_forwarded = serve(|layer| layer.client_address(behind().x_forwarded_for().unwrap())).await;
    let rfc_7239 = serve(|layer| layer.client_address(behind().forwarded().unwrap())).await;
    let ports = [free_port(), free_port(), free_port(), free_port()];
    let [plain, tls, elements, outer] = ports;
    let chain = SocketAddr::from(([127, 0, 0, 1], plain));
    let servers = [
        server(&plain.to_string(), X_FORWARDED, x_forwarded),
        server(&format!("{tls} ssl http2"), X_FORWARDED, x_forwarded),
        server(&elements.to_string(), RFC_7239, rfc_7239),
        server(&outer.to_string(), X_FORWARDED, chain),
    ];
    let _nginx = Nginx::start(&servers.concat(), &ports);
    let urls = [
        format!("http://127.0.0.1:{plain}/"),
        format!("https://127.0.0.1:{tls}/"),
        format!("http://127.0.0.1:{elements}/"),
        format!("http://127.0.0.1:{outer}/"),
    ];
    let forbidden = curl(STRANGER, &urls[0], BOUND, &[]).await;
    assert_eq!(forbidden.0, "403");
    for url in &urls {
        assert_eq!(curl(OFFICE, url, BOUND, &[]).await.0, "200", "{url}");
        assert_eq!(curl(STRANGER, url, FREE, &[]).await.0, "200", "{url}");
        assert_eq!(curl(STRANGER, url, UNKNOWN, &[]).await.0, "401", "{url}");
        for line in forged() {
            assert_eq!(curl(STRANGER, url, BOUND, &[&line]).await, forbidden, "{url} {line}");
        }
    }
    // What the client forges does not keep it out either, where the proxy sets the header.
    for line in forged().iter().filter(|line| !line.starts_with("Forwarded")) {
        assert_eq!(curl(OFFICE, &urls[0], BOUND, &[line]).await.0, "200", "{line}");
    }
    // Around nginx: the peer is the client.
    for service in [x_forwarded, rfc_7239] {
        let url = format!("http://{service}/");
        assert_eq!(curl(OFFICE, &url, BOUND, &[]).await.0, "200");
        for line in forged() {
            assert_eq!(curl(STRANGER, &url, BOUND, &[&line]).await, forbidden, "{line}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs nginx and curl"]
async fn a_client_in_clear_text_gets_403_whatever_it_sends_and_its_key_is_found() {
    let exposed = Arc::new(Mutex::new(Vec::new()));
    let found = |exposed: &Arc<Mutex<Vec<String>>>| {
        let exposed = Arc::clone(exposed);
        move |key: KeyRecord| {
            let exposed = Arc::clone(&exposed);
            async move { exposed.lock().unwrap().push(key.id().to_string()) }
        }
    };
    let behind = || TransportSource::behind(NGINX);
    let x_forwarded = behind().x_forwarded_proto().unwrap();
    let x_forwarded = serve(|layer| layer.require_tls(x_forwarded).on_exposed_key(found(&exposed))).await;
    let rfc_7239 = serve(|layer| layer.require_tls(behind().forwarded().unwrap())).await;
    let ports = [free_port(), free_port(), free_port(), free_port(), free_port()];
    let [plain, tls, elements, elements_tls, second] = ports;
    let chained = server(&second.to_string(), SECOND, x_forwarded);
    let servers = [
        server(&plain.to_string(), X_FORWARDED, x_forwarded),
        server(&format!("{tls} ssl http2"), X_FORWARDED, SocketAddr::from(([127, 0, 0, 1], second))),
        server(&elements.to_string(), RFC_7239, rfc_7239),
        server(&format!("{elements_tls} ssl"), RFC_7239, rfc_7239),
        chained,
    ];
    let _nginx = Nginx::start(&servers.concat(), &ports);
    let secure = [format!("https://127.0.0.1:{tls}/"), format!("https://127.0.0.1:{elements_tls}/")];
    let clear = [
        format!("http://127.0.0.1:{plain}/"),
        format!("http://127.0.0.1:{elements}/"),
        format!("http://{x_forwarded}/"),
        format!("http://{rfc_7239}/"),
    ];
    let insecure = curl(STRANGER, &clear[0], "", &[]).await;
    assert!(insecure.0 == "403" && insecure.1.contains("over HTTPS only"), "{insecure:?}");
    for url in &secure {
        assert_eq!(curl(STRANGER, url, FREE, &[]).await.0, "200", "{url}");
        assert_eq!(curl(STRANGER, url, UNKNOWN, &[]).await.0, "401", "{url}");
        assert_eq!(curl(STRANGER, url, FREE, &["X-Forwarded-Proto: http"]).await.0, "200", "{url}");
    }
    assert_eq!(*exposed.lock().unwrap(), [] as [&str; 0]);
    for url in &clear {
        for key in ["", UNKNOWN, FREE] {
            assert_eq!(curl(STRANGER, url, key, &[]).await, insecure, "{url} {key}");
        }
        for line in forged() {
            assert_eq!(curl(STRANGER, url, UNKNOWN, &[&line]).await, insecure, "{url} {line}");
        }
    }
    // Once through nginx: the requests around it have an unknown transport, which exposes no key.
    crate::support::until(async || !exposed.lock().unwrap().is_empty()).await;
    assert_eq!(*exposed.lock().unwrap(), ["free"]);
}
