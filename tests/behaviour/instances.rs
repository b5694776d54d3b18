//! Tests permissions on one instance that the path names: `project:{id}`.

#[cfg(feature = "axum")]
mod nested;
mod paths;
mod rows;
mod templates;

use http::Request;
use tower_api_key::{KeyRecord, Permissions, Reason, Require};

use crate::support::{Api, Body, LIVE, Observed, TestApi, bearer, path, refused};

/// An API with one key that may read these resources.
fn reading(resources: &[&str], guard: Require) -> TestApi {
    let grants = resources.iter().map(|resource| (*resource, "read")).collect();
    holding(grants, guard)
}

/// An API with one key that has these permissions.
fn holding(permissions: Permissions, guard: Require) -> TestApi {
    Api::new().key("live", LIVE, |record: KeyRecord| record.with_permissions(permissions)).guard(guard).run()
}

/// Every instance of `project`.
fn every_project() -> Permissions {
    Permissions::new().grant("project:*", "read").with_wildcards()
}

fn everything() -> Permissions {
    Permissions::new().grant("*", "*").with_wildcards()
}

fn to(target: &str) -> Request<Body> {
    path(bearer(LIVE), target)
}

fn forbidden() -> Observed {
    refused(Reason::Forbidden, 403)
}

fn unlisted() -> Observed {
    refused(Reason::NoMatchingRoute, 403)
}

/// A guard that needs no table.
fn in_path() -> Require {
    Require::permission("project:{id}", "read").in_path("/projects/{id}/").unwrap()
}

/// The same permission in the rows of a table.
fn in_projects() -> Require {
    let table = Require::table()
        .any("/projects/{id}", ("project:{id}", "read"))
        .any("/projects/{id}/", ("project:{id}", "read"))
        .any("/projects/{id}/{*rest}", ("project:{id}", "read"));
    table.build().unwrap()
}

/// The same permission in the rows of a table, with every other path open to each key.
fn in_table() -> Require {
    let table = Require::table()
        .route("GET", "/projects/{id}", ("project:{id}", "read"))
        .route("GET", "/projects/{id}/", ("project:{id}", "read"))
        .route("GET", "/projects/{id}/files/{*rest}", ("project:{id}", "read"))
        .any("/{*rest}", Require::authenticated());
    table.build().unwrap()
}
