//! Tests a manager's errors and records as responses: the HTTP API and your own handlers return the
//! same.

use std::time::Duration;

use crate::support::{
    Api,
    registry::{admin, everything, user},
    t0,
};
use axum::{
    Router,
    body::Body,
    extract::{Path, State},
    response::{IntoResponse, Response},
    routing::delete,
};
use http::{Request, StatusCode, header::CONTENT_TYPE};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;
use tower_api_key::{
    Action, KeyFormat, KeyManager, KeyRecord, Permissions, Principal, Scheme, Status,
    key::FormatError,
    manage::{Actor, KeyView, ManageError, NewKey, Rotation, UpdateKey},
    store::{MemoryStore, RegistryError},
};

async fn read(response: Response<Body>) -> (StatusCode, String, Value) {
    let (parts, body) = response.into_parts();
    let media_type = parts.headers[CONTENT_TYPE].to_str().unwrap().to_owned();
    let body = body.collect().await.unwrap().to_bytes();
    (parts.status, media_type, serde_json::from_slice(&body).unwrap())
}

/// Sends a request of `actor`, without a key, to a management router.
async fn send(router: &Router, actor: &Actor, line: &str, body: &Value) -> (StatusCode, String, Value) {
    let (method, path) = line.split_once(' ').unwrap();
    let request = Request::builder().method(method).uri(path).header(CONTENT_TYPE, "application/json");
    let mut request = request.body(Body::from(body.to_string())).unwrap();
    request.extensions_mut().insert(actor.clone());
    read(router.clone().oneshot(request).await.unwrap()).await
}

#[test]
fn the_wrong_format_of_an_imported_key_is_an_error_of_the_caller() {
    for (error, status) in [
        (FormatError::TooLong(512), 422),
        (FormatError::Mismatch, 422),
        (FormatError::Checksum, 422),
        (FormatError::Generator, 503),
    ] {
        assert_eq!(ManageError::from(error).status(), status, "{error}");
    }
}

#[tokio::test]
async fn an_error_is_the_same_response_in_a_handler_and_in_the_http_api() {
    let (api, manager) = Api::managed(|builder| builder.keys_per_user(1));
    let router: Router = manager.router(&Scheme::bearer().into());
    let alices = manager.issue(&user("alice"), NewKey::user("mine").grant("links", "read")).await.unwrap();
    let revoked = manager.issue(&admin(), NewKey::service_account("revoked")).await.unwrap();
    manager.revoke(&admin(), revoked.record().id()).await.unwrap();
    let nobody = Actor::trusted(tower_api_key::Owner::ServiceAccount, Permissions::new()).in_organization("acme");
    let long = "k".repeat(40);
    let (alices, revoked) = (alices.record().id(), revoked.record().id());

    let denied = manager.revoke(&nobody, alices).await.unwrap_err();
    let escalated = manager.issue(&admin(), NewKey::service_account("x").grant("stats", "read")).await.unwrap_err();
    let cut = manager.issue(&admin(), NewKey::service_account("x").grant(&*long, "read")).await.unwrap_err();
    let missing = manager.get(&admin(), &*long).await.unwrap_err();
    let foreign = manager.regenerate(&admin(), alices).await.unwrap_err();
    let full = manager.issue(&user("alice"), NewKey::user("second")).await.unwrap_err();
    let ended = manager.edit(&admin(), revoked, UpdateKey::new().name("x")).await.unwrap_err();
    let unnamed = manager.issue(&admin(), NewKey::service_account(" ")).await.unwrap_err();
    let new = |name: &str| json!({"type": "bot", "name": name});
    let granting = |resource: &str| json!({"type": "bot", "name": "x", "permissions": {resource: ["read"]}});
    for (error, status, actor, line, body) in [
        (denied, 403, &nobody, format!("DELETE /{alices}"), json!({})),
        (escalated, 403, &admin(), "POST /".into(), granting("stats")),
        (cut, 403, &admin(), "POST /".into(), granting(&long)),
        (missing, 404, &admin(), format!("GET /{long}"), json!({})),
        (foreign, 403, &admin(), format!("POST /{alices}/regenerate"), json!({})),
        (full, 409, &user("alice"), "POST /".into(), json!({"type": "user", "name": "second"})),
        (ended, 409, &admin(), format!("PATCH /{revoked}"), json!({"name": "x"})),
        (unnamed, 422, &admin(), "POST /".into(), new(" ")),
    ] {
        assert_eq!(error.status(), status, "{error}");
        let by_http = send(&router, actor, &line, &body).await;
        let by_handler = read(error.into_response()).await;
        assert_eq!(by_http, by_handler, "{line}");
        let (status, media_type, problem) = by_handler;
        assert_eq!((media_type.as_str(), &problem["type"]), ("application/problem+json", &json!("about:blank")));
        assert_eq!(problem["status"], status.as_u16());
        assert!(!problem.to_string().contains(&long), "a key in the wrong field is not repeated: {problem}");
    }
    api.store.break_writes(true);
    let failed = manager.issue(&admin(), NewKey::service_account("x")).await.unwrap_err();
    assert_eq!(failed.status(), 503);
    let response = failed.into_response();
    assert_eq!(response.headers()["retry-after"], "1");
    assert_eq!(read(response).await.2["detail"], "The key store failed.");
}

