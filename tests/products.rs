//! The three products' documents, line by line, against the very services of `examples/`.
//!
//! The lines that need keys to be managed come with the management API.
#![cfg(feature = "axum")]

#[path = "../examples/either.rs"]
#[allow(dead_code, reason = "its main runs as an example")]
mod either;
#[path = "../examples/token.rs"]
#[allow(dead_code, reason = "its main runs as an example")]
mod token;
#[path = "../examples/x_api_key.rs"]
#[allow(dead_code, reason = "its main runs as an example")]
mod x_api_key;

use axum::{Router, body::Body};
use http::Request;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;
use tower_api_key::{ApiKey, KeyHasher, KeyRecord, Mask, Owner, Permissions, store::MemoryStore};

/// A product's service, and its keys by name.
struct Product {
    app: Router,
    store: MemoryStore,
    keys: Vec<(&'static str, ApiKey)>,
}

impl Product {
    fn hozip() -> Self {
        let (store, keys) = token::keys().unwrap();
        Self { app: token::app(store.clone()).unwrap(), store, keys: keys.into() }
    }

    fn h0p() -> Self {
        let (store, keys) = x_api_key::keys().unwrap();
        Self { app: x_api_key::app(store.clone()).unwrap(), store, keys: keys.into() }
    }

    fn hopx() -> Self {
        let (store, keys) = either::keys().unwrap();
        Self { app: either::app(store.clone()).unwrap(), store, keys: keys.into() }
    }

    fn key(&self, name: &str) -> &str {
        self.keys.iter().find(|(known, _)| *known == name).unwrap().1.expose()
    }

