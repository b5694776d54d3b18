//! Tests the integration with axum: extractors, and every way to apply a layer.

use axum::{
    Router,
    body::{Body, Bytes},
    routing::{get, post},
};
use http::{Request, StatusCode, header::HeaderMap};
use http_body_util::BodyExt;
use tower::{ServiceBuilder, ServiceExt};
use tower_api_key::{
    ApiKey, ApiKeyLayer, Principal, Rejection, RejectionFormat, Require, layer::ApiKeyLayerBuilder, store::StaticKeys,
};

const LIVE: &str = "zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ";
const UNAUTHORIZED: &str = r#"{"error": "Unauthorized", "code": "AUTHENTICATION_ERROR"}"#;
const FORBIDDEN: &str = r#"{"error": "Forbidden", "code": "PERMISSION_DENIED"}"#;

fn layer(edit: impl FnOnce(ApiKeyLayerBuilder) -> ApiKeyLayerBuilder) -> ApiKeyLayer {
    let keys = StaticKeys::new([("live", ApiKey::new(LIVE).unwrap())]).unwrap().grant("links", "read");
    let builder = ApiKeyLayer::builder(keys).rejection_format(RejectionFormat::json());
    edit(builder).build().unwrap()
}

fn required() -> ApiKeyLayer {
    layer(|builder| builder)
}

async fn who(key: Principal) -> String {
    key.id().to_string()
}

async fn who_if_anybody(key: Option<Principal>) -> String {
    key.map_or("nobody".to_owned(), |key| key.id().to_string())
}

async fn archive(key: Principal) -> Result<&'static str, Rejection> {
    key.require_organization("acme")?;
    key.require("links", "archive")?;
    Ok("archived")
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

async fn call(app: &Router, path: &str, key: Option<&str>) -> Answer {
    crate::support::logs::watch_for(key.map(str::to_owned).filter(|key| key.len() > 8));
    let mut request = Request::get(path).body(Body::empty()).unwrap();
    request.headers_mut().extend(key.map(|key| (http::HeaderName::from_static("x-api-key"), key.parse().unwrap())));
    let (parts, body) = app.clone().oneshot(request).await.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    crate::support::logs::assert_clean();
    Answer { status: parts.status, headers: parts.headers, body }
}

async fn says(app: &Router, path: &str, key: Option<&str>) -> (u16, Bytes) {
    let answer = call(app, path, key).await;
    (answer.status.as_u16(), answer.body)
}

#[tokio::test]
async fn the_layer_works_wherever_axum_takes_one() {
    let routes = || Router::new().route("/who", get(who));
    let stacked = ServiceBuilder::new().layer(required()).layer(Require::permission("links", "read"));
    for (name, app) in [
        ("layer", routes().layer(required())),
        ("route_layer", routes().route_layer(required())),
        ("on the method", Router::new().route("/who", get(who).layer(required()))),
        ("ServiceBuilder", routes().layer(stacked)),
        ("with state", routes().layer(required()).with_state(())),
    ] {
        assert_eq!(says(&app, "/who", Some(LIVE)).await, (200, "live".into()), "{name}");
        assert_eq!(says(&app, "/who", None).await, (401, UNAUTHORIZED.into()), "{name}");
        assert_eq!(says(&app, "/who", Some("unknown")).await, (401, UNAUTHORIZED.into()), "{name}");
    }
    let nested = Router::new().nest("/api", routes().layer(required()));
    let outside = Router::new().nest("/api", routes()).layer(required());
    for app in [nested, outside] {
        assert_eq!(says(&app, "/api/who", Some(LIVE)).await, (200, "live".into()));
        assert_eq!(says(&app, "/api/who", None).await, (401, UNAUTHORIZED.into()));
        assert_eq!(says(&app, "/api/who", Some("unknown")).await, (401, UNAUTHORIZED.into()));
    }
}

#[tokio::test]
async fn layer_protects_the_fallback_and_route_layer_the_routes() {
    let routes = || Router::new().route("/who", get(who));
    assert_eq!(call(&routes().layer(required()), "/nowhere", None).await.status, 401);
    assert_eq!(call(&routes().layer(required()), "/nowhere", Some(LIVE)).await.status, 404);
    assert_eq!(call(&routes().route_layer(required()), "/nowhere", None).await.status, 404);
}

