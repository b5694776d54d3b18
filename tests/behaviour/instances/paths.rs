//! Tests which instance a path names, and that no client can name another one.

use std::collections::BTreeSet;

use super::*;
use crate::support::{accepted, method};
use http::Method;
use proptest::{collection::vec, prelude::*, sample::select};
use tower_api_key::ConfigError;

#[tokio::test]
async fn a_path_names_one_instance() {
    for guard in [in_path, in_table] {
        let one = reading(&["project:123"], guard());
        for target in ["/projects/123", "/projects/123/", "/projects/123/files/a/b", "/projects/123?id=7"] {
            assert_eq!(one.call(to(target)).await, accepted(), "{target}");
        }
        for target in ["/projects/124", "/projects/12", "/projects/1234", "/projects/124/files/123", "/projects/123."] {
            assert_eq!(one.call(to(target)).await, forbidden(), "{target}");
        }
        let all = holding(every_project(), guard());
        for target in ["/projects/123", "/projects/124/files/x", "/projects/a-b_c.d~e", "/projects/{id}"] {
            assert_eq!(all.call(to(target)).await, accepted(), "{target}");
        }
    }
}

#[tokio::test]
async fn a_grant_of_the_kind_or_of_a_name_like_a_wildcard_covers_no_instance() {
    for guard in [in_path, in_table] {
        for granted in ["project", "project:", "project:*", "project:1*", "*", "*:123", "projects:123", "Project:123"] {
            assert_eq!(reading(&[granted], guard()).call(to("/projects/123")).await, forbidden(), "{granted}");
        }
        for granted in ["project:1*", "*:123", "project", "projects:*"] {
            let wild = Permissions::new().grant(granted, "*").with_wildcards();
            assert_eq!(holding(wild, guard()).call(to("/projects/123")).await, forbidden(), "{granted}");
        }
        let other_action = Permissions::new().grant("project:123", "update");
        assert_eq!(holding(other_action, guard()).call(to("/projects/123")).await, forbidden());
        assert_eq!(holding(everything(), guard()).call(to("/projects/123")).await, accepted());
    }
}

/// A client that may read all of these names as they are, and that has every wildcard too.
#[tokio::test]
async fn a_path_never_names_a_wildcard_another_instance_or_a_part_of_the_path() {
    for guard in [in_path, in_table] {
        for permissions in [every_project(), everything(), every_project().grant("project:*:1", "read")] {
            let api = holding(permissions, guard());
            for target in [
                "/projects/*",
                "/projects/%2A",
                "/projects/%2a",
                "/projects/%252A",
                "/projects/*/files/x",
                "/projects/1:2",
                "/projects/1%3A2",
                "/projects/%3A",
                "/projects/:",
                "/projects/*:1",
                "/projects/%2F",
                "/projects/1%2F2",
                "/projects/1%252F2",
                "/projects/1%5C2",
                "/projects/%00",
                "/projects/1%0A",
                "/projects/1%C2%85",
                "/projects/%ff",
                "/projects/..",
                "/projects/%2e%2e",
                "/projects/..;x",
                "/projects//",
                "/projects//files/x",
                "/projects//123",
                "//projects/123",
                "/projects/123//",
            ] {
                let answer = api.call(to(target)).await;
                assert!(answer == forbidden() || answer == unlisted(), "{target}: {answer:?}");
            }
        }
    }
}

/// A proxy or a router may decode the path further than the guard, or cut parameters off.
#[tokio::test]
async fn every_reading_of_a_path_names_the_same_instance() {
    for guard in [in_path, in_table] {
        let both = ["project:7", "project:%37", "project:7;x", "project:7 ", "project:7?x", "project:7#x"];
        let api = reading(&both, guard());
        for target in ["/projects/7", "/projects/%37", "/projects/%37/files/%78"] {
            assert_eq!(api.call(to(target)).await, accepted(), "{target}");
        }
        for target in ["/projects/%2537", "/projects/7;x", "/projects/7%3Bx", "/projects/7;x/files/y", "/projects/7%20"]
        {
            assert_eq!(api.call(to(target)).await, forbidden(), "{target}");
        }
        for target in ["/projects/7%3Fx", "/projects/7%23x", "/projects/7%253Fx"] {
            assert_eq!(api.call(to(target)).await, forbidden(), "{target}");
        }
        // A parameter of another segment changes nothing.
        assert_eq!(api.call(to("/projects/7/files/y;x")).await, accepted());
        assert_eq!(api.call(to("/projects/7/files/a%2Fb")).await, accepted());
    }
}