    async fn send(&self, request: Request<Body>) -> (u16, Value) {
        let response = self.app.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    async fn status(&self, line: &str, headers: &[(&str, &str)]) -> u16 {
        self.send(request(line, headers)).await.0
    }
}

/// `GET /path`
fn request(line: &str, headers: &[(&str, &str)]) -> Request<Body> {
    let (method, path) = line.split_once(' ').unwrap();
    let builder = Request::builder().method(method).uri(path);
    let builder = headers.iter().fold(builder, |builder, (name, value)| builder.header(*name, *value));
    builder.body(Body::empty()).unwrap()
}

const GROUPS: &str = "GET /api/v1/external/groups";
const LINKS: &str = "POST /api/v1/external/links";

#[tokio::test]
async fn hozip_01_every_endpoint_needs_a_key() {
    let hozip = Product::hozip();
    for line in [GROUPS, LINKS, "GET /", "GET /profile/api-key/", "DELETE /anything"] {
        assert_eq!(hozip.status(line, &[]).await, 401, "{line}");
    }
}

#[tokio::test]
async fn hozip_02_token_is_accepted_in_any_case() {
    let hozip = Product::hozip();
    for word in ["Token", "token", "TOKEN"] {
        let header = format!("{word} {}", hozip.key("account"));
        assert_eq!(hozip.status(GROUPS, &[("Authorization", &header)]).await, 200);
        assert_eq!(hozip.status(LINKS, &[("Authorization", &header)]).await, 201);
    }
}

#[tokio::test]
async fn hozip_03_bearer_is_401_and_so_is_x_api_key_alone() {
    let hozip = Product::hozip();
    let key = hozip.key("account");
    assert_eq!(hozip.status(GROUPS, &[("Authorization", &format!("Bearer {key}"))]).await, 401);
    assert_eq!(hozip.status(GROUPS, &[("x-api-key", key)]).await, 401);
}

#[test]
fn hozip_07_a_key_is_masked_as_first_8_dots_last_6() {
    assert_eq!(Mask::HeadAndTail.apply("a1b2c3d4e5f6g7h8i9j0klmnopqrstuvwxyz789"), "a1b2c3d4...xyz789");
    let hozip = Product::hozip();
    let (key, record) = (hozip.key("account"), hozip.store.get("account").unwrap());
    assert_eq!(record.mask(), Some(&*format!("{}...{}", &key[..8], &key[key.len() - 6..])));
}

#[tokio::test]
async fn hozip_10_missing_wrong_prefix_revoked_and_malformed_are_401() {
    let hozip = Product::hozip();
    let key = hozip.key("account").to_owned();
    let token = format!("Token {key}");
    for header in ["", "Token", "Token ", &format!("Token {key} x"), &format!("Token {key}x"), &key] {
        assert_eq!(hozip.status(GROUPS, &[("Authorization", header)]).await, 401, "{header}");
    }
    assert_eq!(hozip.status(GROUPS, &[]).await, 401);
    assert_eq!(hozip.status(GROUPS, &[("Authorization", &token)]).await, 200);
    hozip.store.revoke("account").unwrap();
    assert_eq!(hozip.status(GROUPS, &[("Authorization", &token)]).await, 401);
}

#[tokio::test]
async fn hozip_11_a_key_whose_account_may_not_is_403() {
    let hozip = Product::hozip();
    let token = format!("Token {}", hozip.key("limited"));
    assert_eq!(hozip.status(GROUPS, &[("Authorization", &token)]).await, 200);
    assert_eq!(hozip.status(LINKS, &[("Authorization", &token)]).await, 403);
}

const STATS: &str = "GET /api/orgs/org_a/stats";

#[tokio::test]
async fn h0p_01_x_api_key_is_the_only_header() {
    let h0p = Product::h0p();
    let key = h0p.key("user");
    assert_eq!(h0p.status(STATS, &[("x-api-key", key)]).await, 200);
    for word in ["Bearer", "Token"] {
        assert_eq!(h0p.status(STATS, &[("Authorization", &format!("{word} {key}"))]).await, 401);
    }
}

#[tokio::test]
async fn h0p_02_a_key_belongs_to_exactly_one_organization() {
    let h0p = Product::h0p();
    for (name, own, foreign) in [("admin", "org_a", "org_b"), ("other", "org_b", "org_a")] {
        let headers = &[("x-api-key", h0p.key(name))];
        assert_eq!(h0p.status(&format!("GET /api/orgs/{own}/stats"), headers).await, 200);
        assert_eq!(h0p.status(&format!("GET /api/orgs/{foreign}/stats"), headers).await, 403);
    }
}

#[tokio::test]
async fn h0p_03_a_user_key_acts_as_its_user_and_goes_with_the_user() {
    let h0p = Product::h0p();
    let headers = &[("x-api-key", h0p.key("user"))];
    assert_eq!(h0p.send(request(STATS, headers)).await.1["by"], "alice");
    h0p.store.remove_user("alice");
    assert_eq!(h0p.status(STATS, headers).await, 401);
}

#[tokio::test]
async fn h0p_04_a_bot_key_acts_as_bot_and_outlives_every_member() {
    let h0p = Product::h0p();
    let headers = &[("x-api-key", h0p.key("admin"))];
    h0p.store.remove_user("alice");
    let (status, body) = h0p.send(request(STATS, headers)).await;
    assert_eq!((status, &body["by"], &body["organization"]), (200, &json!("Bot"), &json!("org_a")));
}

const MEANING: [(&str, &str); 4] = [("POST", "create"), ("GET", "read"), ("PUT", "update"), ("DELETE", "delete")];
const RESOURCES: [&str; 6] = ["shortLinks", "domains", "stats", "files", "apiKeys", "webhooks"];

#[tokio::test]
async fn h0p_06_07_every_resource_has_four_actions() {
    let h0p = Product::h0p();
    for resource in RESOURCES {
        for (method, action) in MEANING {
            let line = format!("{method} /api/orgs/org_a/{resource}");
            let status = async |name| h0p.status(&line, &[("x-api-key", h0p.key(name))]).await;
            let user = if resource == "apiKeys" { 403 } else { 200 };
            let reader = if (resource, action) == ("stats", "read") { 200 } else { 403 };
            assert_eq!(
                (status("admin").await, status("user").await, status("stats").await),
                (200, user, reader),
                "{line}"
            );
        }
    }
}

#[cfg(feature = "serde")]
#[test]
fn h0p_07_permissions_read_as_resources_with_actions() {
    let permissions: Permissions = serde_json::from_value(json!({"stats": ["read"]})).unwrap();
    assert_eq!(permissions, Permissions::new().grant("stats", "read"));
}

#[tokio::test]
async fn h0p_10_edited_permissions_are_seen_by_the_next_request() {
    let h0p = Product::h0p();
    let (line, headers) = ("DELETE /api/orgs/org_a/files", &[("x-api-key", h0p.key("stats"))]);
    assert_eq!(h0p.status(line, headers).await, 403);
    h0p.store.update("stats", |record| record.grant("files", "delete")).unwrap();
    assert_eq!(h0p.status(line, headers).await, 200);
    h0p.store.update("stats", |record| record.with_permissions(Permissions::new())).unwrap();
    assert_eq!(h0p.status(line, headers).await, 403);
}

#[tokio::test]
async fn h0p_11_a_deleted_key_is_401_at_once() {
    let h0p = Product::h0p();
    h0p.store.remove("stats").unwrap();
    assert_eq!(h0p.status(STATS, &[("x-api-key", h0p.key("stats"))]).await, 401);
}

#[tokio::test]
async fn h0p_12_missing_typo_revoked_and_wrong_header_are_401() {
    let h0p = Product::h0p();
    let key = h0p.key("admin");
    assert_eq!(h0p.status(STATS, &[]).await, 401);
    assert_eq!(h0p.status(STATS, &[("x-api-key", &key.replace("h0p_", "hop_"))]).await, 401);
    assert_eq!(h0p.status(STATS, &[("api-key", key)]).await, 401);
    assert_eq!(h0p.status(STATS, &[("x-api-key", key)]).await, 200);
    h0p.store.revoke("admin").unwrap();
    assert_eq!(h0p.status(STATS, &[("x-api-key", key)]).await, 401);
}

#[tokio::test]
async fn h0p_13_a_missing_permission_and_another_organization_are_403() {
    let h0p = Product::h0p();
    assert_eq!(h0p.status("POST /api/orgs/org_a/stats", &[("x-api-key", h0p.key("stats"))]).await, 403);
    assert_eq!(h0p.status("GET /api/orgs/org_b/stats", &[("x-api-key", h0p.key("stats"))]).await, 403);
}

const SANDBOXES: &str = "GET /v1/sandboxes";

#[tokio::test]
async fn hopx_01_either_header_or_both_with_the_same_key() {
    let hopx = Product::hopx();
    let (live, limited) = (hopx.key("live"), hopx.key("limited"));
    let bearer = format!("Bearer {live}");
    assert_eq!(hopx.status(SANDBOXES, &[("X-API-Key", live)]).await, 200);
    assert_eq!(hopx.status(SANDBOXES, &[("Authorization", &bearer)]).await, 200);
    assert_eq!(hopx.status(SANDBOXES, &[("Authorization", &bearer), ("X-API-Key", live)]).await, 200);
    assert_eq!(hopx.status(SANDBOXES, &[("Authorization", &bearer), ("X-API-Key", limited)]).await, 401);
}

#[tokio::test]
async fn hopx_02_a_401_has_exactly_this_body() {
    let hopx = Product::hopx();
    let revoked = hopx.key("limited").to_owned();
    hopx.store.revoke("limited").unwrap();
    let wrong = hopx.key("live").replace("hopx_live_", "hopx_live_x");
    for key in [None, Some(&*wrong), Some("nonsense"), Some(&*revoked), Some(hopx.key("foreign"))] {
        let headers: Vec<_> = key.into_iter().map(|key| ("X-API-Key", key)).collect();
        let (status, body) = hopx.send(request(SANDBOXES, &headers)).await;
        assert_eq!((status, body), (401, json!({"error": "Unauthorized", "code": "AUTHENTICATION_ERROR"})));
    }
}

#[tokio::test]
async fn hopx_03_a_403_has_exactly_this_body() {
    let hopx = Product::hopx();
    let forbidden = (403, json!({"error": "Forbidden", "code": "PERMISSION_DENIED"}));
    let create = request("POST /v1/sandboxes", &[("X-API-Key", hopx.key("limited"))]);
    assert_eq!(hopx.send(create).await, forbidden);
    let headers = &[("X-API-Key", hopx.key("live"))];
    assert_eq!(hopx.send(request("GET /v1/organizations/globex/sandboxes", headers)).await, forbidden);
    assert_eq!(hopx.status("GET /v1/organizations/acme/sandboxes", headers).await, 200);
}

#[tokio::test]
async fn hopx_04_keys_begin_with_their_environment_and_a_test_key_is_401() {
    let hopx = Product::hopx();
    for (name, prefix) in [("live", "hopx_live_"), ("limited", "hopx_live_"), ("test", "hopx_test_")] {
        assert!(hopx.key(name).starts_with(prefix), "{name}");
    }
    assert_eq!(hopx.status(SANDBOXES, &[("X-API-Key", hopx.key("test"))]).await, 401);
}

#[tokio::test]
async fn hopx_05_two_keys_run_side_by_side_until_the_old_one_is_revoked() {
    let hopx = Product::hopx();
    let new = tower_api_key::KeyFormat::new("hopx_live").unwrap().generate().unwrap();
    let record = KeyRecord::for_key("new", &new, &KeyHasher::sha256())
        .with_environment("live")
        .with_organization("acme")
        .with_owner(Owner::Bot)
        .grant("sandboxes", "read");
    hopx.store.insert(record).unwrap();
    let status = async |key| hopx.status(SANDBOXES, &[("X-API-Key", key)]).await;
    assert_eq!((status(hopx.key("live")).await, status(new.expose()).await), (200, 200));
    hopx.store.revoke("live").unwrap();
    assert_eq!((status(hopx.key("live")).await, status(new.expose()).await), (401, 200));
}

#[tokio::test]
async fn hopx_06_the_requests_of_the_document_work() {
    let hopx = Product::hopx();
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
