//! R9, R20: a 403 names the missing permission, or says that no row lists the route.

use crate::support::{Answer, Api, Body, LIVE, TestApi, add, bearer, method, path, x_api_key};
use http::{Method, Request};
use tower_api_key::{Owner, Reason, RejectionFormat, Require, layer::ApiKeyLayerBuilder};

const PLAIN: &str = "The API key may not do this.";

fn api(guard: Require, layer: impl FnOnce(ApiKeyLayerBuilder) -> ApiKeyLayerBuilder) -> TestApi {
    let key = |key: tower_api_key::KeyRecord| key.grant("held", "read").with_organization("acme");
    Api::new().key("k1", LIVE, key).layer(layer).guard(guard).run()
}

fn detail(answer: &Answer) -> String {
    let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!((body["title"].as_str(), body["status"].as_u64()), (Some("Forbidden"), Some(403)));
    body["detail"].as_str().unwrap().to_owned()
}

fn challenge(answer: &Answer) -> &str {
    answer.headers["www-authenticate"].to_str().unwrap()
}

fn missing(answer: &Answer) -> Vec<String> {
    answer.decision.missing_permissions().iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn r09_a_403_names_the_missing_permission() {
    let may = |resource: &str, action: &'static str| Require::permission(resource, action);
    let hidden = || Require::permission("secret", "read").hide_as_not_found();
    let table = || Require::table().route("GET", "/", ("links", "create")).build().unwrap();
    let is_bot = || Require::predicate(|key, _| key.owner() == Some(&Owner::ServiceAccount));
    let elsewhere = || Require::organization(|_| Some("globex".to_owned()));
    let one = "It lacks the permission links:create.";
    for (guard, told, scope, permissions) in [
        (may("links", "create"), one, "links:create", &["links:create"][..]),
        (Require::by_method("stats"), "It lacks the permission stats:read.", "stats:read", &["stats:read"]),
        (
            Require::any([("stats", "read"), ("admin", "read")]),
            "It needs stats:read, or admin:read.",
            "stats:read",
            &["stats:read", "admin:read"],
        ),
        (Require::all([("held", "read"), ("links", "create")]), one, "links:create", &["links:create"]),
        (
            Require::all([("a", "read"), ("b", "read")]),
            "It lacks the permissions a:read and b:read.",
            "a:read b:read",
            &["a:read", "b:read"],
        ),
        (
            Require::any([Require::all([("a", "read"), ("b", "read")]), may("c", "read")]),
            "It needs a:read and b:read, or c:read.",
            "c:read",
            &["a:read", "b:read", "c:read"],
        ),
        (
            Require::all([Require::any([("a", "read"), ("b", "read")]), may("c", "read")]),
            "It needs a:read and c:read, or b:read and c:read.",
            "a:read c:read",
            &["a:read", "c:read", "b:read"],
        ),
        (
            Require::all([Require::any([("held", "read"), ("x", "read")]), may("links", "create")]),
            one,
            "links:create",
            &["links:create"],
        ),
        (table(), one, "links:create", &["links:create"]),
        (
            Require::all([may("links", "create"), is_bot(), elsewhere(), hidden()]),
            one,
            "links:create",
            &["links:create"],
        ),
    ] {
        let answer = api(guard.clone(), |layer| layer).answer(bearer(LIVE)).await;
        assert_eq!(answer.decision.outcome().reason(), Some(Reason::Forbidden), "{guard:?}");
        assert_eq!(detail(&answer), format!("{PLAIN} {told}"), "{guard:?}");
        assert_eq!(challenge(&answer), format!(r#"Bearer realm="api", error="insufficient_scope", scope="{scope}""#));
        assert_eq!(missing(&answer), permissions, "{guard:?}");
        let text =
            api(guard.clone(), |layer| layer.rejection_format(RejectionFormat::text())).answer(x_api_key(LIVE)).await;
        assert_eq!(text.body, format!("Forbidden. {PLAIN} {told}\n"));
        assert!(!text.headers.contains_key("www-authenticate"));
        let json =
            api(guard.clone(), |layer| layer.rejection_format(RejectionFormat::json())).answer(bearer(LIVE)).await;
        assert_eq!(json.body, r#"{"error": "Forbidden", "code": "PERMISSION_DENIED"}"#);
        let mut call = method(bearer(LIVE), Method::POST);
        add(&mut call, "content-type", "application/grpc");
        if matches!(told, t if t == one) && format!("{guard:?}") != "Require(table)" {
            let grpc = api(guard, ApiKeyLayerBuilder::grpc).answer(call).await;
            assert_eq!(grpc.headers["grpc-message"], format!("{PLAIN} {told}"));
        }
    }
}

#[tokio::test]
async fn r09_nothing_else_is_named() {
    for (guard, reason) in [
        (Require::predicate(|_, _| false), Reason::Forbidden),
        (Require::organization(|_| Some("globex".to_owned())), Reason::ForeignResource),
        (Require::any(Vec::<Require>::new()), Reason::Forbidden),
        (Require::all([Require::organization(|_| None), Require::permission("a", "read")]), Reason::ForeignResource),
    ] {
        let answer = api(guard, |layer| layer).answer(bearer(LIVE)).await;
        assert_eq!(answer.decision.outcome().reason(), Some(reason));
        assert_eq!((detail(&answer).as_str(), missing(&answer).len()), (PLAIN, 0));
        assert_eq!(challenge(&answer), r#"Bearer realm="api", error="insufficient_scope""#);
    }
    for guard in [
        Require::permission("secret", "read").hide_as_not_found(),
        Require::any([Require::permission("a", "read"), Require::permission("secret", "read").hide_as_not_found()]),
        Require::table().any("/", ("secret", "read")).build().unwrap().hide_as_not_found(),
    ] {
        let answer = api(guard, |layer| layer).answer(bearer(LIVE)).await;
        assert_eq!((answer.status.as_u16(), missing(&answer).len()), (404, 0));
        assert!(!format!("{:?} {:?}", answer.body, answer.headers).contains("read"));
    }
}

#[tokio::test]
async fn r09_a_name_that_cannot_be_told_is_left_out() {
    for (resource, told, scope) in [
        ("a \"b\"\\", Some("a \"b\"\\:read"), None),
        ("caf\u{e9}", Some("caf\u{e9}:read"), None),
        ("line\r\nx-evil: 1", None, None),
        ("urn:x/y?z", Some("urn:x/y?z:read"), Some("urn:x/y?z:read")),
    ] {
        let answer = api(Require::permission(resource, "read"), |layer| layer).answer(bearer(LIVE)).await;
        let expected = told.map_or(PLAIN.to_owned(), |told| format!("{PLAIN} It lacks the permission {told}."));
        assert_eq!(detail(&answer), expected);
        let scope = scope.map_or(String::new(), |scope| format!(r#", scope="{scope}""#));
        assert_eq!(challenge(&answer), format!(r#"Bearer realm="api", error="insufficient_scope"{scope}"#));
        assert_eq!(answer.decision.missing_permissions()[0].resource(), resource);
    }
    let long = api(Require::permission("x".repeat(2000), "read"), |layer| layer).answer(bearer(LIVE)).await;
    assert_eq!(detail(&long), PLAIN);
    assert_eq!(challenge(&long), r#"Bearer realm="api", error="insufficient_scope""#);
}

#[cfg(feature = "axum")]
#[tokio::test]
async fn r09_a_handlers_refusal_names_it_too() {
    use tower_api_key::{ApiKey, ApiKeyLayer, Principal, Rejection, store::StaticKeys};

    async fn archive(key: Principal) -> Result<&'static str, Rejection> {
        key.require("links", "archive").map(|()| "archived")
    }
    let keys = StaticKeys::new([("k1", ApiKey::new(LIVE).unwrap())]).unwrap();
    let app =
        axum::Router::new().route("/", axum::routing::get(archive)).layer(ApiKeyLayer::builder(keys).build().unwrap());
    let request = Request::get("/").header("authorization", format!("Bearer {LIVE}")).body(axum::body::Body::empty());
    let response = tower::ServiceExt::oneshot(app, request.unwrap()).await.unwrap();
    assert!(response.headers()["www-authenticate"].to_str().unwrap().ends_with(r#"scope="links:archive""#));
    let body = http_body_util::BodyExt::collect(response.into_body()).await.unwrap().to_bytes();
    assert!(String::from_utf8_lossy(&body).contains("links:archive"));
}

#[tokio::test]
async fn r09_every_403_is_alike_where_the_details_are_hidden() {
    let hiding = |guard| api(guard, ApiKeyLayerBuilder::hide_forbidden_details);
    let mut bodies = Vec::new();
    for guard in [
        Require::permission("links", "create"),
        Require::any([("a", "read"), ("b", "read")]),
        Require::predicate(|_, _| false),
        Require::organization(|_| None),
        Require::table().any("/elsewhere", Require::authenticated()).build().unwrap(),
    ] {
        let answer = hiding(guard).answer(bearer(LIVE)).await;
        assert_eq!((answer.status.as_u16(), detail(&answer).as_str()), (403, PLAIN));
        assert_eq!(challenge(&answer), r#"Bearer realm="api", error="insufficient_scope""#);
        bodies.push(answer.body);
    }
    assert!(bodies.windows(2).all(|pair| pair[0] == pair[1]));
    let answer = hiding(Require::permission("links", "create")).answer(bearer(LIVE)).await;
    assert_eq!(missing(&answer), ["links:create"], "an observer still gets it");
}

#[tokio::test]
async fn r20_what_a_table_does_not_list_is_told_from_what_is_not_allowed() {
    let table = Require::table().route("GET", "/links", ("held", "read")).route("POST", "/links", ("links", "create"));
    let api = api(table.build().unwrap(), |layer| layer);
    let unlisted = "This method and path is in no row of the service's route table.";
    for (verb, target, reason, told) in [
        (Method::GET, "/links/", Reason::NoMatchingRoute, unlisted),
        (Method::GET, "/nothing?key=secret", Reason::NoMatchingRoute, unlisted),
        (Method::DELETE, "/links", Reason::NoMatchingRoute, unlisted),
        (Method::GET, "/lin%6bs", Reason::NoMatchingRoute, unlisted),
        (
            Method::POST,
            "/links",
            Reason::Forbidden,
            "The API key may not do this. It lacks the permission links:create.",
        ),
    ] {
        let answer = api.answer(path(method(bearer(LIVE), verb.clone()), target)).await;
        assert_eq!(answer.decision.outcome().reason(), Some(reason), "{verb} {target}");
        assert_eq!(detail(&answer), told, "{verb} {target}");
        let expected: &str = target.split('?').next().unwrap();
        assert_eq!((answer.decision.method(), answer.decision.path()), (&verb, expected));
    }
    let request: Request<Body> = path(bearer(LIVE), "/links");
    assert_eq!(api.answer(request).await.status, 200);
}
