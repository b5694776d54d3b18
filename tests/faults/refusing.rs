//! What is answered, observed and cached: R13 to R19, P4, S7.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use allocation_counter::measure;
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response};
use http_body_util::{BodyExt, Full};
use tower::{Layer, ServiceBuilder, ServiceExt, service_fn};
use tower_api_key::{
    ApiKeyLayer, ConfigError, ConflictPolicy, Decision, KeyFormat, Outcome, Principal, Reason, RejectionFormat,
    Require, Scheme, SchemePolicy, layer::ApiKeyLayerBuilder, store::MemoryStore,
};
use tower_http::{
    cors::CorsLayer,
    sensitive_headers::SetSensitiveRequestHeadersLayer,
    trace::{DefaultMakeSpan, TraceLayer},
};

use super::support::{
    Api, App, Body, Fault, LIVE, UNKNOWN, add, bare, bearer, boxed, logs, method, path, with, x_api_key,
};

type Log<T> = Arc<Mutex<Vec<T>>>;

/// axum's `ConnectInfo`, as a server without axum would have it.
#[derive(Clone)]
struct Peer(&'static str);

fn request(verb: &str, target: &str, key: &str, id: &str) -> Request<Body> {
    let mut request = path(method(x_api_key(key), verb.parse().unwrap()), target);
    if key.is_empty() {
        request.headers_mut().remove("x-api-key");
    }
    add(&mut request, "x-request-id", id);
    request.extensions_mut().insert(Peer("192.0.2.7"));
    request
}

fn never() -> App {
    boxed(service_fn(async |_: Request<Body>| std::future::pending::<Result<Response<Body>, Infallible>>().await))
}

async fn body(response: Response<Full<Bytes>>) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

fn observing(log: &Log<String>) -> impl FnOnce(ApiKeyLayerBuilder) -> ApiKeyLayerBuilder + use<> {
    let log = Arc::clone(log);
    move |layer| {
        layer.observe_with(
            |head| {
                let id = head.headers().get("x-request-id").cloned();
                (head.extensions().get::<Peer>().map(|peer| peer.0), id, format!("{:?}", head.headers()))
            },
            move |decision, (peer, id, headers)| {
                assert!(!headers.contains(LIVE) && !headers.contains(UNKNOWN), "{headers}");
                let (method, path, outcome) = (decision.method(), decision.path(), decision.outcome().as_str());
                let line = format!("{} {} {method} {path} {outcome}", id.unwrap().to_str().unwrap(), peer.unwrap());
                log.lock().unwrap().push(line);
            },
        )
    }
}

/// Every way in which a request ends, with a store that answers at once, and with one that has to wait.
#[tokio::test]
async fn r19_an_observer_gets_method_path_peer_and_request_id_of_every_request() {
    let guard = Require::table()
        .route("GET", "/links/{id}", ("links", "read"))
        .route("PUT", "/links/{id}", ("links", "update"))
        .build()
        .unwrap();
    for fault in [Fault::None, Fault::Waits, Fault::Fails] {
        let log = Log::default();
        let api = Api::new().key("k1", LIVE, |key| key.grant("links", "read"));
        let api = api.fault(fault).guard(guard.clone()).layer(observing(&log));
        let api =
            api.layer(|layer| layer.schemes([Scheme::x_api_key(), Scheme::query("key")]).hide_credentials()).run();
        let is_down = fault == Fault::Fails;
        for (verb, target, key, outcome) in [
            ("GET", "/links/7?page=2", LIVE, if is_down { "refused" } else { "accepted" }),
            ("GET", &format!("/links/7?key={LIVE}"), "", if is_down { "refused" } else { "accepted" }),
            ("PUT", "/links/7", LIVE, "refused"),
            ("DELETE", "/links/a%2Fb", LIVE, "refused"),
            ("GET", "/", "", "refused"),
            ("GET", "/?key=", "", "refused"),
            ("BREW", "/nothing", UNKNOWN, "refused"),
        ] {
            let answer = api.answer(request(verb, target, key, "r1")).await;
            let path = target.split('?').next().unwrap();
            assert_eq!((answer.decision.method().as_str(), answer.decision.path()), (verb, path));
            let line = format!("r1 192.0.2.7 {verb} {path} {outcome}");
            assert_eq!(std::mem::take(&mut *log.lock().unwrap()), [line], "{fault:?}");
        }
    }
}

#[tokio::test]
async fn r19_method_and_path_are_known_of_requests_that_are_let_through_without_a_key() {
    let api = Api::live().layer(|layer| layer.optional().pass_preflight().skip(|path| path == "/health")).run();
    let mut preflight = request("OPTIONS", "/links", "", "r1");
    add(&mut preflight, "origin", "https://x.example");
    add(&mut preflight, "access-control-request-method", "PUT");
    for (request, outcome, path) in [
        (request("GET", "/links", "", "r1"), Outcome::Anonymous, "/links"),
        (request("GET", "/health", "", "r1"), Outcome::Skipped, "/health"),
        (preflight, Outcome::Preflight, "/links"),
    ] {
        let verb = request.method().clone();
        let decision = api.answer(request).await.decision;
        assert_eq!((decision.outcome(), decision.method(), decision.path()), (outcome, &verb, path));
    }
}

#[tokio::test(start_paused = true)]
async fn r19_an_observer_gets_the_request_of_a_caller_that_went_away() {
    for (fault, outcome) in [(Fault::Hangs, "abandoned"), (Fault::None, "accepted")] {
        let log = Log::default();
        let api = Api::live().fault(fault).layer(observing(&log)).run_over(never());
        let call = api.app.clone().oneshot(request("GET", "/slow", LIVE, "r9"));
        tokio::time::timeout(Duration::from_secs(1), call).await.expect_err("it never answers");
        assert_eq!(*log.lock().unwrap(), [format!("r9 192.0.2.7 GET /slow {outcome}")]);
    }
}

#[tokio::test]
async fn r19_an_observer_gets_the_request_that_is_authenticated_without_a_service() {
    for fault in [Fault::None, Fault::Waits] {
        for (key, outcome) in [(LIVE, "accepted"), (UNKNOWN, "refused"), ("", "refused")] {
            let log = Log::default();
            let store = Api::live().fault(fault).store;
            let layer = observing(&log)(ApiKeyLayer::builder(store)).build().unwrap();
            let request = request("GET", "/stream", key, "r3");
            let _ = layer.authenticate(&request).await;
            assert_eq!(*log.lock().unwrap(), [format!("r3 192.0.2.7 GET /stream {outcome}")]);
            assert!(request.headers().values().all(|value| !value.is_sensitive()), "the request is as it was");
        }
    }
}

#[tokio::test]
async fn r19_observers_of_both_kinds_are_called_in_order_and_a_panic_silences_its_own_alone() {
    let log: Log<&'static str> = Log::default();
    let told = |name: &'static str| {
        let log = Arc::clone(&log);
        move || log.lock().unwrap().push(name)
    };
    let (first, second, third) = (told("first"), told("second"), told("third"));
    let api = Api::live().layer(|layer| {
        let layer = layer.observe_with(|_| (), move |_, ()| first()).observe(move |_| second());
        let layer = layer.observe_with(|_| panic!("a capture panics, on purpose"), |_, ()| unreachable!());
        layer
            .observe_with(|_| (), |_, ()| panic!("an observer panics, on purpose"))
            .observe_with(|_| 3, move |_, _| third())
    });
    let api = api.run();
    for (key, status) in [(LIVE, 200), (UNKNOWN, 401)] {
        assert_eq!(api.answer(bearer(key)).await.status, status);
        assert_eq!(std::mem::take(&mut *log.lock().unwrap()), ["first", "second", "third"]);
    }
}