#[tokio::test]
async fn a_handler_can_return_the_error_of_a_manager() {
    async fn revoke(
        key: Principal,
        State(manager): State<KeyManager>,
        Path(id): Path<String>,
    ) -> Result<StatusCode, ManageError> {
        manager.revoke(&Actor::from(&key), id).await?;
        Ok(StatusCode::NO_CONTENT)
    }
    let (_, manager) = Api::managed(|builder| builder);
    let key = manager.issue(&admin(), NewKey::service_account("x").grant("links", "read")).await.unwrap();
    let app = Router::new().route("/keys/{id}", delete(revoke)).with_state(manager.clone());
    let app = app.layer(manager.layer().build().unwrap());
    let request = Request::delete("/keys/key_1").header("x-api-key", key.key().expose());
    let response = app.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    let (status, _, problem) = read(response).await;
    assert_eq!(
        (status, &problem["detail"]),
        (StatusCode::FORBIDDEN, &json!("This needs the permission apiKeys: delete."))
    );
}

#[tokio::test]
async fn an_id_with_quotes_and_control_characters_is_still_json() {
    let id = "a\"b\\c\n\u{1}\u{fc}\u{1f511}";
    for error in [ManageError::Expired(id.into()), RegistryError::Revoked(id.into()).into()] {
        let (status, _, problem) = read(error.into_response()).await;
        assert_eq!(status, StatusCode::CONFLICT);
        assert!(problem["detail"].as_str().unwrap().contains(id), "{problem}");
    }
    assert_eq!(ManageError::PermissionDenied(Action::READ).status(), StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_view_is_the_json_of_the_http_api() {
    let (api, manager) = Api::managed(|builder| builder);
    let router: Router = manager.router(&Scheme::bearer().into());
    let new = NewKey::service_account("ci").permissions(everything()).expires_at(t0() + Duration::from_hours(1));
    let issued = manager.issue(&admin(), new.metadata("plan", "pro")).await.unwrap();
    let id = issued.record().id();
    let shown = async || send(&router, &admin(), &format!("GET /{id}"), &json!({})).await.2;
    let view = |record: &KeyRecord| serde_json::to_value(KeyView::at(record, api.clock.get())).unwrap();

    assert_eq!(view(issued.record()), shown().await);
    let disabled = manager.disable(&admin(), id).await.unwrap();
    assert_eq!(view(&disabled)["status"], "disabled");
    assert_eq!(view(&disabled), shown().await);
    let enabled = manager.enable(&admin(), id).await.unwrap();
    let rotated = manager.rotate(&admin(), id, Rotation::grace_period(Duration::from_mins(1))).await.unwrap();
    assert_eq!(view(rotated.record())["replaces"], json!(id.as_str()));
    api.clock.set(t0() + Duration::from_mins(2));
    assert_eq!(shown().await["status"], "expired");
    let late = enabled.clone().with_not_before(t0() + Duration::from_mins(9));
    assert_eq!(view(&late)["status"], "not_yet_valid");
    assert_eq!(view(&enabled.with_status(Status::Revoked))["status"], "revoked");
    assert_eq!(view(&late)["not_before"], "2027-01-15T08:09:00Z");
}

#[tokio::test]
async fn a_router_serves_inside_a_router_with_any_state() {
    #[derive(Clone)]
    struct AppState;
    let (_, manager) = Api::managed(|builder| builder);
    let policy = Scheme::bearer().into();
    let app: Router<AppState> = Router::new()
        .nest("/api/keys", manager.router(&policy))
        .merge(manager.self_service_router_at("/my/keys", &policy));
    let app = app.with_state(AppState);
    for path in ["/api/keys", "/my/keys", "/my/keys/"] {
        let (status, _, list) = send(&app, &user("alice"), &format!("GET {path}"), &json!({})).await;
        assert_eq!((status, list), (StatusCode::OK, json!({"keys": [], "next": null})), "{path}");
    }
}

#[tokio::test]
async fn every_reference_of_the_openapi_document_resolves() {
    fn references(value: &Value) -> Vec<String> {
        match value {
            Value::Object(members) => members
                .iter()
                .flat_map(|(name, value)| match value {
                    Value::String(text) if name == "$ref" => vec![text.clone()],
                    _ => references(value),
                })
                .collect(),
            Value::Array(items) => items.iter().flat_map(references).collect(),
            _ => Vec::new(),
        }
    }
    let (_, manager) = Api::managed(|builder| builder);
    let router: Router = manager.router(&Scheme::bearer().into());
    let document = send(&router, &admin(), "GET /openapi.json", &json!({})).await.2;
    let references = references(&document);
    for name in ["Key", "KeyList", "IssuedKey", "Problem", "CreateKey", "EditKey", "RotateKey"] {
        assert!(references.contains(&format!("#/components/schemas/{name}")), "{name} is unused");
    }
    for reference in references {
        assert!(document.pointer(&reference[1..]).is_some(), "{reference} does not resolve");
    }
    // The schema of a problem has the members that the writer writes, and those of the layer's problems.
    let problem = read(ManageError::from(RegistryError::AlreadyDone("k1".into())).into_response()).await.2;
    let names = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let mut written = names(&problem);
    written.extend(["code", "violated-policies"].map(str::to_owned));
    let mut described = names(&document["components"]["schemas"]["Problem"]["properties"]);
    written.sort();
    described.sort();
    assert_eq!(written, described);
}

#[tokio::test]
async fn a_cloned_builder_shares_the_store_and_not_the_settings() {
    let builder = KeyManager::builder(MemoryStore::new()).format(KeyFormat::new("acme").unwrap());
    let strict = builder.clone().keys_per_user(1).build().unwrap();
    let other = builder.build().unwrap();
    strict.issue(&user("alice"), NewKey::user("first")).await.unwrap();
    assert!(strict.issue(&user("alice"), NewKey::user("second")).await.is_err());
    assert!(other.issue(&user("alice"), NewKey::user("second")).await.is_ok());
    assert_eq!(strict.list(&admin(), tower_api_key::store::KeyFilter::default()).await.unwrap().records.len(), 2);
}
