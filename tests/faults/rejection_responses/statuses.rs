//! R17: a rejection never has a status of success, and gRPC gets it in trailers.

use http::{Request, Response};
use tower::{Layer, ServiceExt};
use tower_api_key::{RejectionFormat, Require, layer::ApiKeyLayerBuilder};

use super::{answering, body, request};
use crate::support::{Api, Body, Fault, LIVE, UNKNOWN, add, bare};

const GRPC_TYPES: [&str; 7] = [
    "application/grpc",
    "application/grpc+proto",
    "Application/GRPC; charset=x",
    "application/grpc-web",
    "application/grpc-web-text+proto",
    "application/grpcfoo",
    "application/grpc, text/html",
];

/// Every content type, rejected by the layer and by a guard, with every fault of the key and of the
/// store.
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

/// A guard and an extractor do not know the protocol that the layer serves.
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

/// A custom format cannot turn a rejection into a success.
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
