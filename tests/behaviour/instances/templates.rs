//! Tests what a response and a document say about an instance.

use super::*;
use crate::support::Answer;
use tower_api_key::layer::ApiKeyLayerBuilder;

fn api(permissions: Permissions, layer: impl FnOnce(ApiKeyLayerBuilder) -> ApiKeyLayerBuilder) -> TestApi {
    let key = |record: KeyRecord| record.with_permissions(permissions);
    Api::new().key("live", LIVE, key).layer(layer).guard(in_table()).run()
}

fn missing(answer: &Answer) -> Vec<String> {
    answer.decision.missing_permissions().iter().map(ToString::to_string).collect()
}

fn challenge(answer: &Answer) -> &str {
    answer.headers["www-authenticate"].to_str().unwrap()
}

#[tokio::test]
async fn a_403_names_the_permission_with_its_instance() {
    let api = api(Permissions::new(), |layer| layer);
    for (target, named, scope) in [
        ("/projects/123", "project:123:read", Some("project:123:read")),
        ("/projects/%31", "project:1:read", Some("project:1:read")),
        ("/projects/caf%C3%A9", "project:caf\u{e9}:read", None),
        ("/projects/a%20b", "project:a b:read", None),
        ("/projects/a%22b", "project:a\"b:read", None),
    ] {
        let answer = api.answer(to(target)).await;
        assert_eq!(missing(&answer), [named]);
        let scope = scope.map(|scope| format!(r#"scope="{scope}""#));
        assert_eq!(scope.as_ref().map(|scope| challenge(&answer).contains(scope)), scope.as_ref().map(|_| true));
        assert_eq!(challenge(&answer).contains("scope="), scope.is_some(), "{target}");
        #[cfg(feature = "serde")]
        {
            let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
            let detail = format!("The API key may not do this. It lacks the permission {named}.");
            assert_eq!(body["detail"], detail);
        }
    }
    let either = Require::any([Require::permission("admin", "read"), in_path()]);
    let answer = reading(&[], either).answer(to("/projects/123")).await;
    assert_eq!(missing(&answer), ["admin:read", "project:123:read"]);
}

#[tokio::test]
async fn a_path_that_names_no_instance_leads_to_a_403_without_a_name() {
    let api = api(everything(), |layer| layer);
    for target in ["/projects/*", "/projects/1:2", "/projects/%2537", "/projects/7;x"] {
        let answer = api.answer(to(target)).await;
        assert_eq!((answer.status.as_u16(), missing(&answer)), (403, Vec::new()), "{target}");
        assert!(!challenge(&answer).contains("scope="), "{target}");
    }
}

/// A name from a path may be as long as the path.
#[tokio::test]
async fn a_long_instance_is_not_repeated() {
    let answer = api(Permissions::new(), |layer| layer).answer(to(&format!("/projects/{}", "x".repeat(4000)))).await;
    assert!(answer.body.len() < 1000 && challenge(&answer).len() < 1000);
}

#[tokio::test]
async fn hidden_details_do_not_depend_on_the_instance() {
    let api = api(Permissions::new().grant("project:1", "read"), ApiKeyLayerBuilder::hide_forbidden_details);
    let (one, other) = (api.answer(to("/projects/2")).await, api.answer(to("/projects/*")).await);
    assert_eq!((one.status, one.body, one.headers), (other.status, other.body, other.headers));
    assert_eq!(missing(&api.answer(to("/projects/2")).await), ["project:2:read"]);
}

#[test]
fn a_guard_shows_its_parameter() {
    assert_eq!(format!("{:?}", Require::permission("project:{id}", "read")), "Require(project:{id}:read)");
    assert_eq!(format!("{:?}", Require::by_method("project:{id}")), "Require(project:{id} by method)");
}