/// A refusal of the layer, of a guard, and of a handler.
#[tokio::test]
async fn r19_a_custom_format_gets_path_and_request_id() {
    let handler = || {
        boxed(service_fn(async |request: Request<Body>| {
            let principal = request.extensions().get::<Principal>().unwrap();
            let mut response = Response::new(Body::default());
            response.extensions_mut().extend(
                principal
                    .require("links", "archive")
                    .err()
                    .map(|rejection| {
                        let mut extensions = http::Extensions::new();
                        extensions.insert(rejection);
                        extensions
                    })
                    .unwrap_or_default(),
            );
            Ok::<_, Infallible>(response)
        }))
    };
    for fault in [Fault::None, Fault::Waits] {
        let format = RejectionFormat::custom_with(
            |head| (format!("{} {}", head.method(), head.path()), head.headers()["x-request-id"].clone()),
            |rejection, (line, id)| {
                let mut response = Response::new(format!("{line}: {:?}", rejection.reason()));
                response.headers_mut().insert("x-request-id", id);
                response
            },
        );
        let guard = Require::predicate(|_, parts| parts.method != Method::DELETE);
        let api =
            Api::live().fault(fault).layer(|layer| layer.rejection_format(format)).guard(guard).run_over(handler());
        for (verb, key, status, reason) in [
            ("GET", "", 401, Reason::Missing),
            ("GET", UNKNOWN, 401, Reason::Unknown),
            ("DELETE", LIVE, 403, Reason::Forbidden),
            ("PUT", LIVE, 403, Reason::Forbidden),
        ] {
            let response = api.app.clone().oneshot(request(verb, "/links/7?page=2", key, "r5")).await.unwrap();
            assert_eq!(response.status(), status, "{verb}");
            assert_eq!(
                (&response.headers()["x-request-id"], &response.headers()["cache-control"]),
                (&"r5".parse().unwrap(), &"no-store".parse().unwrap())
            );
            assert_eq!(body(response).await, format!("{verb} /links/7: {reason:?}"));
        }
    }
}

