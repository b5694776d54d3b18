//! Every kind of gateway with every outcome.

use std::time::Duration;

use http::Request;
use tower_api_key::{
    Rejection, RejectionFormat, Require, Scheme,
    gateway::{Gateway, GatewayKind},
    layer::ApiKeyLayerBuilder,
};

use super::{Answered, KINDS, ask, ask_about, layer, original, question, router, table};
use crate::support::{Api, Fault, LIVE, UNKNOWN};

/// Asks with a layer and a guard of the test.
async fn ask_with(
    kind: GatewayKind,
    edit: impl FnOnce(ApiKeyLayerBuilder) -> ApiKeyLayerBuilder,
    guard: Require,
    original: &Request<()>,
) -> Answered {
    let gateway = Gateway::new(&layer(edit), guard);
    ask(router(&gateway, kind), kind, question(kind, original)).await
}

fn with_key(key: &str) -> Request<()> {
    original("GET", "/links/7?page=2", &[("x-api-key", key)])
}

#[tokio::test]
async fn an_accepted_key_is_200_with_its_identity() {
    for kind in KINDS {
        let answer = ask_about(kind, &with_key(LIVE)).await;
        assert_eq!(answer.status, 200, "{kind:?}");
        assert_eq!(answer.header("x-auth-key-id"), Some("live"));
        assert_eq!(answer.header("x-auth-owner"), Some("user:alice"));
        assert_eq!(answer.header("x-auth-organization"), Some("acme"));
        assert_eq!(answer.header("x-auth-environment"), Some("live"));
        assert_eq!(answer.header("x-auth-scope"), Some("links:create links:read"));
        let removed = answer.header("x-envoy-auth-headers-to-remove");
        assert_eq!(removed, (kind == GatewayKind::Envoy).then_some("x-api-key"));
    }
}

#[tokio::test]
async fn a_request_that_needs_no_key_is_200_with_empty_headers() {
    let preflight =
        original("OPTIONS", "/links", &[("origin", "https://a.example"), ("access-control-request-method", "GET")]);
    for kind in KINDS {
        for (original, edit) in [
            (original("GET", "/health", &[]), (|layer| layer.optional()) as fn(ApiKeyLayerBuilder) -> _),
            (original("GET", "/public", &[]), |layer: ApiKeyLayerBuilder| layer.skip(|path| path == "/public")),
            (original("GET", "/health", &[("x-auth-owner", "root")]), |layer| layer.optional()),
            (preflight.clone(), |layer| layer.pass_preflight()),
        ] {
            let guard =
                if original.uri() == "/public" { Require::table().open("/public").build().unwrap() } else { table() };
            let answer = ask_with(kind, edit, guard, &original).await;
            assert_eq!(answer.status, 200, "{kind:?} {original:?}");
            for name in super::IDENTITY {
                assert_eq!(answer.header(name), Some(""), "{kind:?} {name}");
            }
        }
    }
}

#[tokio::test]
async fn each_refusal_is_what_the_layer_says_in_the_form_of_the_gateway() {
    let hidden = || Require::permission("admin", "read").hide_as_not_found();
    let limited = || Require::check(|_, _| Err(Rejection::too_many_requests(Duration::from_secs(7))));
    let unavailable = || Require::check(|_, _| Err(Rejection::unavailable()));
    for kind in KINDS {
        for (guard, original, status, retry_after) in [
            (table(), original("GET", "/links/7", &[]), 401, None),
            (table(), with_key(UNKNOWN), 401, None),
            (table(), original("DELETE", "/links/7", &[("x-api-key", LIVE)]), 403, None),
            (table(), original("GET", "/forgotten", &[("x-api-key", LIVE)]), 403, None),
            (hidden(), with_key(LIVE), 404, None),
            (limited(), with_key(LIVE), 429, Some("7")),
            (unavailable(), with_key(LIVE), 503, Some("1")),
        ] {
            let answer = ask_with(kind, |layer| layer, guard, &original).await;
            assert_eq!(answer.status_for_client(), status, "{kind:?} {answer:?}");
            assert_eq!(answer.header("retry-after"), retry_after, "{kind:?} {status}");
            assert_eq!(answer.header("www-authenticate").is_some(), status == 401, "{kind:?} {status}");
            let changed = kind == GatewayKind::Nginx && ![401, 403].contains(&status);
            assert_eq!(answer.header("x-auth-status").is_some(), changed, "{kind:?} {status}");
            assert!(answer.body.contains("\"status\""), "the body of the layer: {answer:?}");
        }
    }
}