/// Parts of paths that readers interpret differently.
const PARTS: [&str; 22] = [
    "7",
    "8",
    "%37",
    "%38",
    "%2537",
    "projects",
    "%70rojects",
    "files",
    "/",
    "/",
    "%2F",
    "%252f",
    "%5C",
    ";x",
    "%3Bx",
    "%3F",
    "%23",
    "%20",
    "..",
    "%2e",
    "*",
    ":",
];

/// The paths that a proxy, a router or a file server may read.
fn readings(path: &str) -> Vec<String> {
    let decoded = |path: &str| percent_encoding::percent_decode_str(path).decode_utf8_lossy().into_owned();
    let without_parameters = |path: &str| {
        let names: Vec<&str> = path.split('/').map(|segment| segment.split(';').next().unwrap()).collect();
        names.join("/")
    };
    let cut = |path: &str| path.split(['?', '#']).next().unwrap().trim_end().to_owned();
    let slashes = |path: &str| path.replace('\\', "/").replace("//", "/");
    let mut all = vec![path.to_owned()];
    for step in [&decoded as &dyn Fn(&str) -> String, &cut, &slashes, &without_parameters, &decoded, &cut, &slashes] {
        let next: Vec<String> = all.iter().map(|path| step(path)).collect();
        all.extend(next);
    }
    all
}

proptest! {
    #[test]
    fn an_accepted_path_names_the_same_instance_to_every_reader(
        first in select(&["7", "%37", "%2537", "projects"][..]),
        rest in vec(select(&PARTS[..]), 0..6),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let target = format!("/projects/{first}{}", rest.concat());
        for guard in [in_path, in_projects] {
            let api = holding(everything(), guard());
            if runtime.block_on(api.call(to(&target))) == accepted() {
                let mut named = BTreeSet::new();
                for reading in readings(&target) {
                    let mut segments = reading.split('/').skip(1);
                    prop_assert_eq!(segments.next(), Some("projects"), "{} of {}", reading, target);
                    let segment = percent_encoding::percent_decode_str(segments.next().unwrap());
                    named.insert(segment.decode_utf8_lossy().into_owned());
                }
                let is_instance = named.first().is_some_and(|name| name != "*" && !name.contains([':', '/']));
                prop_assert!(is_instance && named.len() == 1, "{:?} in {}", named, target);
            }
        }
    }
}

#[tokio::test]
async fn an_instance_is_percent_decoded_once_and_compared_exactly() {
    for guard in [in_path, in_table] {
        for (granted, target, expected) in [
            ("project:123", "/projects/%31%32%33", accepted()),
            ("project:caf\u{e9}", "/projects/caf%C3%A9", accepted()),
            ("project:cafe\u{301}", "/projects/caf%C3%A9", forbidden()),
            ("project:a b", "/projects/a%20b", accepted()),
            ("project:a b", "/projects/a+b", forbidden()),
            ("project:100%", "/projects/100%25", accepted()),
            ("project:100%", "/projects/100%", accepted()),
            ("project:Ab", "/projects/Ab", accepted()),
            ("project:Ab", "/projects/ab", forbidden()),
            ("project:ab", "/projects/AB", forbidden()),
            ("project:0123", "/projects/123", forbidden()),
            ("project:**", "/projects/**", accepted()),
            ("project:1*", "/projects/1*", accepted()),
            ("project:1*", "/projects/12", forbidden()),
        ] {
            assert_eq!(reading(&[granted], guard()).call(to(target)).await, expected, "{granted} {target}");
        }
    }
}

