//! Tests instances under axum, where the guard and the handler read the same segment.

use super::*;
use axum::{Router, extract::Path, routing::get};
use http_body_util::BodyExt;
use tower::ServiceExt;
use tower_api_key::{ApiKey, ApiKeyLayer, KeyHasher, store::MemoryStore};

fn layer(permissions: Permissions) -> ApiKeyLayer {
    let store = MemoryStore::new();
    let record = KeyRecord::for_key("live", &ApiKey::new(LIVE).unwrap(), &KeyHasher::sha256());
    store.add(record.with_permissions(permissions)).unwrap();
    ApiKeyLayer::builder(store).build().unwrap()
}

/// Returns the status and, if the handler ran, the project that it got.
async fn call(app: &Router, target: &str) -> (u16, Option<String>) {
    let request = http::Request::get(target).header("x-api-key", LIVE).body(axum::body::Body::empty()).unwrap();
    let response = app.clone().oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, (status == 200).then(|| String::from_utf8(body.to_vec()).unwrap()))
}

async fn show(Path(project): Path<String>) -> String {
    project
}

/// The names of the parameters differ between the routes and the table.
fn routes() -> Router {
    Router::new()
        .route("/projects/{project}", get(show))
        .route("/projects/{project}/files", get(show))
        .route("/projects/mine", get("mine"))
}

fn read(template: &str) -> Require {
    Require::permission("project:{id}", "read").in_path(template).unwrap()
}

fn two_rows(prefix: &str) -> Require {
    let table = Require::table()
        .any(format!("{prefix}/projects/{{id}}"), ("project:{id}", "read"))
        .any(format!("{prefix}/projects/{{id}}/files"), ("project:{id}", "read"));
    table.build().unwrap()
}

#[tokio::test]
async fn the_handler_gets_the_instance_that_the_guard_has_checked() {
    let seven = || layer(Permissions::new().grant("project:7", "read").grant("project:a b", "read"));
    let on_route = |template: &str| get(show).layer(read(template));
    for app in [
        routes().layer(read("/projects/{id}/")).layer(seven()),
        routes().route_layer(read("/projects/{id}")).layer(seven()),
        routes().layer(two_rows("")).layer(seven()),
        Router::new().route("/projects/{project}", on_route("/projects/{id}")).layer(seven()),
    ] {
        assert_eq!(call(&app, "/projects/7").await, (200, Some("7".into())));
        assert_eq!(call(&app, "/projects/%37").await, (200, Some("7".into())));
        assert_eq!(call(&app, "/projects/a%20b").await, (200, Some("a b".into())));
        for target in ["/projects/8", "/projects/%38", "/projects/mine", "/projects/7;x", "/projects/%2537"] {
            assert_eq!(call(&app, target).await.0, 403, "{target}");
        }
    }
}

#[tokio::test]
async fn under_nest_a_template_leaves_out_the_prefix() {
    let seven = || layer(Permissions::new().grant("project:7", "read"));
    for (app, wrong) in [
        (routes().layer(read("/projects/{id}")), routes().layer(read("/api/projects/{id}"))),
        (routes().layer(two_rows("")), routes().layer(two_rows("/api"))),
    ] {
        let app = Router::new().nest("/api", app).layer(seven());
        assert_eq!(call(&app, "/api/projects/7").await, (200, Some("7".into())));
        assert_eq!(call(&app, "/api/projects/7/files").await, (200, Some("7".into())));
        for target in ["/api/projects/8", "/api//projects/7", "/api/projects//7", "/api/projects/8%2F..%2F7"] {
            let status = call(&app, target).await.0;
            assert!(status == 403 || status == 404, "{target}: {status}");
        }
        let wrong = Router::new().nest("/api", wrong).layer(seven());
        assert_eq!(call(&wrong, "/api/projects/7").await.0, 403);
    }
    // Outside of `nest`, the path has the prefix.
    for guard in [read("/api/projects/{id}"), two_rows("/api")] {
        let app = Router::new().nest("/api", routes()).layer(guard).layer(seven());
        assert_eq!(call(&app, "/api/projects/7").await, (200, Some("7".into())));
        assert_eq!(call(&app, "/api/projects/8").await.0, 403);
    }
}

#[tokio::test]
async fn a_prefix_with_a_parameter_never_moves_the_instance() {
    let app = Router::new().route("/projects/{project}", get("shown")).layer(read("/projects/{id}"));
    let app = Router::new().nest("/orgs/{org}", app).layer(layer(Permissions::new().grant("project:7", "read")));
    assert_eq!(call(&app, "/orgs/projects/projects/8").await.0, 403);
    assert_eq!(call(&app, "/orgs/7/projects/8").await.0, 403);
    assert_eq!(call(&app, "/orgs/acme/projects/7").await.0, 200);
}
