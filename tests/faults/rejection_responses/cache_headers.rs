//! R15: `Cache-Control` and `Vary` of accepted and rejected requests.

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{Method, Response};
use tower::ServiceExt;
use tower_api_key::{RejectionFormat, Require, Scheme, layer::ApiKeyLayerBuilder};

use super::{INNER, Log, all, answering, body, nest, request, says_who};
use crate::support::{Api, Fault, LIVE, UNKNOWN, add, bare, bearer, method, path, with, x_api_key};

/// No HTTP cache stores a rejection, whatever its format sets. The format may set the retry time.
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

/// Every place of a key: its responses are private, and vary by all headers of the policy.
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

/// The layer has not read a key, so the response depends on none. A guard's rejection is stored by
/// no cache.
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

/// Nested layers: each adds its own headers.
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
