//! P1, P2: tables, skipped paths and organizations for paths with several readings.

use crate::support::{Api, LIVE, Observed, TestApi, accepted, bare, passed, path, refused, x_api_key};
use tower_api_key::{KeyRecord, Outcome, Reason, Require, guard::RouteTableBuilder, layer::ApiKeyLayerBuilder};

fn api(table: RouteTableBuilder, grants: &[&'static str]) -> TestApi {
    let grant = |key: KeyRecord| grants.iter().fold(key, |key, resource| key.grant(*resource, "read"));
    Api::new().key("k1", LIVE, grant).guard(table.build().unwrap()).run()
}

async fn get(api: &TestApi, target: &str) -> Observed {
    api.call(path(x_api_key(LIVE), target)).await
}

fn unlisted() -> Observed {
    refused(Reason::NoMatchingRoute, 403)
}

/// `%3F` is a `?` for a reader that decodes before it splits off the query, and so on.
const LIKE_ADMIN: [&str; 44] = [
    "/admin?x",
    "/admin%3Fx",
    "/admin%3fx",
    "/admin%253Fx",
    "/admin%253fx",
    "/admin%23x",
    "/admin%2523x",
    "/admin%00",
    "/admin%00.css",
    "/admin%2500",
    "/admin%09",
    "/admin%0A",
    "/admin%0d%0a",
    "/admin%7F",
    "/admin%C2%80",
    "/admin%20",
    "/admin%20%20",
    "/admin%2520",
    "/admin%C2%A0",
    "/admin/",
    "/admin%2F",
    "/admin%2f",
    "/admin%252F",
    "/admin%2F%2F",
    "/admin%5C",
    "/admin%5c",
    "/admin%255C",
    "/%2Fadmin",
    "/%5Cadmin",
    "/admin;x",
    "/admin;",
    "/admin%3Bx=1",
    "/admin%253Bx=1",
    "/admin;x%2Fy",
    "/admin%3Bx%2Fy",
    "/;x/admin",
    "/%61dmin",
    "/adm%69n",
    "/adm%2569n",
    "/%2561%2564%256D%2569%256e",
    "/%25%36%31dmin",
    "/adm%69n;a%3Fb%23c/",
    "/admin%3Bx%3Fy",
    "/admin%3F%2F..",
];

#[tokio::test]
async fn p02_a_strict_row_beside_a_wide_one_is_the_row_of_every_spelling() {
    let table = || Require::table().any("/admin", ("admin", "read")).any("/{*rest}", Require::authenticated());
    let (mere, admin) = (api(table(), &[]), api(table(), &["admin"]));
    for target in LIKE_ADMIN {
        let answer = get(&mere, target).await;
        let own = refused(Reason::Forbidden, 403);
        assert_eq!(answer, if target == "/admin?x" { own } else { unlisted() }, "{target}");
        let is_refused = get(&admin, target).await == unlisted();
        // A path with a control character or a dot segment matches no row, nor does a path that a
        // reader resolves to another host.
        let has_none = ["00", "09", "0A", "0d", "7F", "C2%80", "..", "/%2Fadmin", "/%5Cadmin", "/;x/"]
            .iter()
            .any(|piece| target.contains(piece));
        assert_eq!(is_refused, has_none, "{target} with a key that has both permissions");
    }
    for target in [
        "/public",
        "/public/",
        "/a%20b",
        "/caf%C3%A9",
        "/a%2Fb",
        "/100%25",
        "/a;v=1/b",
        "/https%3A%2F%2Fa.example%2F%3Fq%3D1%23f",
    ] {
        assert_eq!(get(&mere, target).await, accepted(), "{target}");
    }
}

#[tokio::test]
async fn p01_a_path_whose_decoded_form_has_no_row_has_no_row() {
    let table = || Require::table().route("GET", "/files/{name}", ("files", "read")).open("/open/{name}");
    let api = api(table(), &["files"]);
    for target in
        ["/files/a", "/files/a%20b", "/files/caf%C3%A9.txt", "/files/a%3Ab@c", "/files/100%25", "/files/a;v=1"]
    {
        assert_eq!(get(&api, target).await, accepted(), "{target}");
    }
    let optional = Api::live().layer(ApiKeyLayerBuilder::optional).guard(table().build().unwrap()).run();
    for name in [
        "admin%2Fsecret.txt",
        "admin%2fsecret.txt",
        "admin%252Fsecret.txt",
        "admin%5Csecret.txt",
        "admin%255Csecret.txt",
        "..%2Fadmin",
        "%2e%2e",
        "%252e%252e",
        "..%3Fx",
        ".%20",
        "%3Fx",
        "%23",
        "%20",
        ";x",
        "a%00",
        "a%FF",
        "a%C0%AFb",
        "a%25252Fb",
    ] {
        assert_eq!(get(&api, &format!("/files/{name}")).await, unlisted(), "{name}");
        assert_eq!(get(&api, &format!("/open/{name}")).await, unlisted(), "open, by a key: {name}");
        let anonymous = path(bare(), &format!("/open/{name}"));
        assert_eq!(optional.call(anonymous).await, refused(Reason::Missing, 401), "open, without a key: {name}");
    }
    assert_eq!(optional.call(path(bare(), "/open/a%20b")).await, passed(Outcome::Anonymous));
}

#[tokio::test]
async fn p01_every_row_has_to_let_the_request_pass_whichever_reader_finds_it() {
    let table = || {
        Require::table()
            .route("GET", "/files/{name}", ("files", "read"))
            .route("GET", "/files/{folder}/{name}", ("folders", "read"))
            .route("GET", "/files/hidden/{name}", Require::permission("hidden", "read").hide_as_not_found())
            .open("/open/{name}")
            .any("/open/{a}/{b}", ("files", "read"))
            .route("POST", "/made/{name}", Require::authenticated())
            .route("GET", "/made/{a}/{b}", Require::authenticated())
    };
    for (grants, expected) in [
        (&["files"][..], unlisted()),
        (&["folders"], refused(Reason::Forbidden, 403)),
        (&["files", "folders"], accepted()),
    ] {
        assert_eq!(get(&api(table(), grants), "/files/a%2Fb").await, expected, "{grants:?}");
    }
    let both = api(table(), &["files", "folders"]);
    assert_eq!(get(&both, "/files/hidden%2Fb").await, refused(Reason::ForeignResourceHidden, 404));
    assert_eq!(get(&both, "/open/a%2Fb").await, accepted());
    assert_eq!(get(&both, "/made/a%2Fb").await, unlisted(), "a row, but none for this method");
    let optional = Api::live().layer(ApiKeyLayerBuilder::optional).guard(table().build().unwrap()).run();
    assert_eq!(optional.call(path(bare(), "/open/a")).await, passed(Outcome::Anonymous));
    assert_eq!(optional.call(path(bare(), "/open/a%2Fb")).await, refused(Reason::Missing, 401));
}

/// A template is matched as a request is: all its readings are listed along with it, and no others.
#[tokio::test]
async fn p02_a_row_with_encoded_characters_of_its_own_is_found() {
    let table = Require::table()
        .any("/caf%C3%A9/{id}", Require::authenticated())
        .any("/a%20b", Require::authenticated())
        .any("/v;1/x", Require::authenticated())
        .any("/v;2/x", ("strict", "read"))
        .any("/last/", Require::authenticated())
        .any("/{a}/{b}/", Require::authenticated())
        .any("/admin/b", ("strict", "read"));
    let api = api(table, &[]);
    for target in ["/caf%C3%A9/7", "/caf%c3%a9/7", "/a%20b", "/last/", "/x/y/"] {
        let expected = if target == "/caf%c3%a9/7" { unlisted() } else { accepted() };
        assert_eq!(get(&api, target).await, expected, "{target}");
    }
    for target in ["/caf\u{e9}/7", "/a/7", "/v/x", "/last", "/v;1/x", "/admin/b/", "/x/y"] {
        assert_eq!(get(&api, target).await, unlisted(), "{target}: `/v` could be either version");
    }
}

#[tokio::test]
async fn p02_a_path_is_skipped_only_if_every_reading_of_it_is() {
    let all_but = Api::live().layer(|layer| layer.skip(|path| path != "/admin")).run();
    for target in LIKE_ADMIN {
        assert_eq!(all_but.call(path(bare(), target)).await, refused(Reason::Missing, 401), "{target}");
    }
    for target in ["/health", "/a%20b", "/caf%C3%A9", "/administrators"] {
        assert_eq!(all_but.call(path(bare(), target)).await, passed(Outcome::Skipped), "{target}");
    }
    let below = Api::live().layer(|layer| layer.skip(|path| path.starts_with("/public/"))).run();
    for target in [
        "/public/%2e%2e/x",
        "/public/..%2fx",
        "/public/..%252fx",
        "/public/",
        "/public/;x",
        "/public/%3Fx",
        "/public%2Fx",
        "/public/%2F",
    ] {
        assert_eq!(below.call(path(bare(), target)).await, refused(Reason::Missing, 401), "{target}");
    }
    for target in ["/public/x", "/public/a%20b", "/public/a%2Fb", "/public/x/", "/public/x?y=/../"] {
        assert_eq!(below.call(path(bare(), target)).await, passed(Outcome::Skipped), "{target}");
    }
}

#[tokio::test]
async fn p02_every_reading_of_a_path_names_the_same_organization() {
    let guard = || Require::organization_in_path("/orgs/{organization}/").unwrap();
    for (organization, targets) in [
        (
            "org_a",
            &[
                "/orgs/org_a/x",
                "/orgs/org%5Fa/x",
                "/orgs/org_a",
                "/orgs/org_a/",
                "/orgs/org_a/a%2Fb",
                "/orgs/org_a;v/x",
            ][..],
        ),
        ("acme inc", &["/orgs/acme%20inc/x"]),
        ("caf\u{e9}", &["/orgs/caf%C3%A9"]),
    ] {
        let api = Api::new().key("k1", LIVE, |key| key.with_organization(organization)).guard(guard()).run();
        for target in targets {
            let expected = if target.contains(';') { refused(Reason::ForeignResource, 403) } else { accepted() };
            assert_eq!(get(&api, target).await, expected, "{target}");
        }
    }
    let claims = [
        "org_a%2F..%2Forg_b",
        "org_a%2Fx",
        "org_a%3Fx",
        "org_a%23",
        "org_a%00",
        "org_a%20",
        "org_a%252F",
        "org_b%2F..%2Forg_a",
        "%2Forg_a",
        "org_b%5C..%5Corg_a",
        ";org_a",
    ];
    for own in ["org_a", "org_b", "org_a/x", "org_a?x", ";org_a"] {
        let api = Api::new().key("k1", LIVE, |key| key.with_organization(own)).guard(guard()).run();
        for claim in claims {
            let target = format!("/orgs/{claim}/x");
            assert_eq!(get(&api, &target).await, refused(Reason::ForeignResource, 403), "{target} by {own}");
        }
    }
}
