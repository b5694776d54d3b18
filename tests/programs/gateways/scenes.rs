//! What every gateway does.

use tower_api_key::KeyRegistry;

use super::{BOUND, LIMITED, Setup, client::Connection};
use crate::support::{Fault, LIVE, UNKNOWN};

/// What differs.
#[derive(Clone, Copy)]
pub struct Expected {
    pub retry_after_503: bool,
    /// Whether keys are taken out of cookies and the query.
    pub strips_more: bool,
    /// Whether it answers a gRPC client in the form of gRPC.
    pub is_envoy: bool,
}

const IDENTITY: [(&str, &str); 5] = [
    ("X-Auth-Key-Id", "live"),
    ("X-Auth-Owner", "user:alice"),
    ("X-Auth-Organization", "acme"),
    ("X-Auth-Environment", "live"),
    ("X-Auth-Scope", "links:read"),
];

pub async fn all(setup: &Setup, expected: Expected) {
    accepted(setup, expected).await;
    refused(setup, expected).await;
    forged_identity(setup).await;
    forged_targets(setup).await;
    asked_is_what_is_forwarded(setup).await;
    limited(setup).await;
    bound_to_an_address(setup).await;
    unavailable(setup, expected).await;
    // At the end: it revokes the key.
    revoked_on_open_connections(setup).await;
}

async fn accepted(setup: &Setup, expected: Expected) {
    let bearer = format!("Bearer {LIVE}");
    let cookie = format!("theme=dark; key={LIVE}");
    let query = format!("/links/7?page=2&key={LIVE}");
    let mut client = setup.connect().await;
    for (target, headers, is_stripped) in [
        ("/links/7?page=2", vec![("X-API-Key", LIVE)], true),
        ("/links/7?page=2", vec![("Authorization", bearer.as_str())], true),
        ("/links/7?page=2", vec![("Cookie", cookie.as_str())], expected.strips_more),
        (query.as_str(), vec![], expected.strips_more),
    ] {
        // Envoy over HTTP sends the listed headers only.
        if !expected.retry_after_503 && headers.iter().any(|(name, _)| *name == "Cookie") {
            assert_eq!(client.get(target, &headers).await.status, 401);
            continue;
        }
        let response = client.get(target, &headers).await;
        assert_eq!(response.status, 200, "{target} {response:?}");
        for (name, value) in IDENTITY {
            assert_eq!(response.got(name), [value], "{name}");
        }
        assert_eq!(response.body.contains(LIVE), !is_stripped, "{target} {}", response.body);
        assert!(response.body.contains("page=2"), "{}", response.body);
        let cookies = headers.iter().filter(|(name, _)| *name == "Cookie").count();
        assert_eq!(response.got("Cookie").concat().matches("theme=dark").count(), cookies);
    }
    // What the service refuses by itself is its own answer.
    let own = client.get("/links/own", &[("X-API-Key", LIVE)]).await;
    assert_eq!((own.status, own.got("X-Auth-Key-Id")), (403, vec!["live".to_owned()]));
}

async fn refused(setup: &Setup, expected: Expected) {
    let mut client = setup.connect().await;
    for (method, target, headers, status) in [
        ("GET", "/", vec![("X-API-Key", LIVE)], 403),
        ("GET", "/links/7", vec![], 401),
        ("GET", "/links/7", vec![("X-API-Key", UNKNOWN)], 401),
        ("GET", "/links/7", vec![("X-API-Key", LIVE), ("X-API-Key", LIVE)], 401),
        (
            "POST",
            "/links/7",
            vec![
                ("X-API-Key", UNKNOWN),
                ("Content-Type", "application/grpc"),
                ("TE", "trailers"),
                ("Content-Length", "0"),
            ],
            401,
        ),
        ("POST", "/links/7", vec![("X-API-Key", LIVE), ("Content-Length", "0")], 403),
        ("GET", "/admin", vec![("X-API-Key", LIVE)], 403),
        ("GET", "/forgotten", vec![("X-API-Key", LIVE)], 403),
        ("HEAD", "/admin", vec![("X-API-Key", LIVE)], 403),
        ("GET", "/hidden", vec![("X-API-Key", LIVE)], 404),
    ] {
        let response = client.send(method, target, &headers).await;
        let is_grpc = expected.is_envoy && response.header("grpc-status") == Some("16");
        assert!(response.status == status || is_grpc, "{method} {target} {response:?}");
        assert!(!response.body.contains("\"headers\""), "the service was called: {response:?}");
        assert_eq!(response.header("www-authenticate").is_some(), status == 401, "{response:?}");
    }
}

