//! R13: a credential in none of the formats of this layer belongs to another layer.

use std::{convert::Infallible, sync::Arc};

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{Request, Response};
use tower::service_fn;
use tower_api_key::{
    ApiKeyLayer, ConfigError, ConflictPolicy, KeyFormat, Outcome, Reason, Scheme, SchemePolicy,
    layer::ApiKeyLayerBuilder, store::MemoryStore,
};

use super::Log;
use crate::support::{Api, Body, Fault, LIVE, add, bare, bearer, boxed, path, with};

const OURS: &str = "acme_0123456789012345678901234567890123456789";

/// Every kind of place with a JWT in it, short and long, in front of an inner service that reads
/// it.
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

/// A key of ours is used next to a foreign credential, under every conflict policy. A foreign
/// credential alone is ignored.
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
            // Two keys of ours still conflict.
            let mut two = with("authorization", format!("Bearer {OURS}"));
            add(&mut two, "x-api-key", key.expose());
            assert_eq!(api.answer(two).await.status, 401, "{conflict:?}");
        }
    }
}

/// A mistyped key is ours: if it were accepted as anonymous, the client would not notice.
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
    // As before: an empty place belongs to no scheme, and a repeated header is rejected, whatever
    // its values.
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
