//! Tests the route table: listed routes are guarded, all others are 403.

use crate::support::{Api, Body, LIVE, TestApi, accepted, bare, method, passed, path, refused, x_api_key};
use http::{Method, Request};
use tower_api_key::{ConfigError, Outcome, Reason, Require, guard::RouteTableBuilder, layer::ApiKeyLayerBuilder};

fn links() -> RouteTableBuilder {
    Require::table()
        .route("GET", "/links", ("links", "read"))
        .route("POST", "/links", ("links", "create"))
        .route("DELETE", "/links/{id}", ("links", "delete"))
        .any("/stats/{*rest}", Require::by_method("stats"))
        .route("GET", "/whoami", Require::authenticated())
        .open("/health")
}

fn api(layer: impl FnOnce(ApiKeyLayerBuilder) -> ApiKeyLayerBuilder) -> TestApi {
    let guard = links().build().unwrap();
    let key = |record: tower_api_key::KeyRecord| record.grant("links", "read").grant("stats", "read");
    Api::new().key("live", LIVE, key).layer(layer).guard(guard).run()
}

fn request(verb: &str, target: &str) -> Request<Body> {
    path(method(x_api_key(LIVE), verb.parse().unwrap()), target)
}

#[tokio::test]
async fn what_is_listed_is_guarded_and_what_is_not_is_403() {
    let api = api(|layer| layer);
    let forbidden = || refused(Reason::Forbidden, 403);
    let unlisted = || refused(Reason::NoMatchingRoute, 403);
    for (verb, target, expected) in [
        ("GET", "/links", accepted()),
        ("HEAD", "/links", accepted()),
        ("GET", "/links?page=2", accepted()),
        ("POST", "/links", forbidden()),
        ("DELETE", "/links/7", forbidden()),
        ("GET", "/stats/2026/11", accepted()),
        ("DELETE", "/stats/2026/11", forbidden()),
        ("GET", "/whoami", accepted()),
        ("GET", "/health", accepted()),
        ("PUT", "/links", unlisted()),
        ("OPTIONS", "/links", unlisted()),
        ("GET", "/links/7", unlisted()),
        ("GET", "/links/", unlisted()),
        ("GET", "//links", unlisted()),
        ("GET", "/LINKS", unlisted()),
        ("GET", "/lin%6bs", unlisted()),
        ("GET", "/stats", unlisted()),
        ("GET", "/stats/", unlisted()),
        ("GET", "/stats/../links", unlisted()),
        ("GET", "/stats/%2e%2E/links", unlisted()),
        ("GET", "/stats/..%2flinks", unlisted()),
        ("GET", "/stats/..%5clinks", unlisted()),
        ("GET", "/stats/..;x/links", unlisted()),
        ("GET", "/stats//links", unlisted()),
        ("GET", "/", unlisted()),
        ("GET", "/nowhere", unlisted()),
        ("OPTIONS", "*", unlisted()),
    ] {
        assert_eq!(api.call(request(verb, target)).await, expected, "{verb} {target}");
    }
}

/// A service behind the table may decode first, or merge slashes, and get another path than the
/// table.
#[tokio::test]
async fn no_other_spelling_of_a_path_finds_a_weaker_row() {
    let table = Require::table().any("/admin", ("admin", "read")).any("/admin/{*rest}", ("admin", "read"));
    let table = table.any("/{*rest}", Require::authenticated()).any("/listed", ("admin", "read"));
    let table = table.any("/listed/", Require::authenticated());
    let api = Api::live().guard(table.build().unwrap()).run();
    for (target, expected) in [
        ("/admin/keys", refused(Reason::Forbidden, 403)),
        ("/%61dmin/keys", refused(Reason::NoMatchingRoute, 403)),
        ("//admin/keys", refused(Reason::NoMatchingRoute, 403)),
        ("/public/..%2Fadmin/keys", refused(Reason::NoMatchingRoute, 403)),
        ("/admin%2Fkeys", refused(Reason::NoMatchingRoute, 403)),
        ("/%2Fadmin/keys", refused(Reason::NoMatchingRoute, 403)),
        ("/admin%5Ckeys", refused(Reason::NoMatchingRoute, 403)),
        ("/admin;x/keys", refused(Reason::NoMatchingRoute, 403)),
        ("/admin/", refused(Reason::NoMatchingRoute, 403)),
        ("/public/%61bc", accepted()),
        ("/public/%7Eme/a%2Fb", accepted()),
        ("/public/...", accepted()),
        ("/public;x/", accepted()),
        ("/listed", refused(Reason::Forbidden, 403)),
        ("/listed/", accepted()),
    ] {
        assert_eq!(api.call(request("GET", target)).await, expected, "{target}");
    }
}