#[tokio::test]
async fn a_path_that_does_not_begin_as_the_template_names_nothing() {
    let api = holding(everything(), in_path());
    for target in ["/", "/projects", "/projects/", "/Projects/123", "/%70rojects/123", "/v1/projects/123", "/123", "*"]
    {
        let request = method(to(target), if target == "*" { Method::OPTIONS } else { Method::GET });
        assert_eq!(api.call(request).await, forbidden(), "{target}");
    }
}

#[tokio::test]
async fn a_template_has_other_parameters_before_the_instance() {
    let both = Require::all([("org:{org}", "read"), ("project:{id}", "read")]);
    let guard = both.in_path("/orgs/{org}/projects/{id}").unwrap();
    let api = reading(&["org:acme", "project:7"], guard);
    assert_eq!(api.call(to("/orgs/acme/projects/7/files")).await, accepted());
    for target in ["/orgs/globex/projects/7", "/orgs/acme/projects/8", "/orgs/7/projects/acme", "/orgs/acme/links/7"] {
        assert_eq!(api.call(to(target)).await, forbidden(), "{target}");
    }
    for target in ["/orgs/acme%2Fprojects%2F7/projects/7", "/orgs/%61cme%2F7/projects/7", "/orgs/acme;x/projects/7"] {
        assert_eq!(api.call(to(target)).await, forbidden(), "{target}");
    }
}

#[tokio::test]
async fn a_method_means_an_action_on_the_instance() {
    let guard = || Require::by_method("project:{id}");
    let table = Require::table().any("/projects/{id}", guard()).build().unwrap();
    for guard in [guard().in_path("/projects/{id}").unwrap(), table] {
        let api = holding(Permissions::new().grant("project:7", "read").grant("project:8", "delete"), guard);
        for (verb, target, expected) in [
            ("GET", "/projects/7", accepted()),
            ("HEAD", "/projects/7", accepted()),
            ("DELETE", "/projects/7", forbidden()),
            ("DELETE", "/projects/8", accepted()),
            ("HEAD", "/projects/8", forbidden()),
            ("PATCH", "/projects/7", forbidden()),
            ("OPTIONS", "/projects/7", forbidden()),
        ] {
            let request = method(to(target), verb.parse().unwrap());
            assert_eq!(api.call(request).await, expected, "{verb} {target}");
        }
    }
}

#[tokio::test]
async fn a_named_action_is_the_same_for_every_method() {
    let table = Require::table().any("/projects/{id}", ("project:{id}", "export")).build().unwrap();
    let api = holding(Permissions::all_of("project:7").grant("project:8", "export"), table);
    for verb in ["GET", "POST", "DELETE", "OPTIONS"] {
        for (target, expected) in [("/projects/7", forbidden()), ("/projects/8", accepted())] {
            let request = method(to(target), verb.parse().unwrap());
            assert_eq!(api.call(request).await, expected, "{verb} {target}");
        }
    }
}

#[test]
fn a_template_that_names_no_instance_is_an_error() {
    let project = || Require::permission("project:{id}", "read");
    for template in [
        "",
        "projects/{id}",
        "/projects",
        "/projects/{project}",
        "/projects/{*id}",
        "/projects/{id",
        "/projects/v{id}",
        "/projects/{{id}}",
        "/{id}/{id}",
        "/projects//{id}",
        "//{id}",
        "/",
    ] {
        let Err(ConfigError::InstancePath(named, _)) = project().in_path(template) else { panic!("{template}") };
        assert_eq!(named, template);
    }
    for guard in [
        Require::permission("project", "read"),
        Require::permission("project:{id", "read"),
        Require::permission("project:x{id}", "read"),
        Require::permission("project:{}", "read"),
        Require::permission("project:{*id}", "read"),
        Require::permission("project{id}", "read"),
        Require::any(Vec::<Require>::new()),
        in_path(),
        in_table(),
    ] {
        assert!(guard.in_path("/projects/{id}").is_err());
    }
    let error = project().in_path("/projects/{project}").unwrap_err();
    assert_eq!(
        error.to_string(),
        r#"in_path: "/projects/{project}": its guard names the parameter {id}, which is no whole segment of the path"#
    );
}
