//! Tests instances in the rows of a table.

use super::*;
use crate::support::{accepted, bare, method};
use http::{Method, StatusCode};
use tower_api_key::{ConfigError, guard::RouteTableBuilder, layer::ApiKeyLayerBuilder};

#[tokio::test]
async fn each_row_takes_the_instance_from_its_own_template() {
    let project = Require::permission("project:{id}", "read");
    let table = Require::table()
        .route("GET", "/projects/{id}", project.clone())
        .route("GET", "/orgs/{org}/projects/{id}/files/{*rest}", project.clone())
        .route("GET", "/files/{name}/of/{id}/", project.hide_as_not_found())
        .any("/orgs/{org}", Require::by_method("org:{org}"));
    let api = reading(&["project:7", "org:acme"], table.build().unwrap());
    let hidden = refused(Reason::ForeignResourceHidden, 404);
    for (target, expected) in [
        ("/projects/7", accepted()),
        ("/projects/acme", forbidden()),
        ("/orgs/acme/projects/7/files/x", accepted()),
        ("/orgs/7/projects/acme/files/7", forbidden()),
        ("/files/8/of/7/", accepted()),
        ("/files/7/of/8/", hidden),
        ("/files/7/of/8", unlisted()),
        ("/orgs/acme", accepted()),
        ("/orgs/7", forbidden()),
    ] {
        assert_eq!(api.call(to(target)).await, expected, "{target}");
    }
}

/// The row of `HEAD` is that of `GET`.
#[tokio::test]
async fn a_row_for_get_takes_the_instance_for_head_too() {
    let api = reading(&["project:7"], in_table());
    for (target, status) in [("/projects/7", 200), ("/projects/8", 403)] {
        let answer = api.answer(method(to(target), Method::HEAD)).await;
        assert_eq!((answer.status.as_u16(), answer.body.is_empty()), (status, status == 403), "{target}");
    }
}

#[tokio::test]
async fn a_guard_in_any_and_all_takes_the_instance_of_the_row_too() {
    let project = || Require::permission("project:{id}", "read");
    let admin = || Require::permission("admin", "read");
    let call = |guard: Require, granted: &'static [&str]| {
        let table = Require::table().any("/projects/{id}", guard).build().unwrap();
        async move { reading(granted, Require::all([table])).call(to("/projects/7")).await }
    };
    for (guard, granted, expected) in [
        (Require::any([project(), admin()]), &["project:7"][..], accepted()),
        (Require::any([project(), admin()]), &["admin"], accepted()),
        (Require::any([project(), admin()]), &["project:8"], forbidden()),
        (Require::all([project(), admin()]), &["project:7", "admin"], accepted()),
        (Require::all([project(), admin()]), &["project:7"], forbidden()),
        (Require::all([Require::any([project()]), admin()]), &["project:7", "admin"], accepted()),
        (project().and_then(|_, _| Ok(())), &["project:7"], accepted()),
        (project().and_then(|_, _| Ok(())), &["project:8"], forbidden()),
        (Require::any([project().hide_as_not_found()]), &["project:8"], refused(Reason::ForeignResourceHidden, 404)),
    ] {
        assert_eq!(call(guard.clone(), granted).await, expected, "{guard:?} {granted:?}");
    }
}

/// As written, the path has the row of a project; decoded, it has that of the settings.
#[tokio::test]
async fn a_path_with_two_rows_needs_both() {
    let table = || {
        Require::table()
            .any("/projects/{id}", ("project:{id}", "read"))
            .any("/projects/new", ("project", "create"))
            .any("/{x}/{id}/{y}", ("project:{id}", "read"))
            .build()
            .unwrap()
    };
    let reader = holding(every_project(), table());
    assert_eq!(reader.call(to("/projects/new")).await, forbidden());
    assert_eq!(reader.call(to("/projects/%6eew")).await, unlisted());
    assert_eq!(reader.call(to("/projects/ne%77s")).await, accepted());
    let both = holding(every_project().grant("project", "create"), table());
    assert_eq!(both.call(to("/projects/%6eew")).await, accepted());
    // As written, the instance is `7/x`; decoded, it is `7` of another row.
    assert_eq!(both.call(to("/projects/7%2Fx")).await, forbidden());
    assert_eq!(both.call(to("/a%2F7/x")).await, unlisted());
}

#[tokio::test]
async fn a_row_whose_template_is_encoded_names_the_instance_in_both_forms() {
    let table = Require::table().any("/caf%C3%A9s/{id}", ("cafe:{id}", "read")).build().unwrap();
    let api = reading(&["cafe:7"], table);
    assert_eq!(api.call(to("/caf%C3%A9s/7")).await, accepted());
    assert_eq!(api.call(to("/caf%C3%A9s/8")).await, forbidden());
}