#[tokio::test]
async fn a_store_that_fails_is_503() {
    for kind in KINDS {
        for fault in [Fault::Fails, Fault::Panics, Fault::PanicsAtOnce] {
            let api = Api::live().fault(fault);
            let layer = tower_api_key::ApiKeyLayer::builder(api.store.clone()).build().unwrap();
            let gateway = Gateway::new(&layer, table());
            let answer = ask(router(&gateway, kind), kind, question(kind, &with_key(LIVE))).await;
            assert_eq!(answer.status_for_client(), 503, "{kind:?} {fault:?}");
            assert_eq!(answer.header("retry-after"), Some("1"));
        }
    }
}

#[tokio::test]
async fn a_custom_format_is_sent_and_is_never_a_2xx() {
    let teapot = RejectionFormat::custom(|_| http::Response::builder().status(418).body("short").unwrap());
    let accepting = RejectionFormat::custom(|_| http::Response::new("fine"));
    for kind in KINDS {
        let answer = ask_with(kind, |layer| layer.rejection_format(teapot.clone()), table(), &with_key(UNKNOWN)).await;
        assert_eq!((answer.status_for_client(), answer.body.as_str()), (418, "short"), "{kind:?}");
        let answer =
            ask_with(kind, |layer| layer.rejection_format(accepting.clone()), table(), &with_key(UNKNOWN)).await;
        assert_eq!(answer.status_for_client(), 401, "{kind:?}");
    }
}

/// A client chooses the content type, and the layer serves gRPC too.
#[tokio::test]
async fn a_refusal_of_grpc_is_never_a_2xx() {
    for kind in KINDS {
        for content_type in ["application/grpc", "application/grpc-web+proto", "APPLICATION/GRPC"] {
            for te in ["trailers", "x"] {
                for (key, status) in [(UNKNOWN, 401), ("", 401), (LIVE, 403)] {
                    let headers = [("content-type", content_type), ("te", te), ("x-api-key", key)];
                    let original = original("POST", "/admin", &headers);
                    let answer = ask_with(kind, ApiKeyLayerBuilder::grpc, table(), &original).await;
                    assert_eq!(answer.status, status, "{kind:?} {content_type}");
                }
            }
        }
        // The guard sees the content type.
        let guard = Require::predicate(|_, parts| {
            parts.headers.get("content-type").is_some_and(|own| own == "application/grpc")
        });
        let original = original("POST", "/x.Y/Z", &[("content-type", "application/grpc"), ("x-api-key", LIVE)]);
        assert_eq!(ask_with(kind, ApiKeyLayerBuilder::grpc, guard, &original).await.status, 200, "{kind:?}");
    }
}

#[tokio::test]
async fn a_websocket_key_is_read_and_no_protocol_is_selected() {
    for kind in KINDS {
        for (key, status) in [(LIVE, 200), (UNKNOWN, 401)] {
            let protocols = format!("chat, api-key, {key}");
            let headers = [("upgrade", "websocket"), ("sec-websocket-protocol", protocols.as_str())];
            let schemes = |layer: ApiKeyLayerBuilder| layer.schemes([Scheme::websocket_protocol("api-key")]);
            let answer = ask_with(kind, schemes, table(), &original("GET", "/links", &headers)).await;
            assert_eq!(answer.status, status, "{kind:?}");
            assert_eq!(answer.header("sec-websocket-protocol"), None);
            assert_eq!(answer.header("x-envoy-auth-headers-to-remove"), None);
        }
    }
}

#[tokio::test]
async fn a_key_in_the_query_of_the_original_target_is_read() {
    for kind in KINDS {
        for (key, status) in [(LIVE, 200), (UNKNOWN, 401)] {
            let original = original("GET", &format!("/links?page=2&key={key}"), &[]);
            let answer = ask_with(kind, |layer| layer.schemes([Scheme::query("key")]), table(), &original).await;
            assert_eq!(answer.status, status, "{kind:?}");
        }
    }
}

/// Envoy removes what the answer lists: the headers with a key, and no other.
#[tokio::test]
async fn envoy_removes_each_header_with_a_key_and_no_other() {
    let all = [Scheme::bearer(), Scheme::x_api_key(), Scheme::cookie("key")];
    let key = format!("key={LIVE}");
    let with_another = format!("theme=dark; key={LIVE}");
    let bearer = format!("Bearer {LIVE}");
    for (headers, removed) in [
        (vec![("authorization", bearer.as_str())], Some("authorization")),
        (vec![("authorization", "Basic dTpw"), ("x-api-key", LIVE)], Some("x-api-key")),
        (vec![("cookie", key.as_str())], Some("cookie")),
        (vec![("cookie", with_another.as_str())], None),
    ] {
        let schemes = |layer: ApiKeyLayerBuilder| layer.schemes(all.clone());
        let answer = ask_with(GatewayKind::Envoy, schemes, table(), &original("GET", "/links", &headers)).await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("x-envoy-auth-headers-to-remove")),
            (200, removed),
            "{headers:?}"
        );
    }
}
