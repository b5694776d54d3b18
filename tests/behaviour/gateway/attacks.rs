//! A client that sends the headers of gateways by itself, and gateways that are not set up.

use axum::{Router, body::Body};
use http::{HeaderValue, Request};
use tower_api_key::{
    ClientAddress, KeyHasher, KeyRecord, Require,
    address::{Network, PeerAddress},
    gateway::{Gateway, GatewayKind},
    guard::host_of,
    layer::ApiKeyLayerBuilder,
    store::MemoryStore,
};

use super::{KINDS, ask, ask_about, layer, original, question, router, table};
use crate::support::LIVE;

const FORGED: [(&str, &str); 12] = [
    ("x-original-method", "GET"),
    ("x-original-uri", "/health"),
    ("x-original-url", "/health"),
    ("x-forwarded-method", "GET"),
    ("x-forwarded-uri", "/health"),
    ("x-rewrite-url", "/health"),
    ("x-http-method-override", "GET"),
    ("x-http-method", "GET"),
    ("x-method-override", "GET"),
    ("x-forwarded-prefix", "/health"),
    ("x-envoy-original-path", "/health"),
    (":path", "/health"),
];

/// The names of the headers that are the gateway's own, by kind.
fn own(kind: GatewayKind) -> &'static [&'static str] {
    match kind {
        GatewayKind::Nginx => &["x-original-method", "x-original-uri"],
        GatewayKind::Envoy => &[],
        _ => &["x-forwarded-method", "x-forwarded-uri"],
    }
}

#[tokio::test]
async fn the_headers_of_another_gateway_are_not_read() {
    for kind in KINDS {
        let mut forged = original("DELETE", "/admin", &[("x-api-key", LIVE)]);
        for (name, value) in FORGED.iter().filter(|(name, _)| !name.starts_with(':')) {
            forged.headers_mut().append(*name, HeaderValue::from_static(value));
        }
        // The gateway overwrites its own.
        assert_eq!(ask_about(kind, &forged).await.status, 403, "{kind:?}");
    }
}

#[tokio::test]
async fn a_header_that_is_missing_or_twice_or_no_target_is_500() {
    for kind in KINDS {
        let original = original("GET", "/health", &[("x-api-key", LIVE)]);
        for name in own(kind) {
            let gateway = Gateway::new(&layer(ApiKeyLayerBuilder::optional), table());
            let good = || question(kind, &original);
            assert_eq!(ask(router(&gateway, kind), kind, good()).await.status, 200);
            let mut missing = good();
            missing.headers_mut().remove(*name);
            let mut twice = good();
            let again = twice.headers()[*name].clone();
            twice.headers_mut().append(*name, again);
            let mut wrong = vec![missing, twice];
            let values: &[&[u8]] = if name.ends_with("method") {
                &[b"", b"GET POST", b"G\xffT", b"GET,DELETE"]
            } else {
                &[b"", b"health", b"example.com:80", b"/health#x", b"/a b", b"mailto:x", b"?x", b"/health,/admin\x7f"]
            };
            for value in values {
                let mut other = good();
                other
                    .headers_mut()
                    .insert(*name, HeaderValue::from_bytes(value).unwrap_or(HeaderValue::from_static("")));
                wrong.push(other);
            }
            for question in wrong {
                let shown = format!("{kind:?} {:?}", question.headers().get(*name));
                let answer = ask(router(&gateway, kind), kind, question).await;
                assert_eq!(answer.status_for_client(), 500, "{shown}");
            }
        }
    }
}

#[tokio::test]
async fn a_path_that_a_service_may_read_otherwise_is_refused() {
    let long = format!("/links/{}", "a".repeat(60_000));
    for kind in KINDS {
        for target in [
            "//health",
            "/health//",
            "/links/../health",
            "/links/..;/health",
            "/links/%2e%2e/health",
            "/%2fhealth",
            "/links;/health",
            "/health%00",
            "/health%3fx",
            "/health;x",
            "/HEALTH",
            "/health%252f..",
            "/health/",
            long.as_str(),
        ] {
            let answer = ask_about(kind, &original("GET", target, &[])).await;
            assert_eq!(answer.status, 401, "{kind:?} {target}: open is only what every reading lists");
        }
        for target in ["//links", "/links//7", "/links/..%2fadmin", "/links/%2e%2e", "/links/a%252525"] {
            let answer = ask_about(kind, &original("GET", target, &[("x-api-key", LIVE)])).await;
            assert_eq!(answer.status, 403, "{kind:?} {target}");
        }
    }
}

/// axum's `nest` drops slashes and strips prefixes.
#[tokio::test]
async fn envoys_path_is_cut_from_the_path_as_sent() {
    let gateway = Gateway::new(
        &layer(|layer| layer),
        Require::table().route("GET", "/links", ("links", "read")).build().unwrap(),
    );
    let inner: Router = Router::new().nest_service("/{zone}", gateway.router::<()>(GatewayKind::Envoy));
    let nested: Router = Router::new().nest_service("/a", inner);
    let by_nest: Router = Router::new().nest("/a", gateway.router(GatewayKind::Envoy));
    let flat: Router = gateway.router(GatewayKind::Envoy);
    for (router, target, status) in [
        (&nested, "/a/b/links?x=1", 200),
        (&nested, "/a/b//links", 403),
        (&nested, "/a/b/links/", 403),
        (&nested, "/a/b/", 403),
        (&nested, "/a/b", 403),
        (&nested, "/a/links/links", 200),
        (&by_nest, "/a/links", 200),
        (&by_nest, "/a//links", 403),
        (&flat, "/links", 200),
        (&flat, "//links", 403),
        (&flat, "/a/b/links", 403),
    ] {
        let question = Request::get(target).header("x-api-key", LIVE).body(Body::empty()).unwrap();
        assert_eq!(ask(router.clone(), GatewayKind::Envoy, question).await.status, status, "{target}");
    }
}

