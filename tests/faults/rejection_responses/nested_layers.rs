//! R14: layers inside one another keep the right principal.

use tower::{Layer, ServiceExt};
use tower_api_key::{Outcome, Reason, RejectionFormat, Require, Scheme, layer::ApiKeyLayerBuilder};

use super::{INNER, Log, body, nest, request, says_who};
use crate::support::{LIVE, UNKNOWN, add, bearer, boxed};

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

/// Through a third layer too. A layer that skips the path removes it, as documented.
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

/// A guard's rejection of the outer principal is rendered and reported by the outer layer, in its
/// own format and once.
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