/// The service sees what the key service says, and nothing that looks like it.
async fn forged_identity(setup: &Setup) {
    for name in ["X-Auth-Owner", "x-auth-owner", "X_Auth_Owner", "X-Auth_Owner"] {
        for (target, headers) in
            [("/links/7", vec![("X-API-Key", LIVE), (name, "user:root")]), ("/health", vec![(name, "user:root")])]
        {
            let mut client = setup.connect().await;
            let response = client.get(target, &headers).await;
            assert!(!response.body.contains("root"), "{name} {target} {response:?}");
            // Envoy rejects names with an underscore.
            let is_rejected = name.contains('_') && response.status == 400;
            assert!(response.status == 200 || is_rejected, "{name} {target} {response:?}");
        }
        let forged = [
            ("X-API-Key", LIVE),
            (name, "user:root"),
            (name, "user:root2"),
            ("Connection", "x-auth-owner, x-auth-key-id"),
        ];
        let response = setup.connect().await.get("/links/7", &forged).await;
        assert!(!response.body.contains("root"), "{name} {response:?}");
    }
    // `Connection` names headers of this hop (RFC 9110 §7.6.1). It must not remove the identity.
    let dropped = [("X-API-Key", LIVE), ("Connection", "close, X-Auth-Owner, X-Auth-Key-Id, X-Auth-Organization")];
    let response = setup.connect().await.get("/links/7", &dropped).await;
    if response.status == 200 {
        assert_eq!(response.got("X-Auth-Owner"), ["user:alice"], "{response:?}");
        assert_eq!(response.got("X-Auth-Key-Id"), ["live"], "{response:?}");
    }
}

/// The key service is asked about the request that the service would get.
async fn forged_targets(setup: &Setup) {
    let headers = [
        ("X-API-Key", LIVE),
        ("X-Original-Method", "GET"),
        ("X-Original-URI", "/health"),
        ("X-Original-URL", "/health"),
        ("X-Forwarded-Method", "GET"),
        ("X-Forwarded-Uri", "/health"),
        ("X-Forwarded-Prefix", "/health"),
        ("X-Rewrite-URL", "/health"),
        ("X-HTTP-Method-Override", "GET"),
        ("X-Envoy-Original-Path", "/health"),
        ("X-Auth-Status", "200"),
        ("X-Envoy-Auth-Headers-To-Remove", "x-api-key"),
    ];
    let response = setup.connect().await.get("/admin", &headers).await;
    assert_eq!(response.status, 403, "{response:?}");
    for target in [
        "//health",
        "/health/../admin",
        "/health/%2e%2e/admin",
        "/health%2f..%2fadmin",
        "/health;/../admin",
        "/%2fhealth",
        "http://gateway.example/admin",
        "http://other.example//admin",
        "/health%00",
        "/health%3f",
        "/nginx",
        "/_auth",
        "/health#/../admin",
    ] {
        let response = setup.connect().await.get(target, &[("X-API-Key", LIVE)]).await;
        let is_refused = matches!(response.status, 400 | 403 | 404) || (target.contains('#') && response.status == 500);
        // A gateway may cut off a fragment before it asks, as it does before it forwards.
        let is_health = response.status == 200 && response.body.contains("\"path\": \"/health\"");
        assert!(is_refused || is_health, "{target} {response:?}");
    }
}

