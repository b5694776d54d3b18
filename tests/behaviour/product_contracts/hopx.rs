//! Hopx: `X-API-Key` or `Authorization: Bearer`.

use axum::body::Body;
use serde_json::{Value, json};

use super::{Product, request};

const SANDBOXES: &str = "GET /v1/sandboxes";

#[tokio::test]
async fn hopx_01_either_header_or_both_with_the_same_key() {
    let hopx = Product::hopx().await;
    let (live, limited) = (hopx.key("live"), hopx.key("limited"));
    let bearer = format!("Bearer {live}");
    assert_eq!(hopx.status(SANDBOXES, &[("X-API-Key", live)]).await, 200);
    assert_eq!(hopx.status(SANDBOXES, &[("Authorization", &bearer)]).await, 200);
    assert_eq!(hopx.status(SANDBOXES, &[("Authorization", &bearer), ("X-API-Key", live)]).await, 200);
    assert_eq!(hopx.status(SANDBOXES, &[("Authorization", &bearer), ("X-API-Key", limited)]).await, 401);
}

#[tokio::test]
async fn hopx_02_a_401_has_exactly_this_body() {
    let hopx = Product::hopx().await;
    let revoked = hopx.key("limited").to_owned();
    assert_eq!(hopx_keys(&hopx, &format!("DELETE /v1/keys/{}", hopx.id("limited")), &Value::Null).await.0, 200);
    let wrong = hopx.key("live").replace("hopx_live_", "hopx_live_x");
    for key in [None, Some(&*wrong), Some("nonsense"), Some(&*revoked), Some(hopx.key("foreign"))] {
        let headers: Vec<_> = key.into_iter().map(|key| ("X-API-Key", key)).collect();
        let (status, body) = hopx.send(request(SANDBOXES, &headers)).await;
        assert_eq!((status, body), (401, json!({"error": "Unauthorized", "code": "AUTHENTICATION_ERROR"})));
    }
}

#[tokio::test]
async fn hopx_03_a_403_has_exactly_this_body() {
    let hopx = Product::hopx().await;
    let forbidden = (403, json!({"error": "Forbidden", "code": "PERMISSION_DENIED"}));
    let create = request("POST /v1/sandboxes", &[("X-API-Key", hopx.key("limited"))]);
    assert_eq!(hopx.send(create).await, forbidden);
    let headers = &[("X-API-Key", hopx.key("live"))];
    assert_eq!(hopx.send(request("GET /v1/organizations/globex/sandboxes", headers)).await, forbidden);
    assert_eq!(hopx.status("GET /v1/organizations/acme/sandboxes", headers).await, 200);
}

#[tokio::test]
async fn hopx_04_keys_begin_with_their_environment_and_a_test_key_is_401() {
    let hopx = Product::hopx().await;
    for (name, prefix) in [("live", "hopx_live_"), ("limited", "hopx_live_"), ("test", "hopx_test_")] {
        assert!(hopx.key(name).starts_with(prefix), "{name}");
    }
    assert_eq!(hopx.status(SANDBOXES, &[("X-API-Key", hopx.key("test"))]).await, 401);
}

async fn hopx_keys(hopx: &Product, line: &str, body: &Value) -> (u16, Value) {
    let mut request = request(line, &[("X-API-Key", hopx.key("live")), ("content-type", "application/json")]);
    if !body.is_null() {
        *request.body_mut() = Body::from(body.to_string());
    }
    hopx.send(request).await
}

#[tokio::test]
async fn hopx_05_two_keys_run_side_by_side_until_the_old_one_is_revoked() {
    let hopx = Product::hopx().await;
    let body = json!({"type": "bot", "name": "new", "permissions": {"sandboxes": ["read"], "apiKeys": ["delete"]}});
    let (status, made) = hopx_keys(&hopx, "POST /v1/keys", &body).await;
    assert_eq!((status, &made["environment"]), (201, &json!("live")), "a live key makes live keys");
    let new = made["key"].as_str().unwrap();
    assert!(new.starts_with("hopx_live_"));
    let sandboxes = async |key| hopx.status(SANDBOXES, &[("X-API-Key", key)]).await;
    assert_eq!((sandboxes(hopx.key("live")).await, sandboxes(new).await), (200, 200));
    let revoke = format!("DELETE /v1/keys/{}", hopx.id("live"));
    assert_eq!(hopx.status(&revoke, &[("X-API-Key", new)]).await, 200);
    assert_eq!((sandboxes(hopx.key("live")).await, sandboxes(new).await), (401, 200));
}

#[tokio::test]
async fn hopx_03_a_key_that_may_not_manage_keys_gets_the_same_403() {
    let hopx = Product::hopx().await;
    let forbidden = (403, json!({"error": "Forbidden", "code": "PERMISSION_DENIED"}));
    assert_eq!(hopx.send(request("GET /v1/keys", &[("X-API-Key", hopx.key("limited"))])).await, forbidden);
    let beyond = json!({"type": "bot", "name": "x", "permissions": {"billing": ["read"]}});
    assert_eq!(hopx_keys(&hopx, "POST /v1/keys", &beyond).await, forbidden);
}

#[tokio::test]
async fn hopx_06_the_requests_of_the_document_work() {
    let hopx = Product::hopx().await;
    let (live, bearer) = (hopx.key("live"), format!("Bearer {}", hopx.key("live")));
    let json_type = ("Content-Type", "application/json");
    assert_eq!(hopx.status(SANDBOXES, &[("X-API-Key", live), json_type]).await, 200);
    assert_eq!(hopx.status(SANDBOXES, &[("Authorization", &bearer), json_type]).await, 200);
    let mut post = request("POST /v1/sandboxes", &[("X-API-Key", live), json_type]);
    *post.body_mut() = Body::from("{\n    \"template_id\": \"52\",\n    \"timeout_seconds\": 3600\n  }");
    let (status, body) = hopx.send(post).await;
    assert_eq!((status, &body["template_id"]), (201, &json!("52")));
    assert_eq!(hopx.status("POST /v1/sandboxes", &[("X-API-Key", live)]).await, 201, "without a body");
}
