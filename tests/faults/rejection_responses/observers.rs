//! R19: every observer and custom format gets method, path, peer and request id.

use std::{convert::Infallible, sync::Arc, time::Duration};

use http::{Method, Request, Response};
use tower::{ServiceExt, service_fn};
use tower_api_key::{
    ApiKeyLayer, Outcome, Principal, Reason, RejectionFormat, Require, Scheme, layer::ApiKeyLayerBuilder,
};

use super::{Log, Peer, body, request};
use crate::support::{Api, App, Body, Fault, LIVE, UNKNOWN, add, bearer, boxed};

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

/// Every result of a request, with a synchronous and an asynchronous store.
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
            assert!(request.headers().values().all(|value| !value.is_sensitive()), "the request is unchanged");
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
        let layer = layer.observe_with(|_| panic!("a capture panics intentionally"), |_, ()| unreachable!());
        layer
            .observe_with(|_| (), |_, ()| panic!("an observer panics intentionally"))
            .observe_with(|_| 3, move |_, _| third())
    });
    let api = api.run();
    for (key, status) in [(LIVE, 200), (UNKNOWN, 401)] {
        assert_eq!(api.answer(bearer(key)).await.status, status);
        assert_eq!(std::mem::take(&mut *log.lock().unwrap()), ["first", "second", "third"]);
    }
}

/// A rejection by the layer, a guard, and a handler.
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

fn never() -> App {
    boxed(service_fn(async |_: Request<Body>| std::future::pending::<Result<Response<Body>, Infallible>>().await))
}