/// Whatever the target is: the key service is asked about the path that the service gets.
async fn asked_is_what_is_forwarded(setup: &Setup) {
    const FIRST: [&str; 4] = ["/health", "/links/7", "/", "http://gateway.example/health"];
    const PIECES: [&str; 28] = [
        "/",
        "/",
        "/health",
        "/admin",
        "/links",
        "/links/7",
        "..",
        ".",
        "%2e",
        "%2f",
        "//",
        "#",
        "?",
        ";",
        "\\",
        "%5c",
        "%00",
        "%3f",
        "%23",
        "%25",
        "%",
        "x",
        "&",
        "=",
        ":",
        "@",
        "*",
        "http://gateway.example",
    ];
    let mut state = 20_u64;
    let mut next = |most: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % most
    };
    let mut forwarded = 0;
    for _ in 0..400 {
        let first = FIRST[next(FIRST.len())];
        let more = (0..next(4)).map(|_| PIECES[next(PIECES.len())]);
        let target: String = [first].into_iter().chain(more).collect();
        setup.asked.lock().unwrap().clear();
        let response = setup.connect().await.get(&target, &[("X-API-Key", LIVE)]).await;
        if response.status != 200 {
            continue;
        }
        forwarded += 1;
        let got: serde_json::Value = serde_json::from_str(&response.body).unwrap();
        let path = got["path"].as_str().unwrap().split('?').next().unwrap().to_owned();
        assert_eq!(*setup.asked.lock().unwrap(), [format!("GET {path}")], "{target}");
    }
    assert!(forwarded > 40, "{forwarded}");
}

async fn limited(setup: &Setup) {
    let mut client = setup.connect().await;
    let key = [("X-API-Key", LIMITED)];
    assert_eq!(client.get("/links/7", &key).await.status, 200);
    for _ in 0..2 {
        let response = client.get("/links/7", &key).await;
        assert_eq!(response.status, 429, "{response:?}");
        let after: u64 = response.header("retry-after").expect("Retry-After").parse().unwrap();
        assert!((3000..=3600).contains(&after), "{after}");
    }
}

/// The gateway says where the client is, whatever the client says.
async fn bound_to_an_address(setup: &Setup) {
    for (from, status) in [([127, 0, 0, 5], 200), ([127, 0, 0, 6], 403)] {
        for forged in [None, Some(("X-Forwarded-For", "127.0.0.5"))] {
            let headers: Vec<_> = [("X-API-Key", BOUND)].into_iter().chain(forged).collect();
            let response = Connection::open(setup.address, from).await.get("/links/7", &headers).await;
            assert_eq!(response.status, status, "{from:?} {forged:?} {response:?}");
        }
    }
}

async fn unavailable(setup: &Setup, expected: Expected) {
    let mut client = setup.connect().await;
    let retry_after = expected.retry_after_503.then_some("1");
    let response = client.get("/down", &[("X-API-Key", LIVE)]).await;
    assert_eq!((response.status, response.header("retry-after")), (503, retry_after), "{response:?}");
    setup.store.set(Fault::Fails);
    for target in ["/links/7", "/health"] {
        let response = client.get(target, &[("X-API-Key", LIVE)]).await;
        assert_eq!((response.status, response.header("retry-after")), (503, retry_after), "{target} {response:?}");
    }
    setup.store.set(Fault::None);
    assert_eq!(client.get("/links/7", &[("X-API-Key", LIVE)]).await.status, 200);
}

async fn revoked_on_open_connections(setup: &Setup) {
    let mut clients = Vec::new();
    for _ in 0..3 {
        let mut client = setup.connect().await;
        assert_eq!(client.get("/links/7", &[("X-API-Key", LIVE)]).await.status, 200);
        clients.push(client);
    }
    setup.store.keys.revoke(&"live".into(), None).await.unwrap().unwrap();
    for client in &mut clients {
        assert_eq!(client.get("/links/7", &[("X-API-Key", LIVE)]).await.status, 401);
    }
}