/// No cache keeps a refusal, whatever its format says; how long a caller waits is the format's to say.
#[tokio::test]
async fn r15_a_custom_refusal_is_kept_by_no_cache() {
    let format = RejectionFormat::custom(|_| {
        let own = Response::builder().header("cache-control", "public, max-age=60").header("retry-after", "7");
        own.body("own").unwrap()
    });
    for (fault, key, status) in [(Fault::None, UNKNOWN, 401), (Fault::Waits, "", 401), (Fault::Fails, LIVE, 503)] {
        let format = format.clone();
        let api = Api::live().fault(fault).layer(|layer| layer.rejection_format(format)).run();
        let response = api.app.clone().oneshot(request("GET", "/links", key, "r6")).await.unwrap();
        assert_eq!(response.status(), status);
        assert_eq!(all(response.headers(), "cache-control"), ["no-store"], "{status}");
        assert_eq!(all(response.headers(), "retry-after"), ["7"], "{status}");
        assert_eq!(body(response).await, "own");
    }
}

/// A layer with one key under `id`, around `inner`.
fn nest(
    id: &'static str,
    key: &str,
    edit: impl FnOnce(ApiKeyLayerBuilder) -> ApiKeyLayerBuilder,
    outcomes: &Log<(&'static str, Decision)>,
    inner: App,
) -> App {
    let log = Arc::clone(outcomes);
    let store = Api::new().key(id, key, |record| record.grant("links", "read")).store;
    let layer = edit(ApiKeyLayer::builder(store).optional().forward_identity("x-principal"));
    let layer = layer.observe(move |decision| log.lock().unwrap().push((id, decision.clone()))).build().unwrap();
    boxed(layer.layer(inner))
}

/// Says who calls, and under which forwarded name.
fn says_who() -> App {
    boxed(service_fn(async |request: Request<Body>| {
        let who = request.extensions().get::<Principal>().map_or("nobody", |key| key.id().as_str()).to_owned();
        let forwarded = request.headers().get("x-principal").map_or("nobody", |id| id.to_str().unwrap());
        assert_eq!(who, forwarded);
        Ok::<_, Infallible>(Response::new(Body::from(who)))
    }))
}

const INNER: &str = "inner_WBuTSOoRi4A9spHcVY5ncnsDkxkJ";

#[tokio::test]
async fn r14_an_optional_layer_that_finds_nothing_of_its_own_keeps_the_outer_principal() {
    let bearer_inner = || format!("Bearer {INNER}");
    for (name, headers, who, outcomes) in [
        ("the outer key", vec![("x-api-key", LIVE.to_owned())], "outer", "outer accepted, inner anonymous"),
        ("the inner key", vec![("authorization", bearer_inner())], "inner", "outer anonymous, inner accepted"),
        (
            "both",
            vec![("x-api-key", LIVE.to_owned()), ("authorization", bearer_inner())],
            "inner",
            "outer accepted, inner accepted",
        ),
        ("none", vec![], "nobody", "outer anonymous, inner anonymous"),
        (
            "the outer key, and another scheme's credential",
            vec![("x-api-key", LIVE.to_owned()), ("authorization", "Basic dTpw".to_owned())],
            "outer",
            "outer accepted, inner anonymous",
        ),
        (
            "the outer key, and an unknown inner one",
            vec![("x-api-key", LIVE.to_owned()), ("authorization", format!("Bearer {UNKNOWN}"))],
            "401",
            "outer accepted, inner refused",
        ),
        (
            "an unknown outer key",
            vec![("x-api-key", UNKNOWN.to_owned()), ("authorization", bearer_inner())],
            "401",
            "outer refused",
        ),
    ] {
        let log = Log::default();
        let inner = nest("inner", INNER, |layer| layer.schemes([Scheme::bearer()]), &log, says_who());
        let app = nest("outer", LIVE, |layer| layer.schemes([Scheme::x_api_key()]), &log, inner);
        let mut request = request("GET", "/", "", "r1");
        for (name, value) in headers {
            add(&mut request, name, value);
        }
        add(&mut request, "x-principal", "admin");
        let response = app.oneshot(request).await.unwrap();
        let status = response.status().as_u16().to_string();
        let said = body(response).await;
        assert_eq!(if status == "200" { said } else { status }, who, "{name}");
        let mut made: Vec<_> =
            log.lock().unwrap().iter().map(|(id, decision)| format!("{id} {}", decision.outcome().as_str())).collect();
        made.reverse();
        made.sort_by_key(|line| line.starts_with("inner"));
        assert_eq!(made.join(", "), outcomes, "{name}");
    }
}

/// Through a third layer too; and a layer that skips the path removes it, as its documentation says.
#[tokio::test]
async fn r14_every_optional_layer_keeps_it_and_one_that_skips_removes_it() {
    let log = Log::default();
    for (skips, who) in [(false, "outer"), (true, "nobody")] {
        let inner = nest("inner", INNER, |layer| layer.schemes([Scheme::bearer()]), &log, says_who());
        let middle =
            nest("middle", UNKNOWN, |layer| layer.schemes([Scheme::token()]).skip(move |_| skips), &log, inner);
        let app = nest("outer", LIVE, |layer| layer.schemes([Scheme::x_api_key()]), &log, middle);
        assert_eq!(body(app.oneshot(request("GET", "/", LIVE, "r1")).await.unwrap()).await, who);
    }
}

/// What a guard refuses to the outer principal is the outer layer's to render and to report, in its own format and once.
#[tokio::test]
async fn r14_a_guards_refusal_of_the_outer_principal_is_the_outer_layers() {
    let log = Log::default();
    let guarded = || boxed(Require::permission("links", "update").layer(says_who()));
    let inner =
        |layer: ApiKeyLayerBuilder| layer.schemes([Scheme::x_api_key()]).rejection_format(RejectionFormat::text());
    let outer = |layer: ApiKeyLayerBuilder| {
        layer.schemes([Scheme::bearer()]).rejection_format(RejectionFormat::json()).realm("outer")
    };
    let app = nest("outer", LIVE, outer, &log, nest("inner", INNER, inner, &log, guarded()));
    let response = app.oneshot(bearer(LIVE)).await.unwrap();
    assert_eq!(
        (response.status().as_u16(), &response.headers()["content-type"]),
        (403, &"application/json".parse().unwrap())
    );
    let challenges: Vec<_> = response.headers().get_all("www-authenticate").iter().collect();
    assert!(
        challenges.len() == 1 && challenges[0].to_str().unwrap().starts_with("Bearer realm=\"outer\""),
        "{challenges:?}"
    );
    assert!(response.extensions().get::<tower_api_key::Rejection>().is_none());
    assert_eq!(body(response).await, r#"{"error": "Forbidden", "code": "PERMISSION_DENIED"}"#);
    let log = log.lock().unwrap();
    let of = |layer: &str| {
        let decisions: Vec<_> = log.iter().filter(|(id, _)| *id == layer).map(|(_, decision)| decision).collect();
        assert_eq!(decisions.len(), 1);
        (decisions[0].outcome(), decisions[0].key_id().map(ToString::to_string))
    };
    assert_eq!(of("outer"), (Outcome::Refused(Reason::Forbidden), Some("outer".to_owned())));
    assert_eq!(of("inner"), (Outcome::Anonymous, None));
}

/// A service that answers with these headers.
fn answering(headers: &[(&'static str, &'static str)]) -> App {
    let headers = headers.to_vec();
    boxed(service_fn(move |_: Request<Body>| {
        let mut response = Response::new(Body::from("answer"));
        for (name, value) in &headers {
            response.headers_mut().append(*name, value.parse().unwrap());
        }
        std::future::ready(Ok::<_, Infallible>(response))
    }))
}

fn all(headers: &HeaderMap, name: &str) -> Vec<String> {
    headers.get_all(name).iter().map(|value| value.to_str().unwrap().to_owned()).collect()
}

/// Every place of a key: the answer to one is private, and varies over all headers of the policy.
#[tokio::test]
async fn r15_the_answer_to_a_key_is_private_and_varies_over_the_headers_that_may_carry_one() {
    let policies: [(Vec<Scheme>, &str); 6] = [
        (vec![Scheme::x_api_key()], "x-api-key"),
        (vec![Scheme::cookie("key")], "cookie"),
        (vec![Scheme::bearer(), Scheme::token(), Scheme::basic()], "authorization"),
        (vec![Scheme::query("key")], ""),
        (vec![Scheme::websocket_protocol("key"), Scheme::query("key")], "sec-websocket-protocol"),
        (
            vec![
                Scheme::bearer(),
                Scheme::x_api_key(),
                Scheme::header("X-Acme"),
                Scheme::cookie("a"),
                Scheme::query("key"),
                Scheme::cookie("key"),
            ],
            "authorization, x-api-key, x-acme, cookie",
        ),
    ];
    for (schemes, vary) in policies {
        let vary: Vec<String> = if vary.is_empty() { vec![] } else { vec![vary.to_owned()] };
        for fault in [Fault::None, Fault::Waits] {
            let api = Api::live().fault(fault).layer(|layer| layer.schemes(schemes.clone()).optional());
            let api = api.run_over(answering(&[]));
            for scheme in &schemes {
                let carrying = |key: &str| match scheme.to_string().split_once(':').unwrap() {
                    ("authorization", "Basic") => {
                        Some(with("authorization", format!("Basic {}", STANDARD.encode(format!("{key}:")))))
                    }
                    ("authorization", word) => Some(with("authorization", format!("{word} {key}"))),
                    ("header", name) => Some(with(name, key)),
                    ("cookie", name) => Some(with("cookie", format!("{name}={key}"))),
                    ("query", name) => Some(path(bare(), &format!("/?{name}={key}"))),
                    ("sec-websocket-protocol", name) => Some(with("sec-websocket-protocol", format!("{name}, {key}"))),
                    _ => None,
                };
                let accepted = api.answer(carrying(LIVE).unwrap()).await;
                assert_eq!((accepted.status.as_u16(), accepted.body), (200, "answer".into()), "{scheme}");
                assert_eq!(all(&accepted.headers, "cache-control"), ["private"], "{scheme}");
                assert_eq!(all(&accepted.headers, "vary"), vary, "{scheme}");
                let refused = api.answer(carrying(UNKNOWN).unwrap()).await;
                assert_eq!(refused.status, 401);
                assert_eq!(
                    (all(&refused.headers, "cache-control"), all(&refused.headers, "vary")),
                    (vec!["no-store".to_owned()], vary.clone())
                );
            }
            let anonymous = api.answer(bare()).await;
            assert_eq!(
                all(&anonymous.headers, "cache-control"),
                Vec::<String>::new(),
                "all callers without a key get the same"
            );
            assert_eq!(all(&anonymous.headers, "vary"), vary);
        }
    }
}

#[tokio::test]
async fn r15_what_the_service_says_to_caches_counts_and_its_vary_is_merged() {
    for (own, cache_control, vary) in [
        (vec![], vec!["private"], "authorization, x-api-key"),
        (vec![("cache-control", "public, max-age=60")], vec!["public, max-age=60"], "authorization, x-api-key"),
        (vec![("cache-control", "no-store")], vec!["no-store"], "authorization, x-api-key"),
        (vec![("vary", "Accept-Encoding")], vec!["private"], "Accept-Encoding, authorization, x-api-key"),
        (vec![("vary", "accept, X-API-KEY")], vec!["private"], "accept, X-API-KEY, authorization"),
        (vec![("vary", "Authorization ,x-api-key,origin")], vec!["private"], "Authorization ,x-api-key,origin"),
        (vec![("vary", "origin"), ("vary", "Authorization")], vec!["private"], "origin, Authorization, x-api-key"),
        (vec![("vary", "x-api-key-2")], vec!["private"], "x-api-key-2, authorization, x-api-key"),
        (vec![("vary", "")], vec!["private"], "authorization, x-api-key"),
        (vec![("vary", "*")], vec!["private"], "*"),
        (vec![("vary", "origin, *")], vec!["private"], "origin, *"),
    ] {
        let api = Api::live().layer(ApiKeyLayerBuilder::optional).run_over(answering(&own));
        for request in [x_api_key(LIVE), bearer(LIVE)] {
            let answer = api.answer(request).await;
            assert_eq!(all(&answer.headers, "cache-control"), cache_control, "{own:?}");
            assert_eq!(all(&answer.headers, "vary"), [vary], "{own:?}");
        }
        let anonymous = api.answer(bare()).await;
        assert_eq!(
            anonymous.headers.contains_key("cache-control"),
            own.iter().any(|(name, _)| *name == "cache-control")
        );
        assert_eq!(all(&anonymous.headers, "vary"), [vary], "{own:?}");
    }
}

/// The layer has not looked for a key, so nothing depends on one; and a guard's refusal is stored nowhere.
#[tokio::test]
async fn r15_skipped_paths_and_preflights_are_left_alone_and_a_guards_refusal_is_not() {
    let api = Api::live().layer(|layer| layer.pass_preflight().skip(|path| path == "/health"));
    let api = api
        .guard(Require::predicate(|_, parts| parts.uri.path() != "/forbidden"))
        .run_over(answering(&[("vary", "origin")]));
    let mut preflight = method(bare(), Method::OPTIONS);
    add(&mut preflight, "origin", "https://x.example");
    add(&mut preflight, "access-control-request-method", "PUT");
    let passed = api.answer(preflight).await;
    assert_eq!((passed.status.as_u16(), all(&passed.headers, "vary")), (200, vec!["origin".to_owned()]));
    assert!(!passed.headers.contains_key("cache-control"));
    let forbidden = api.answer(path(x_api_key(LIVE), "/forbidden")).await;
    assert_eq!(
        (forbidden.status.as_u16(), all(&forbidden.headers, "vary")),
        (403, vec!["authorization, x-api-key".to_owned()])
    );
    assert_eq!(all(&forbidden.headers, "cache-control"), ["no-store"]);
}

/// Nested layers: each adds the headers of its own.
#[tokio::test]
async fn r15_nested_layers_vary_over_the_headers_of_both() {
    let log = Log::default();
    let inner = nest("inner", INNER, |layer| layer.schemes([Scheme::bearer()]), &log, says_who());
    let app = nest("outer", LIVE, |layer| layer.schemes([Scheme::x_api_key()]), &log, inner);
    for (request, cache_control) in
        [(bearer(INNER), vec!["private".to_owned()]), (x_api_key(LIVE), vec!["private".to_owned()]), (bare(), vec![])]
    {
        let response = app.clone().oneshot(request).await.unwrap();
        assert_eq!(all(response.headers(), "vary"), ["authorization, x-api-key"]);
        assert_eq!(all(response.headers(), "cache-control"), cache_control);
    }
}

const GRPC_TYPES: [&str; 7] = [
    "application/grpc",
    "application/grpc+proto",
    "Application/GRPC; charset=x",
    "application/grpc-web",
    "application/grpc-web-text+proto",
    "application/grpcfoo",
    "application/grpc, text/html",
];

/// Every content type, refused by the layer and by a guard, with every fault of the key and of the store.
#[tokio::test]
async fn r17_a_refusal_is_never_a_success_whatever_the_content_type() {
    for format in [
        RejectionFormat::problem_json(),
        RejectionFormat::json(),
        RejectionFormat::text(),
        RejectionFormat::custom(|_| Response::new("own")),
    ] {
        for grpc_client in [false, true] {
            let api = Api::live().layer(|layer| layer.rejection_format(format.clone()));
            let api =
                api.guard(Require::predicate(|_, parts| parts.uri.path() != "/forbidden").hide_as_not_found()).run();
            for content_type in GRPC_TYPES {
                for (target, key, fault, status) in [
                    ("/", "", Fault::None, 401),
                    ("/", "a b", Fault::None, 401),
                    ("/", UNKNOWN, Fault::None, 401),
                    ("/", UNKNOWN, Fault::Waits, 401),
                    ("/forbidden", LIVE, Fault::None, 404),
                    ("/", LIVE, Fault::Fails, 503),
                ] {
                    api.store.set(fault);
                    let mut request = request("POST", target, key, "r1");
                    add(&mut request, "content-type", content_type);
                    if grpc_client {
                        add(&mut request, "te", "trailers");
                    }
                    let response = api.app.clone().oneshot(request).await.unwrap();
                    assert_eq!(response.status(), status, "{content_type}");
                    let headers = response.headers().clone();
                    assert!(!headers.contains_key("grpc-status") && !headers.contains_key("grpc-message"));
                    assert_eq!(headers.contains_key("www-authenticate"), status == 401);
                    let body = body(response).await;
                    let is_told_by_status_alone = grpc_client && content_type.len() >= 16;
                    assert_eq!(body.is_empty(), is_told_by_status_alone, "{content_type}");
                    assert_eq!(headers["content-length"], body.len().to_string());
                }
            }
        }
    }
}

/// A guard and an extractor do not know what the layer serves.
#[tokio::test]
async fn r17_a_guard_answers_with_an_http_status_and_the_layer_makes_grpc_of_it() {
    let guard = Require::permission("links", "update");
    for (content_type, status) in [("application/grpc", "7"), ("application/grpc-web", "7"), ("application/json", "")] {
        let mut post = request("POST", "/", LIVE, "r1");
        add(&mut post, "content-type", content_type);
        let response = guard.layer(answering(&[])).oneshot(clone(&post)).await.unwrap();
        assert_eq!(response.status(), 500, "a guard without a layer");
        let api = Api::live().layer(ApiKeyLayerBuilder::grpc).guard(guard.clone()).run();
        let answer = api.answer(clone(&post)).await;
        let grpc_status = answer.headers.get("grpc-status").map_or("", |status| status.to_str().unwrap());
        assert_eq!((answer.status.as_u16(), grpc_status), (if status.is_empty() { 403 } else { 200 }, status));
        let response = Api::live().guard(guard.clone()).run().app.oneshot(post).await.unwrap();
        assert_eq!(response.status(), 403);
    }
}

fn clone(request: &Request<Body>) -> Request<Body> {
    request.clone()
}

/// A format of one's own is no way to a success either.
#[tokio::test]
async fn r17_a_custom_refusal_is_an_error_or_a_redirect() {
    for code in 100..600_u16 {
        for location in [false, true] {
            let own = RejectionFormat::custom(move |_| {
                let response = Response::builder().status(code);
                let response = if location { response.header("location", "/sign-in") } else { response };
                response.body("own").unwrap()
            });
            let is_kept = code >= 400 || (code >= 300 && code != 304 && location);
            let app = Api::live().layer(|layer| layer.rejection_format(own)).run().app;
            let response = app.oneshot(bare()).await.unwrap();
            assert_eq!(response.status(), if is_kept { code } else { 401 }, "{code}");
            assert!(response.headers().contains_key("www-authenticate"), "{code}");
        }
    }
}

/// tower-http around the layer, in the order of the guide: a 401 has the headers of CORS, and no log line shows a key.
#[tokio::test]
async fn p4_cors_outside_of_the_layer_covers_refusals_and_a_trace_with_headers_shows_no_key() {
    let policy = [
        Scheme::bearer(),
        Scheme::x_api_key(),
        Scheme::header_with_prefix("x-acme", "Key"),
        Scheme::cookie("session"),
        Scheme::websocket_protocol("api-key"),
    ];
    let auth = ApiKeyLayer::builder(Api::live().store).schemes(policy).build().unwrap();
    let names: Vec<_> = auth.schemes().header_names().collect();
    assert_eq!(names, ["authorization", "x-api-key", "x-acme", "cookie", "sec-websocket-protocol"]);
    let cors = CorsLayer::new()
        .allow_origin("https://x.example".parse::<http::HeaderValue>().unwrap())
        .allow_headers([http::header::AUTHORIZATION]);
    let trace = TraceLayer::new_for_http()
        .make_span_with(DefaultMakeSpan::new().include_headers(true).level(tracing::Level::INFO));
    let app = ServiceBuilder::new()
        .layer(SetSensitiveRequestHeadersLayer::new(auth.schemes().header_names()))
        .layer(trace)
        .layer(cors)
        .layer(auth)
        .service(answering(&[]));
    logs::watch_for([LIVE, UNKNOWN].map(str::to_owned));
    logs::take();
    for key in [LIVE, UNKNOWN] {
        for (name, value) in [
            ("authorization", format!("Bearer {key}")),
            ("x-api-key", key.to_owned()),
            ("x-acme", format!("Key {key}")),
            ("cookie", format!("session={key}")),
            ("sec-websocket-protocol", format!("api-key, {key}")),
        ] {
            let mut request = with(name, value);
            add(&mut request, "origin", "https://x.example");
            let response = app.clone().oneshot(request).await.unwrap();
            assert_eq!(response.status(), if key == LIVE { 200 } else { 401 }, "{name}");
            assert_eq!(response.headers()["access-control-allow-origin"], "https://x.example");
        }
    }
    let mut preflight = method(bare(), Method::OPTIONS);
    add(&mut preflight, "origin", "https://x.example");
    add(&mut preflight, "access-control-request-method", "GET");
    let response = app.clone().oneshot(preflight).await.unwrap();
    assert_eq!(
        (response.status().as_u16(), &response.headers()["access-control-allow-headers"]),
        (200, &"authorization".parse().unwrap())
    );
    logs::assert_clean();
    let lines = logs::take();
    assert!(lines.contains("Sensitive") && lines.contains("headers="), "the trace shows headers: {lines}");
}

/// What is kept of a layer for good is kept once: a layer of the same settings adds nothing, and one of other settings a bounded amount.
#[test]
fn s7_a_layer_of_known_settings_keeps_nothing_more() {
    let build = |number: usize| {
        let schemes = [Scheme::header(format!("x-key-{number}")), Scheme::cookie(format!("key-{number}"))];
        let keys = MemoryStore::new();
        ApiKeyLayer::builder(keys).schemes(schemes).realm(format!("realm {number}")).build().unwrap()
    };
    let layers = 300;
    (0..layers).map(build).for_each(drop);
    let again = measure(|| (0..layers).map(build).for_each(drop));
    assert_eq!(again.bytes_current, 0);
    let others = measure(|| (layers..2 * layers).map(build).for_each(drop));
    assert!(others.bytes_current < 8_192 * i64::try_from(layers).unwrap(), "{} bytes", others.bytes_current);
    assert_eq!(build(5).schemes().schemes()[0], Scheme::header("x-key-5"));
}

const OURS: &str = "acme_0123456789012345678901234567890123456789";

/// Every kind of place with a JWT in it, short and long, beside the inner service that reads it.
#[tokio::test]
async fn r13_what_has_none_of_the_formats_belongs_to_another_layer() {
    let long = format!("eyJhbGciOiJIUzI1NiJ9.{}.c2ln", "e30x".repeat(300));
    let kept: Log<Request<()>> = Log::default();
    let inner = |kept: &Log<Request<()>>| {
        let kept = Arc::clone(kept);
        boxed(service_fn(move |request: Request<Body>| {
            kept.lock().unwrap().push(request.map(drop));
            std::future::ready(Ok::<_, Infallible>(Response::new(Body::default())))
        }))
    };
    let all = || {
        let headers =
            [Scheme::bearer(), Scheme::basic(), Scheme::x_api_key(), Scheme::header_with_prefix("x-acme", "Key")];
        headers
            .into_iter()
            .chain([Scheme::query("key"), Scheme::cookie("key"), Scheme::websocket_protocol("api-key")])
            .collect::<Vec<_>>()
    };
    for foreign in ["aaa.bbb.ccc", "0123456789abcdef", &long] {
        for (name, request) in [
            ("bearer", with("authorization", format!("bearer  {foreign}"))),
            ("basic", with("authorization", format!("Basic {}", STANDARD.encode(format!("login:{foreign}"))))),
            ("not base64", with("authorization", format!("Basic .{foreign}"))),
            ("private", with("x-api-key", foreign)),
            ("word", with("x-acme", format!("Key {foreign}"))),
            ("another word", with("x-acme", format!("JWT {foreign}"))),
            ("query", path(bare(), &format!("/?a=1&key={foreign}"))),
            ("cookie", with("cookie", format!("a=1; key={foreign}"))),
            ("protocol", with("sec-websocket-protocol", format!("a, api-key, {foreign}"))),
        ] {
            for (optional, ignores) in [(true, true), (false, true), (true, false)] {
                let api = Api::new().key("k1", LIVE, |key| key).layer(|layer| {
                    let layer =
                        layer.formats([KeyFormat::new("acme").unwrap(), KeyFormat::foreign("ak", ".", 3).unwrap()]);
                    let layer = layer.schemes(all()).hide_credentials();
                    let layer = if optional { layer.optional() } else { layer };
                    if ignores { layer.ignore_other_formats() } else { layer }
                });
                let answer = api.run_over(inner(&kept)).answer(request.clone()).await;
                let request_inside = kept.lock().unwrap().pop();
                if optional && ignores {
                    assert_eq!(answer.decision.outcome(), Outcome::Anonymous, "{name} {foreign}");
                    let inside = request_inside.unwrap();
                    assert_eq!((inside.uri(), inside.headers()), (request.uri(), request.headers()), "{name}");
                } else {
                    assert_eq!(answer.status, 401, "{name} {foreign}");
                    let Outcome::Refused(reason) = answer.decision.outcome() else { panic!("{name}") };
                    let is_missing = matches!(reason, Reason::Missing | Reason::WrongScheme);
                    assert_eq!(is_missing, ignores, "{name} {foreign}");
                }
            }
        }
    }
}

/// A key of ours counts beside a foreign credential, under every rule, and alone is hidden.
#[tokio::test]
async fn r13_a_key_of_ours_does_not_conflict_with_a_foreign_credential() {
    let format = KeyFormat::new("acme").unwrap();
    let key = format.generate().unwrap();
    for conflict in [ConflictPolicy::Reject, ConflictPolicy::AllowIdentical, ConflictPolicy::FirstWins] {
        for fault in [Fault::None, Fault::Waits] {
            let kept: Log<Request<()>> = Log::default();
            let keeping = Arc::clone(&kept);
            let inner = boxed(service_fn(move |request: Request<Body>| {
                keeping.lock().unwrap().push(request.map(drop));
                std::future::ready(Ok::<_, Infallible>(Response::new(Body::default())))
            }));
            let schemes = [Scheme::bearer(), Scheme::x_api_key(), Scheme::cookie("key"), Scheme::query("key")];
            let policy = SchemePolicy::new(schemes).on_conflict(conflict);
            let api = Api::new().key("k1", key.expose(), |record| record).fault(fault).layer(|layer| {
                layer.schemes(policy).formats([format.clone()]).ignore_other_formats().hide_credentials()
            });
            let api = api.run_over(inner);
            let mut request = path(with("authorization", "Bearer aaa.bbb.ccc"), "/?key=abc&page=2");
            add(&mut request, "x-api-key", key.expose());
            add(&mut request, "cookie", "a=1; key=session");
            let answer = api.answer(request).await;
            assert_eq!(answer.decision.key_id().map(ToString::to_string), Some("k1".to_owned()), "{conflict:?}");
            let inside = kept.lock().unwrap().pop().unwrap();
            assert_eq!(inside.headers()["authorization"], "Bearer aaa.bbb.ccc");
            assert_eq!(inside.headers()["cookie"], "a=1; key=session");
            assert_eq!(inside.uri(), "/?key=abc&page=2");
            assert!(!inside.headers().contains_key("x-api-key"));
            assert!(inside.headers().values().all(http::HeaderValue::is_sensitive));
            // Two keys of ours are two keys still.
            let mut two = with("authorization", format!("Bearer {OURS}"));
            add(&mut two, "x-api-key", key.expose());
            assert_eq!(api.answer(two).await.status, 401, "{conflict:?}");
        }
    }
}

/// A mistyped key is ours: let through as anonymous, its sender would wonder.
#[tokio::test]
async fn r13_a_mistyped_key_of_ours_is_refused_by_an_optional_layer_too() {
    let layer = |layer: ApiKeyLayerBuilder| {
        let formats = [KeyFormat::new("acme").unwrap(), KeyFormat::foreign("ak", ".", 3).unwrap()];
        layer.optional().formats(formats).ignore_other_formats().schemes([
            Scheme::bearer(),
            Scheme::basic(),
            Scheme::x_api_key(),
        ])
    };
    let long = format!("acme_{}", "a".repeat(900));
    for value in [
        OURS,
        "acme_",
        "acme_typo",
        "ACME_typo",
        "acme_a b",
        "Bearer acme_typo",
        "\"acme_typo\"",
        "<acme_typo>",
        "eyJ, acme_typo",
        "ak.id.secret",
        "ak.id",
        "ak.a.b.c",
        &long,
    ] {
        let basic = STANDARD.encode(format!("{value}:"));
        let password = STANDARD.encode(format!("token:{value}"));
        for request in [
            with("authorization", format!("Bearer {value}")),
            with("x-api-key", value),
            with("authorization", format!("Basic {basic}")),
            with("authorization", format!("Basic {password}")),
        ] {
            let answer = Api::new().layer(layer).run().answer(request).await;
            assert_eq!(answer.status, 401, "{value}");
        }
    }
    // As ever: an empty place is nobody's, and a header that is given twice is refused, whatever it holds.
    let mut twice = with("authorization", "Bearer aaa.bbb.ccc");
    add(&mut twice, "authorization", "Bearer ddd.eee.fff");
    for request in [with("x-api-key", ""), with("authorization", "Bearer"), twice] {
        assert_eq!(Api::new().layer(layer).run().answer(request).await.status, 401);
    }
}

#[tokio::test]
async fn r13_the_setting_needs_a_format_and_holds_without_a_service_too() {
    let layer = ApiKeyLayer::builder(MemoryStore::new()).ignore_other_formats();
    assert_eq!(layer.build().err(), Some(ConfigError::NoFormat));
    let layer =
        ApiKeyLayer::builder(MemoryStore::new()).formats([KeyFormat::new("acme").unwrap()]).ignore_other_formats();
    let layer = layer.build().unwrap();
    for (value, is_ours) in [("aaa.bbb.ccc", false), ("acme_typo", true)] {
        let rejection = layer.authenticate(&bearer(value)).await.unwrap_err();
        assert_eq!(matches!(rejection.reason(), Reason::Missing | Reason::WrongScheme), !is_ours, "{value}");
    }
}