#[tokio::test]
async fn a_request_without_a_key_is_401() {
    for guard in [in_path, in_table] {
        let optional = Api::live().layer(ApiKeyLayerBuilder::optional).guard(guard()).run();
        assert_eq!(optional.call(path(bare(), "/projects/7")).await, refused(Reason::Missing, 401));
        let skipping = Api::live().layer(|layer| layer.skip(|_| true)).guard(guard()).run();
        assert_eq!(skipping.call(path(bare(), "/projects/7")).await, refused(Reason::Missing, 401));
    }
}

#[test]
fn a_row_whose_guard_names_no_segment_of_its_template_is_an_error() {
    let project = || Require::permission("project:{id}", "read");
    let why = |table: RouteTableBuilder| match table.build() {
        Err(ConfigError::Route(template, why)) => (template, why),
        other => panic!("{other:?}"),
    };
    let lacks = "its guard names the parameter {id}, which is no whole segment of the path";
    for template in ["/projects", "/projects/{project}", "/projects/v{id}", "/projects/{{id}}", "/projects/{ID}"] {
        for guard in [
            project(),
            Require::by_method("project:{id}"),
            Require::any([Require::authenticated(), project()]),
            Require::all([Require::any([project()])]),
            project().and_then(|_, _| Ok(())),
        ] {
            assert_eq!(why(Require::table().any(template, guard)), (template.to_owned(), lacks.to_owned()));
        }
    }
    let rest = "its guard cannot take an instance from {*id}, which is several segments";
    assert_eq!(why(Require::table().any("/files/{*id}", project())).1, rest);
    assert_eq!(why(Require::table().any("/files/{*id}", ("file:{*id}", "read"))).1, rest);
    assert!(Require::table().any("/files/{id}", ("file:{*id}", "read")).build().is_err());
    let twice = "its guard names the parameter {id}, which the path has twice";
    assert_eq!(why(Require::table().any("/a/{id}/b/{id}", project())).1, twice);
    assert!(Require::table().any("/projects", in_path()).build().is_ok(), "it has its template");
    assert!(Require::table().any("/projects", ("project:{id", "read")).build().is_ok(), "no parameter");
}

/// Names with braces that are no whole instance are names as before.
#[tokio::test]
async fn other_braces_are_ordinary_characters() {
    for name in ["{id}", "project:{id", "project:id}", "project:{}", "project:x{id}", "project:{{id}}", "pro{id}:1"] {
        let guard = Require::table().any("/projects/{id}", (name, "read")).build().unwrap();
        assert_eq!(reading(&[name], guard.clone()).call(to("/projects/7")).await, accepted(), "{name}");
        assert_eq!(reading(&["project:7"], guard).call(to("/projects/7")).await, forbidden(), "{name}");
    }
}

#[tokio::test]
async fn a_guard_in_a_row_keeps_the_template_that_it_has() {
    let table = Require::table().any("/projects/{id}/{name}", in_path()).build().unwrap();
    let api = reading(&["project:7"], table);
    assert_eq!(api.call(to("/projects/7/x")).await, accepted());
    assert_eq!(api.call(to("/projects/x/7")).await, forbidden());
}

#[cfg(feature = "limits")]
#[test]
fn a_guard_keeps_its_costs_in_a_row() {
    use tower_api_key::limit::{Limit, Limits, Plans, Rate};
    let plans = Plans::new().plan("free", [Limit::rate("burst", Rate::per_second(10).burst(20))]);
    let limits = Limits::in_process(plans).build().unwrap();
    let costing = |cost| Require::permission("project:{id}", "read").costs(cost);
    let row = |cost| Require::table().any("/projects/{id}", costing(cost)).build().unwrap();
    for (cost, is_possible) in [(20, true), (21, false)] {
        assert_eq!(limits.checked(row(cost)).is_ok(), is_possible);
        assert_eq!(limits.checked(costing(cost).in_path("/projects/{id}").unwrap()).is_ok(), is_possible);
    }
}

#[tokio::test]
async fn a_guard_without_a_template_is_500_for_every_key() {
    crate::support::logs::capture();
    let project = || Require::permission("project:{id}", "read");
    for guard in [
        project(),
        Require::by_method("project:{id}"),
        Require::any([Require::authenticated(), project()]),
        Require::all([Require::any([project().hide_as_not_found()])]),
    ] {
        let api = holding(everything().grant("project:{id}", "read"), guard);
        let _ = crate::support::logs::take();
        for target in ["/projects/7", "/projects/{id}"] {
            let answer = api.answer(to(target)).await;
            assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
            assert_eq!(answer.decision.outcome(), tower_api_key::Outcome::Refused(Reason::Misconfigured));
        }
        #[cfg(feature = "tracing")]
        assert!(crate::support::logs::take().contains("call Require::in_path"));
    }
}