#[tokio::test]
async fn a_principal_is_required_and_an_option_is_not() {
    let routes = || Router::new().route("/who", get(who)).route("/maybe", get(who_if_anybody));
    let app = routes().layer(layer(|layer| layer.optional().skip(|path| path == "/skipped")));
    assert_eq!(says(&app, "/maybe", Some(LIVE)).await, (200, "live".into()));
    assert_eq!(says(&app, "/maybe", None).await, (200, "nobody".into()));
    assert_eq!(says(&app, "/maybe", Some("unknown")).await, (401, UNAUTHORIZED.into()));
    let answer = call(&app, "/who", None).await;
    assert_eq!((answer.status, answer.body), (StatusCode::UNAUTHORIZED, UNAUTHORIZED.into()));
    assert_eq!(answer.headers.get_all("www-authenticate").iter().count(), 3);
    assert_eq!(answer.headers["content-length"], UNAUTHORIZED.len().to_string());
    assert_eq!(answer.headers["content-type"], "application/json");

    let skipping = routes().layer(layer(|layer| layer.skip(|_| true)));
    assert_eq!(says(&skipping, "/who", Some(LIVE)).await, (401, UNAUTHORIZED.into()));
    assert_eq!(says(&skipping, "/maybe", Some(LIVE)).await, (200, "nobody".into()));
}

#[tokio::test]
async fn without_a_layer_every_extractor_is_500() {
    let app = Router::new().route("/who", get(who)).route("/maybe", get(who_if_anybody));
    for path in ["/who", "/maybe"] {
        assert_eq!(call(&app, path, Some(LIVE)).await.status, 500);
    }
    let outside = Router::new().route("/who", get(who).layer(required())).layer(Require::permission("links", "read"));
    assert_eq!(call(&outside, "/who", Some(LIVE)).await.status, 500, "the guard is outside the layer");
}

#[tokio::test]
async fn a_handlers_refusal_reads_like_a_guards() {
    let app = Router::new()
        .route("/archive", get(archive))
        .route("/links", post("made").get("listed").layer(Require::by_method("links")))
        .layer(required());
    assert_eq!(says(&app, "/archive", Some(LIVE)).await, (403, FORBIDDEN.into()));
    assert_eq!(says(&app, "/links", Some(LIVE)).await, (200, "listed".into()));
    let post = Request::post("/links").header("authorization", format!("Bearer {LIVE}")).body(Body::empty()).unwrap();
    let response = app.oneshot(post).await.unwrap();
    assert_eq!(response.status(), 403);
    assert_eq!(
        response.headers()["www-authenticate"],
        r#"Bearer realm="api", error="insufficient_scope", scope="links:create""#
    );
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), FORBIDDEN);
}

#[tokio::test]
async fn a_head_through_a_get_route_is_refused_without_a_body() {
    let app = Router::new().route("/who", get(who)).layer(required());
    let request = Request::head("/who").body(Body::empty()).unwrap();
    let response = app.oneshot(request).await.unwrap();
    assert_eq!(response.status(), 401);
    assert!(response.into_body().collect().await.unwrap().to_bytes().is_empty());
}

/// The same table under every way to combine routers.
#[tokio::test]
async fn a_table_guards_the_paths_that_its_router_sees() {
    let table = |prefix: &str| {
        Require::table().route("GET", format!("{prefix}/links/{{id}}"), ("links", "read")).build().unwrap()
    };
    let links = || Router::new().route("/links/{id}", get("link")).route("/forgotten", get("forgotten"));
    let guarded = || links().layer(table(""));
    for (name, app, prefix) in [
        ("a router", guarded(), ""),
        ("nested", Router::new().nest("/api", guarded()), "/api"),
        ("nested twice", Router::new().nest("/v1", Router::new().nest("/api", guarded())), "/v1/api"),
        ("nested under a parameter", Router::new().nest("/orgs/{org}", guarded()), "/orgs/acme"),
        ("nested as a service", Router::new().nest_service("/api", guarded()), "/api"),
        ("around what is nested", Router::new().nest("/api", links()).layer(table("/api")), "/api"),
        ("around a service", Router::new().nest_service("/api", links()).layer(table("/api")), "/api"),
        ("as a route layer", Router::new().nest("/api", links().route_layer(table(""))), "/api"),
    ] {
        let app = app.layer(required());
        let says = async |path: &str| says(&app, &format!("{prefix}{path}"), Some(LIVE)).await;
        assert_eq!(says("/links/7").await, (200, "link".into()), "{name}");
        assert_eq!(says("/forgotten").await, (403, FORBIDDEN.into()), "{name}");
    }
}

