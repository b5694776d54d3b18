//! Tests guards: required permissions, and requests without a key.

use crate::support::{Api, LIVE, UNKNOWN, accepted, add, bare, bearer, boxed, method, passed, path, refused};
use http::{Method, StatusCode};
use tower::{Layer, ServiceExt, service_fn};
use tower_api_key::{KeyRecord, Outcome, Owner, Permissions, Reason, Rejection, Require, layer::ApiKeyLayerBuilder};

fn api(edit: impl FnOnce(KeyRecord) -> KeyRecord) -> Api {
    Api::new().key("k1", LIVE, edit)
}

fn forbidden() -> crate::support::Observed {
    refused(Reason::Forbidden, 403)
}

#[tokio::test]
async fn a_permission_is_a_resource_and_an_action() {
    let call = |grant: (&'static str, &'static str)| {
        api(|key| key.grant(grant.0, grant.1)).guard(Require::permission("links", "create")).call(bearer(LIVE))
    };
    assert_eq!(call(("links", "create")).await, accepted());
    assert_eq!(call(("links", "read")).await, forbidden());
    assert_eq!(call(("Links", "create")).await, forbidden());
    assert_eq!(call(("*", "*")).await, forbidden());
    assert_eq!(api(|key| key).guard(Require::permission("links", "create")).call(bearer(LIVE)).await, forbidden());
}

#[tokio::test]
async fn a_bad_key_is_401_before_any_guard() {
    let api = Api::live().guard(Require::permission("links", "create")).run();
    assert_eq!(api.call(bearer(UNKNOWN)).await, refused(Reason::Unknown, 401));
    assert_eq!(api.call(bare()).await, refused(Reason::Missing, 401));
}

#[tokio::test]
async fn any_and_all_combine_and_an_empty_list_lets_nobody_pass() {
    let call = |guard| api(|key| key.grant("a", "read").grant("b", "read")).guard(guard).call(bearer(LIVE));
    assert_eq!(call(Require::any([("x", "read"), ("b", "read")])).await, accepted());
    assert_eq!(call(Require::any([("x", "read"), ("y", "read")])).await, forbidden());
    assert_eq!(call(Require::all([("a", "read"), ("b", "read")])).await, accepted());
    assert_eq!(call(Require::all([("a", "read"), ("x", "read")])).await, forbidden());
    let both = || Require::all([("a", "read"), ("b", "read")]);
    assert_eq!(call(Require::any([Require::permission("x", "read"), both()])).await, accepted());
    assert_eq!(call(Require::all([Require::any([("x", "read")]), both()])).await, forbidden());
    assert_eq!(call(Require::any(Vec::<Require>::new())).await, forbidden());
    assert_eq!(call(Require::all(Vec::<Require>::new())).await, forbidden());
}

#[tokio::test]
async fn a_method_means_an_action_and_an_unlisted_one_is_refused() {
    const MEANING: [(Method, Option<&str>); 8] = [
        (Method::POST, Some("create")),
        (Method::GET, Some("read")),
        (Method::HEAD, Some("read")),
        (Method::PUT, Some("update")),
        (Method::PATCH, Some("update")),
        (Method::DELETE, Some("delete")),
        (Method::OPTIONS, None),
        (Method::TRACE, None),
    ];
    let everything = |key: KeyRecord| {
        ["create", "read", "update", "delete"].iter().fold(key, |key, action| key.grant("links", *action))
    };
    let all = api(everything).guard(Require::by_method("links")).run();
    for (verb, needed) in MEANING {
        let expected = if needed.is_some() { accepted() } else { forbidden() };
        assert_eq!(all.call(method(bearer(LIVE), verb.clone())).await, expected, "{verb}");
        for granted in ["create", "read", "update", "delete"] {
            let one = api(|key| key.grant("links", granted)).guard(Require::by_method("links"));
            let expected = if needed == Some(granted) { accepted() } else { forbidden() };
            assert_eq!(one.call(method(bearer(LIVE), verb.clone())).await, expected, "{verb}, {granted}");
        }
    }
    let own = Method::from_bytes(b"get").unwrap();
    assert_eq!(all.call(method(bearer(LIVE), own)).await, forbidden());
}

#[tokio::test]
async fn an_organization_is_taken_from_the_path_and_never_from_a_header() {
    let own = || Require::organization_in_path("/orgs/{organization}/").unwrap();
    let foreign = refused(Reason::ForeignResource, 403);
    let acme = api(|key| key.with_organization("acme inc")).guard(own()).run();
    assert_eq!(acme.call(path(bearer(LIVE), "/orgs/acme%20inc/links")).await, accepted());
    assert_eq!(acme.call(path(bearer(LIVE), "/orgs/globex/links")).await, foreign);
    assert_eq!(acme.call(path(bearer(LIVE), "/links")).await, foreign);
    let mut claiming = path(bearer(LIVE), "/orgs/globex/links?organization=globex");
    add(&mut claiming, "x-organization", "acme inc");
    assert_eq!(acme.call(claiming).await, foreign);
    assert_eq!(api(|key| key).guard(own()).call(path(bearer(LIVE), "/orgs/acme/links")).await, foreign);
    let hidden = api(|key| key.with_organization("acme")).guard(own().hide_as_not_found());
    assert_eq!(
        hidden.call(path(bearer(LIVE), "/orgs/globex/links")).await,
        refused(Reason::ForeignResourceHidden, 404)
    );
}