#[tokio::test]
async fn two_credentials_are_refused_as_by_the_layer() {
    for kind in KINDS {
        let bearer = format!("Bearer {LIVE}");
        for headers in [[("x-api-key", LIVE), ("x-api-key", LIVE)], [("x-api-key", LIVE), ("authorization", &bearer)]] {
            assert_eq!(ask_about(kind, &original("GET", "/links", &headers)).await.status, 401, "{kind:?}");
        }
    }
}

/// The key of the gateway, or of a layer around the router, is not that of the client.
#[tokio::test]
async fn the_principal_of_a_layer_around_the_router_is_not_that_of_the_client() {
    for kind in KINDS {
        let gateway = Gateway::new(
            &layer(|layer| layer.optional().schemes([tower_api_key::Scheme::header("x-client")])),
            table(),
        );
        let around = router(&gateway, kind).layer(layer(|layer| layer));
        let answer = ask(around, kind, question(kind, &original("GET", "/links", &[("x-api-key", LIVE)]))).await;
        assert_eq!(answer.status, 401, "{kind:?}");
    }
}

#[tokio::test]
async fn the_original_host_is_that_which_the_gateway_sends() {
    let guard = || Require::organization(|parts| Some(host_of(parts)?.split('.').next()?.to_owned()));
    for kind in KINDS {
        let name = if matches!(kind, GatewayKind::Nginx | GatewayKind::Envoy) { "host" } else { "x-forwarded-host" };
        for (headers, status) in [
            (vec![(name, "acme.example")], 200),
            (vec![(name, "other.example")], 403),
            (vec![(name, "acme.example"), (name, "acme.example")], 403),
            (vec![], 403),
        ] {
            let gateway = Gateway::new(&layer(|layer| layer), guard());
            let mut original = original("GET", "/links", &headers);
            original.headers_mut().insert("x-api-key", LIVE.parse().unwrap());
            let answer = ask(router(&gateway, kind), kind, question(kind, &original)).await;
            assert_eq!(answer.status, status, "{kind:?} {headers:?}");
        }
    }
    // What the gateway's own connection has is not the original.
    let gateway = Gateway::new(&layer(|layer| layer), guard());
    let headers = [("host", "acme.example"), ("x-forwarded-host", "other.example"), ("x-api-key", LIVE)];
    let question = question(GatewayKind::Caddy, &original("GET", "/links", &headers));
    assert_eq!(ask(router(&gateway, GatewayKind::Caddy), GatewayKind::Caddy, question).await.status, 403);
}

/// The peer is the gateway, so the client is the last address that it has written.
#[tokio::test]
async fn the_address_of_the_client_is_read_behind_the_gateway() {
    let store = MemoryStore::new();
    let record = KeyRecord::for_key("bound", &LIVE.parse().unwrap(), &KeyHasher::sha256());
    store.add(record.with_allowed_addresses(Network::list(["192.0.2.7"]).unwrap())).unwrap();
    let address = ClientAddress::behind(["127.0.0.1"]).x_forwarded_for().unwrap();
    let layer = tower_api_key::ApiKeyLayer::builder(store).client_address(address).build().unwrap();
    let gateway = Gateway::new(&layer, Require::authenticated());
    for kind in KINDS {
        for (client, peer, status) in
            [("192.0.2.7", "127.0.0.1", 200), ("192.0.2.8", "127.0.0.1", 403), ("192.0.2.7", "192.0.2.9", 403)]
        {
            let headers = [("x-forwarded-for", client), ("x-api-key", LIVE)];
            let mut question = question(kind, &original("GET", "/", &headers));
            question.extensions_mut().insert(PeerAddress(peer.parse().unwrap()));
            assert_eq!(ask(router(&gateway, kind), kind, question).await.status, status, "{kind:?} {client} {peer}");
        }
    }
}

#[tokio::test]
async fn an_id_that_is_too_long_is_500_and_a_scope_is_cut() {
    for (id, permissions, status) in [("x".repeat(512), 500, 200), ("x".repeat(513), 1, 500)] {
        let store = MemoryStore::new();
        let record = KeyRecord::for_key(id, &LIVE.parse().unwrap(), &KeyHasher::sha256());
        let record = (0..permissions).fold(record, |record, number| record.grant(format!("links{number}"), "read"));
        store.add(record).unwrap();
        let layer = tower_api_key::ApiKeyLayer::builder(store).build().unwrap();
        let gateway = Gateway::new(&layer, Require::authenticated());
        for kind in KINDS {
            let answer =
                ask(router(&gateway, kind), kind, question(kind, &original("GET", "/", &[("x-api-key", LIVE)]))).await;
            assert_eq!(answer.status_for_client(), status, "{kind:?}");
            assert!(answer.header("x-auth-scope").is_none_or(|scope| (2000..=2048).contains(&scope.len())));
        }
    }
}