/// axum routes `/api//health` to `/{id}/health`, and its `nest` turns it into `/health`.
#[tokio::test]
async fn a_path_that_nest_cuts_otherwise_than_it_was_routed_is_neither_listed_nor_skipped() {
    let routes = || {
        Router::new()
            .route("/health", get("healthy"))
            .route("/{id}/health", get("secret"))
            .route("/orgs/{org}", get("an organization"))
            .fallback("nothing")
    };
    let table = Require::table().open("/health").any("/{id}/health", ("admin", "read")).build().unwrap();
    let guarded = Router::new().nest("/api", routes().layer(table.clone())).layer(layer(ApiKeyLayerBuilder::optional));
    assert_eq!(says(&guarded, "/api/health", None).await, (200, "healthy".into()));
    assert_eq!(says(&guarded, "/api/7/health", None).await.0, 401);
    assert_eq!(says(&guarded, "/api//health", None).await.0, 401);
    assert_eq!(says(&guarded, "/api//health", Some(LIVE)).await.0, 403);
    let inside = routes().layer(table).layer(layer(ApiKeyLayerBuilder::optional));
    let inside = Router::new().nest("/api", inside);
    assert_eq!(says(&inside, "/api//health", None).await.0, 401, "layer and guard inside");
    let skipping = routes().layer(layer(|builder| builder.skip(|path| path == "/health")));
    let skipping = Router::new().nest("/api", skipping);
    assert_eq!(says(&skipping, "/api/health", None).await, (200, "healthy".into()));
    assert_eq!(says(&skipping, "/api//health", None).await.0, 401, "skipped");

    let part = Router::new()
        .route("/admin", get("admin"))
        .layer(Require::table().any("/{*rest}", Require::authenticated()).build().unwrap());
    let app = Router::new().nest("/v{n}", part).layer(required());
    assert_eq!(says(&app, "/v1/admin", Some(LIVE)).await.0, 403, "a prefix that nest does not strip");

    let keys = StaticKeys::new([("live", ApiKey::new(LIVE).unwrap())]).unwrap();
    let service = Require::table()
        .any("/api/admin/{*rest}", ("admin", "read"))
        .any("/api/{tenant}/{*path}", Require::authenticated());
    let inner = Router::new().route("/admin/{*rest}", get("admin")).route("/{tenant}/{*path}", get("tenant"));
    let app = Router::new().nest_service("/api", inner).layer(service.build().unwrap());
    let app = app.layer(ApiKeyLayer::builder(keys).build().unwrap());
    assert_eq!(says(&app, "/api/acme/x", Some(LIVE)).await, (200, "tenant".into()));
    assert_eq!(says(&app, "/api/admin/keys", Some(LIVE)).await.0, 403);
    assert_eq!(says(&app, "/api//admin/keys", Some(LIVE)).await.0, 403, "a service under nest_service");
}

#[tokio::test]
async fn an_organization_is_not_taken_from_a_path_that_nest_cuts_otherwise() {
    let store = tower_api_key::store::MemoryStore::new();
    let key = ApiKey::new(LIVE).unwrap();
    let record = tower_api_key::KeyRecord::for_key("live", &key, &tower_api_key::KeyHasher::sha256());
    store.add(record.with_organization("acme")).unwrap();
    let guard = Require::organization_in_path("/{organization}").unwrap();
    let inner =
        Router::new().route("/{organization}", get("one")).route("/{organization}/{x}", get("two")).layer(guard);
    let app = Router::new().nest("/api", inner).layer(ApiKeyLayer::builder(store).build().unwrap());
    assert_eq!(says(&app, "/api/acme", Some(LIVE)).await, (200, "one".into()));
    assert_eq!(says(&app, "/api//acme", Some(LIVE)).await.0, 403);
}