#[tokio::test]
async fn a_guard_that_hides_hides_inside_any_and_all_too() {
    let hiding = || Require::permission("links", "create").hide_as_not_found();
    let open = || Require::permission("links", "read");
    let call = |guard| api(|key| key).guard(guard).call(bearer(LIVE));
    let hidden = refused(Reason::ForeignResourceHidden, 404);
    assert_eq!(call(Require::any([open(), hiding(), open()])).await, hidden);
    assert_eq!(call(Require::all([hiding(), open()])).await, hidden);
    assert_eq!(call(Require::all([open(), hiding()])).await, forbidden());
    assert_eq!(call(Require::any([open()]).hide_as_not_found()).await, hidden);
}

#[tokio::test]
async fn an_organization_may_be_taken_from_anything_in_the_request() {
    let tenant = |parts: &http::request::Parts| Some(parts.headers.get("x-tenant")?.to_str().ok()?.to_owned());
    let api = api(|key| key.with_organization("acme")).guard(Require::organization(tenant)).run();
    let asking = |tenant: &str| {
        let mut request = bearer(LIVE);
        add(&mut request, "x-tenant", tenant);
        request
    };
    assert_eq!(api.call(asking("acme")).await, accepted());
    assert_eq!(api.call(asking("globex")).await, refused(Reason::ForeignResource, 403));
}

#[tokio::test]
async fn a_check_of_ones_own_sees_key_and_request() {
    let guard =
        || Require::predicate(|key, parts| key.owner() == Some(&Owner::ServiceAccount) && parts.method == Method::GET);
    let bot = api(|key| key.with_owner(Owner::ServiceAccount)).guard(guard()).run();
    assert_eq!(bot.call(bearer(LIVE)).await, accepted());
    assert_eq!(bot.call(method(bearer(LIVE), Method::POST)).await, forbidden());
    assert_eq!(api(|key| key).guard(guard()).call(bearer(LIVE)).await, forbidden());
}

#[tokio::test]
async fn wildcards_count_only_when_asked_for_and_never_across_organizations() {
    let granted = |permissions: Permissions| {
        let own = Require::organization_in_path("/orgs/{organization}/").unwrap();
        api(|key| key.with_organization("acme").with_permissions(permissions))
            .guard(Require::permission("links", "create"))
            .guard(own)
    };
    let (own, foreign) = (|| path(bearer(LIVE), "/orgs/acme/"), || path(bearer(LIVE), "/orgs/globex/"));
    for (resource, action) in [("*", "*"), ("*", "create"), ("links", "*")] {
        let literal = Permissions::new().grant(resource, action);
        assert_eq!(granted(literal.clone()).call(own()).await, forbidden());
        assert_eq!(granted(literal.clone().with_wildcards()).call(own()).await, accepted());
        let elsewhere = granted(literal.with_wildcards()).call(foreign()).await;
        assert_eq!(elsewhere, refused(Reason::ForeignResource, 403));
    }
    let partial = Permissions::new().grant("link*", "*").grant("*", "creat*").with_wildcards();
    assert_eq!(granted(partial).call(own()).await, forbidden());
}

#[tokio::test]
async fn nobody_is_401_at_a_guard() {
    let guard = || Require::permission("links", "create");
    let optional = Api::live().layer(ApiKeyLayerBuilder::optional).guard(guard());
    assert_eq!(optional.call(bare()).await, refused(Reason::Missing, 401));
    let skipped = Api::live().layer(|layer| layer.skip(|path| path == "/")).guard(guard());
    assert_eq!(skipped.call(bearer(LIVE)).await, refused(Reason::Missing, 401));
}

#[tokio::test]
async fn a_genuine_preflight_passes_layer_and_guard_and_nothing_else_does() {
    let api = Api::live().layer(ApiKeyLayerBuilder::pass_preflight).guard(Require::permission("links", "create")).run();
    let preflight = |verb: Method, headers: &[(&str, &str)]| {
        let mut request = method(bare(), verb);
        for (name, value) in headers {
            add(&mut request, name, value);
        }
        request
    };
    let (origin, asks) = (("origin", "https://a.example"), ("access-control-request-method", "POST"));
    assert_eq!(api.call(preflight(Method::OPTIONS, &[origin, asks])).await, passed(Outcome::Preflight));
    let missing = || refused(Reason::Missing, 401);
    assert_eq!(api.call(preflight(Method::OPTIONS, &[])).await, missing());
    assert_eq!(api.call(preflight(Method::OPTIONS, &[origin])).await, missing());
    assert_eq!(api.call(preflight(Method::OPTIONS, &[asks])).await, missing());
    assert_eq!(api.call(preflight(Method::GET, &[origin, asks])).await, missing());
    let off = Api::live().run();
    assert_eq!(off.call(preflight(Method::OPTIONS, &[origin, asks])).await, missing());
}

#[tokio::test]
async fn a_guard_without_a_layer_is_500() {
    let inner = service_fn(async |_| -> Result<http::Response<crate::support::Body>, std::convert::Infallible> {
        unreachable!("the guard has no principal")
    });
    let alone = boxed(Require::permission("links", "create").layer(inner));
    let response = alone.oneshot(bearer(LIVE)).await.unwrap();
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(response.headers()["cache-control"], "no-store");
    let rejection = response.extensions().get::<Rejection>().unwrap();
    assert_eq!(rejection.reason(), Reason::Misconfigured);
}