/// A proxy that decodes only letters and leaves the slash in the id encoded. Fully decoded,
/// `/abc/a/b` has no row.
#[tokio::test]
async fn letters_that_are_encoded_find_no_weaker_row_beside_what_stays_encoded() {
    let table = Require::table().any("/admin/{id}", ("admin", "read")).any("/{x}/{y}", Require::authenticated());
    let api = Api::live().guard(table.any("/{x}/{y}/{z}", Require::authenticated()).build().unwrap()).run();
    assert_eq!(api.call(request("GET", "/%61dmin/a%2Fb")).await, refused(Reason::NoMatchingRoute, 403));
    assert_eq!(api.call(request("GET", "/%61bc/a%2Fb")).await, accepted());
    assert_eq!(api.call(request("GET", "/%61bc/a%2Fb%2Fc")).await, refused(Reason::NoMatchingRoute, 403));
}

#[tokio::test]
async fn only_an_open_row_lets_nobody_pass() {
    let missing = || refused(Reason::Missing, 401);
    let optional = api(ApiKeyLayerBuilder::optional);
    assert_eq!(optional.call(path(bare(), "/health")).await, passed(Outcome::Anonymous));
    assert_eq!(optional.call(path(bare(), "/links")).await, missing());
    assert_eq!(optional.call(path(bare(), "/nowhere")).await, missing());
    let skipping = api(|layer| layer.skip(|path| path == "/health" || path == "/links"));
    assert_eq!(skipping.call(path(bare(), "/health")).await, passed(Outcome::Skipped));
    assert_eq!(skipping.call(path(bare(), "/links")).await, missing(), "skipped, but listed with a permission");
    let required = api(|layer| layer);
    assert_eq!(required.call(path(bare(), "/health")).await, missing(), "open to all requests that the layer accepts");
}

#[tokio::test]
async fn a_preflight_passes_to_a_cors_layer_further_in() {
    let preflight = |target| {
        let mut request = path(method(bare(), Method::OPTIONS), target);
        crate::support::add(&mut request, "origin", "https://acme.example");
        crate::support::add(&mut request, "access-control-request-method", "POST");
        request
    };
    let passing = api(ApiKeyLayerBuilder::pass_preflight);
    assert_eq!(passing.call(preflight("/links")).await, passed(Outcome::Preflight));
    assert_eq!(api(|layer| layer).call(preflight("/links")).await, refused(Reason::Missing, 401));
}

#[tokio::test]
async fn a_table_is_a_guard_like_any_other() {
    let hidden = links().build().unwrap().hide_as_not_found();
    let api = Api::live().guard(hidden).run();
    assert_eq!(api.call(request("GET", "/nowhere")).await, refused(Reason::ForeignResourceHidden, 404));
    let either = Require::any([links().build().unwrap(), Require::permission("links", "archive")]);
    let api = Api::new().key("live", LIVE, |record| record.grant("links", "archive")).guard(either).run();
    assert_eq!(api.call(request("GET", "/nowhere")).await, accepted());
}

#[test]
fn a_row_that_cannot_be_is_named() {
    let key = Require::authenticated;
    let refused = |table: RouteTableBuilder| match table.build() {
        Err(ConfigError::Route(template, _)) => template,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(Require::table().route("GET", "links", key())), "links");
    assert_eq!(refused(Require::table().route("G T", "/links", key())), "/links");
    assert_eq!(refused(Require::table().route("delete", "/links", key())), "/links");
    assert_eq!(refused(Require::table().route("GET", "/{a}{b}", key())), "/{a}{b}");
    assert_eq!(refused(Require::table().route("GET", "/{*rest}/x", key())), "/{*rest}/x");
    assert_eq!(refused(Require::table().any("/{a}", key()).any("/{b}", key())), "/{b}");
    assert_eq!(refused(Require::table().route("GET", "/a", key()).route("GET", "/a", key())), "/a");
    assert_eq!(refused(Require::table().open("/a").any("/a", key())), "/a");
    assert_eq!(Require::table().build().err(), Some(ConfigError::EmptyTable));
}
