//! The three products' documents, line by line, against the very services of `examples/`, keys in SQLite.
#[path = "../../examples/either.rs"]
#[allow(dead_code, clippy::duplicate_mod, reason = "an example, with its main and the code that examples share")]
mod either;
#[path = "../../examples/token.rs"]
#[allow(dead_code, clippy::duplicate_mod, reason = "an example, with its main and the code that examples share")]
mod token;
#[path = "../../examples/x_api_key.rs"]
#[allow(dead_code, clippy::duplicate_mod, reason = "an example, with its main and the code that examples share")]
mod x_api_key;

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

use axum::{Router, body::Body};
use http::{Request, Response};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tempfile::TempDir;
use tower::ServiceExt;
use tower_api_key::{
    KeyManager, Mask, Owner, Permissions,
    manage::{Actor, Issued, KeyEvent, KeyEventKind, ManageError, NewKey},
    store::RegistryError,
};

/// A product's service, and its first keys by name.
struct Product {
    app: Router,
    manager: KeyManager,
    keys: Vec<(&'static str, Issued)>,
    folder: TempDir,
}

macro_rules! product {
    ($example:ident $(, $audit:expr)?) => {{
        let folder = tempfile::tempdir().unwrap();
        let manager = $example::manager(&folder.path().join("keys.db") $(, $audit)?).await.unwrap();
        let keys = $example::first_keys(&manager).await.unwrap();
        Self { app: $example::app(&manager).unwrap(), manager, keys, folder }
    }};
}

impl Product {
    async fn hozip() -> Self {
        product!(token)
    }

    async fn h0p() -> Self {
        product!(x_api_key, |_| {})
    }

    async fn audited_h0p(audit: impl Fn(&KeyEvent) + Send + Sync + 'static) -> Self {
        product!(x_api_key, audit)
    }

    async fn hopx() -> Self {
        product!(either)
    }

    fn key(&self, name: &str) -> &str {
        self.keys.iter().find(|(known, _)| *known == name).unwrap().1.key().expose()
    }

    fn id(&self, name: &str) -> &str {
        self.keys.iter().find(|(known, _)| *known == name).unwrap().1.record().id().as_str()
    }

    async fn respond(&self, request: Request<Body>) -> Response<Body> {
        crate::support::logs::watch_for(crate::support::logs::keys_in(&request));
        let response = self.app.clone().oneshot(request).await.unwrap();
        crate::support::logs::assert_clean();
        response
    }

    async fn send(&self, request: Request<Body>) -> (u16, Value) {
        let response = self.respond(request).await;
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
    let hozip = Product::hozip().await;
    for line in [GROUPS, LINKS, "GET /", "GET /profile/api-key/", "DELETE /anything"] {
        assert_eq!(hozip.status(line, &[]).await, 401, "{line}");
    }
}

#[tokio::test]
async fn hozip_02_token_is_accepted_in_any_case() {
    let hozip = Product::hozip().await;
    for word in ["Token", "token", "TOKEN"] {
        let header = format!("{word} {}", hozip.key("account"));
        assert_eq!(hozip.status(GROUPS, &[("Authorization", &header)]).await, 200);
        assert_eq!(hozip.status(LINKS, &[("Authorization", &header)]).await, 201);
    }
}

#[tokio::test]
async fn hozip_03_bearer_is_401_and_so_is_x_api_key_alone() {
    let hozip = Product::hozip().await;
    let key = hozip.key("account");
    assert_eq!(hozip.status(GROUPS, &[("Authorization", &format!("Bearer {key}"))]).await, 401);
    assert_eq!(hozip.status(GROUPS, &[("x-api-key", key)]).await, 401);
}

/// The cookie of a signed-in account.
async fn sign_in(hozip: &Product, account: &str) -> String {
    let request = Request::post("/login").body(Body::from(format!("account={account}"))).unwrap();
    let response = hozip.respond(request).await;
    let cookie = response.headers()["set-cookie"].to_str().unwrap();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
    cookie.split(';').next().unwrap().to_owned()
}

async fn profile(hozip: &Product, cookie: &str, line: &str) -> (u16, Value) {
    hozip.send(request(line, &[("Cookie", cookie)])).await
}

const SHOW: &str = "GET /profile/api-key/";
const GENERATE: &str = "POST /profile/api-key/generate";
const REGENERATE: &str = "POST /profile/api-key/regenerate";
const REVOKE: &str = "POST /profile/api-key/revoke";

async fn reads_groups(hozip: &Product, key: &str) -> u16 {
    hozip.status(GROUPS, &[("Authorization", &format!("Token {key}"))]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn hozip_04_an_account_has_exactly_one_key() {
    let hozip = Product::hozip().await;
    let cookie = sign_in(&hozip, "account").await;
    assert_eq!(profile(&hozip, &cookie, GENERATE).await.0, 409);
    assert_eq!(reads_groups(&hozip, hozip.key("account")).await, 200, "the key that is there goes on");

    let cookie = sign_in(&hozip, "alice").await;
    let calls = (0..8).map(|_| tokio::spawn(hozip.app.clone().oneshot(request(GENERATE, &[("Cookie", &cookie)]))));
    let mut statuses = Vec::new();
    for call in calls.collect::<Vec<_>>() {
        statuses.push(call.await.unwrap().unwrap().status().as_u16());
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 409, 409, 409, 409, 409, 409, 409], "two generates at once: exactly one wins");
}

#[tokio::test]
async fn hozip_05_the_key_is_managed_at_the_profile() {
    let hozip = Product::hozip().await;
    let cookie = sign_in(&hozip, "alice").await;
    assert_eq!(profile(&hozip, &cookie, SHOW).await, (200, json!({ "key": null })));
    for (line, status) in [(REGENERATE, 404), (REVOKE, 404), (GENERATE, 201), (REGENERATE, 201), (REVOKE, 200)] {
        assert_eq!(profile(&hozip, &cookie, line).await.0, status, "{line}");
    }
    for line in [SHOW, GENERATE, REGENERATE, REVOKE] {
        assert_eq!(hozip.status(line, &[]).await, 401, "{line} without signing in");
        let key = format!("Token {}", hozip.key("account"));
        assert_eq!(hozip.status(line, &[("Authorization", &key)]).await, 401, "{line} with a key alone");
    }
}

#[tokio::test]
async fn hozip_06_plain_text_is_shown_once() {
    let hozip = Product::hozip().await;
    let cookie = sign_in(&hozip, "alice").await;
    for line in [GENERATE, REGENERATE] {
        let key = profile(&hozip, &cookie, line).await.1["key"].as_str().unwrap().to_owned();
        assert_eq!(reads_groups(&hozip, &key).await, 200);
        for later in [SHOW, GENERATE, SHOW] {
            let (_, answer) = profile(&hozip, &cookie, later).await;
            assert!(!answer.to_string().contains(&key), "shown again by {later}");
        }
    }
}

#[tokio::test]
async fn hozip_07_a_key_is_masked_as_first_8_dots_last_6() {
    assert_eq!(Mask::FirstAndLast.apply("a1b2c3d4e5f6g7h8i9j0klmnopqrstuvwxyz789"), "a1b2c3d4...xyz789");
    let hozip = Product::hozip().await;
    let cookie = sign_in(&hozip, "alice").await;
    let key = profile(&hozip, &cookie, GENERATE).await.1["key"].as_str().unwrap().to_owned();
    let masked = format!("{}...{}", &key[..8], &key[key.len() - 6..]);
    assert_eq!(profile(&hozip, &cookie, SHOW).await, (200, json!({ "key": masked })));
}

#[tokio::test]
async fn hozip_08_regenerate_is_one_step() {
    let hozip = Product::hozip().await;
    let cookie = sign_in(&hozip, "account").await;
    let old = hozip.key("account");

    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(hozip.folder.path().join("keys.db"));
    let file = sqlx::SqlitePool::connect_with(options).await.unwrap();
    let broken = "create trigger broken before insert on api_keys begin select raise(abort, 'the disk is full'); end";
    sqlx::query(broken).execute(&file).await.unwrap();
    assert_eq!(profile(&hozip, &cookie, REGENERATE).await.0, 503);
    assert_eq!(reads_groups(&hozip, old).await, 200, "if the step fails, the old key works");
    sqlx::query("drop trigger broken").execute(&file).await.unwrap();

    let new = profile(&hozip, &cookie, REGENERATE).await.1["key"].as_str().unwrap().to_owned();
    assert_eq!((reads_groups(&hozip, old).await, reads_groups(&hozip, &new).await), (401, 200));
}

#[tokio::test]
async fn hozip_09_revoke_is_permanent_and_leaves_no_key() {
    let hozip = Product::hozip().await;
    let cookie = sign_in(&hozip, "account").await;
    assert_eq!(profile(&hozip, &cookie, REVOKE).await.0, 200);
    assert_eq!(profile(&hozip, &cookie, SHOW).await, (200, json!({ "key": null })));
    let new = profile(&hozip, &cookie, GENERATE).await.1["key"].as_str().unwrap().to_owned();
    assert_eq!((reads_groups(&hozip, hozip.key("account")).await, reads_groups(&hozip, &new).await), (401, 200));
}

#[tokio::test]
async fn hozip_10_missing_wrong_prefix_revoked_and_malformed_are_401() {
    let hozip = Product::hozip().await;
    let key = hozip.key("account");
    for header in ["", "Token", "Token ", &format!("Token {key} x"), &format!("Token {key}x"), key] {
        assert_eq!(hozip.status(GROUPS, &[("Authorization", header)]).await, 401, "{header}");
    }
    assert_eq!(hozip.status(GROUPS, &[]).await, 401);
    assert_eq!(reads_groups(&hozip, key).await, 200);
    let cookie = sign_in(&hozip, "account").await;
    profile(&hozip, &cookie, REVOKE).await;
    assert_eq!(reads_groups(&hozip, key).await, 401);
}

#[tokio::test]
async fn hozip_11_a_key_whose_account_may_not_is_403() {
    let hozip = Product::hozip().await;
    let token = format!("Token {}", hozip.key("limited"));
    assert_eq!(hozip.status(GROUPS, &[("Authorization", &token)]).await, 200);
    assert_eq!(hozip.status(LINKS, &[("Authorization", &token)]).await, 403);
}

const STATS: &str = "GET /api/orgs/org_a/stats";

#[tokio::test]
async fn h0p_01_x_api_key_is_the_only_header() {
    let h0p = Product::h0p().await;
    let key = h0p.key("user");
    assert_eq!(h0p.status(STATS, &[("x-api-key", key)]).await, 200);
    for word in ["Bearer", "Token"] {
        assert_eq!(h0p.status(STATS, &[("Authorization", &format!("{word} {key}"))]).await, 401);
    }
}

#[tokio::test]
async fn h0p_02_a_key_belongs_to_exactly_one_organization() {
    let h0p = Product::h0p().await;
    for (name, own, foreign) in [("admin", "org_a", "org_b"), ("other", "org_b", "org_a")] {
        let headers = &[("x-api-key", h0p.key(name))];
        assert_eq!(h0p.status(&format!("GET /api/orgs/{own}/stats"), headers).await, 200);
        assert_eq!(h0p.status(&format!("GET /api/orgs/{foreign}/stats"), headers).await, 403);
    }
}

/// A user whom the product has signed in.
fn member(user: &str, organization: &str) -> Actor {
    Actor::trusted(Owner::User(user.to_owned()), x_api_key::everything_but("")).in_organization(organization)
}

#[tokio::test(flavor = "multi_thread")]
async fn h0p_03_a_user_has_one_key_per_organization_which_goes_with_the_user() {
    let h0p = Product::h0p().await;
    let headers = &[("x-api-key", h0p.key("user"))];
    assert_eq!(h0p.send(request(STATS, headers)).await.1["by"], "alice");

    let full = |issued: Result<Issued, ManageError>| {
        matches!(issued, Err(ManageError::Registry(RegistryError::LimitReached(1))))
    };
    assert!(full(h0p.manager.issue(&member("alice", "org_a"), NewKey::user("second")).await));
    h0p.manager.issue(&member("alice", "org_b"), NewKey::user("elsewhere")).await.unwrap();
    let calls = (0..8).map(|_| {
        let manager = h0p.manager.clone();
        tokio::spawn(async move { manager.issue(&member("bob", "org_a"), NewKey::user("mine")).await })
    });
    let mut won = 0;
    for call in calls.collect::<Vec<_>>() {
        let issued = call.await.unwrap();
        won += usize::from(issued.is_ok());
        assert!(issued.is_ok() || full(issued));
    }
    assert_eq!(won, 1, "two creates at once: exactly one wins");

    assert_eq!(h0p.manager.remove_user_keys(&member("carol", "org_a"), "alice").await.unwrap(), 1);
    assert_eq!(h0p.status(STATS, headers).await, 401);
}

#[tokio::test]
async fn h0p_04_a_bot_key_acts_as_bot_and_outlives_every_member() {
    let h0p = Product::h0p().await;
    let headers = &[("x-api-key", h0p.key("admin"))];
    for user in ["alice", "Bot"] {
        h0p.manager.remove_user_keys(&member("carol", "org_a"), user).await.unwrap();
    }
    let (status, body) = h0p.send(request(STATS, headers)).await;
    assert_eq!((status, &body["by"], &body["organization"]), (200, &json!("Bot"), &json!("org_a")));
    for _ in 0..5 {
        assert_eq!(manage(&h0p, "POST /api/keys", &json!({"type": "bot", "name": "any number"})).await.0, 201);
    }
}

/// A request to the management API with the administrator's key.
async fn manage(h0p: &Product, line: &str, body: &Value) -> (u16, Value) {
    let mut request = request(line, &[("x-api-key", h0p.key("admin")), ("content-type", "application/json")]);
    if !body.is_null() {
        *request.body_mut() = Body::from(body.to_string());
    }
    h0p.send(request).await
}

#[tokio::test]
async fn h0p_05_type_and_permissions_are_chosen_at_creation_and_the_key_is_random_and_shown_once() {
    let h0p = Product::h0p().await;
    let body = json!({"type": "bot", "name": "reports", "permissions": {"stats": ["read"]}});
    let (status, made) = manage(&h0p, "POST /api/keys", &body).await;
    assert_eq!((status, &made["type"], &made["permissions"]), (201, &json!("bot"), &json!({"stats": ["read"]})));
    let key = made["key"].as_str().unwrap();
    assert!(key.starts_with("h0p_") && key.len() == 46, "the prefix, 36 random digits, the checksum");
    assert_eq!(h0p.status(STATS, &[("x-api-key", key)]).await, 200);
    for line in ["GET /api/keys".to_owned(), format!("GET /api/keys/{}", made["id"].as_str().unwrap())] {
        let (status, later) = manage(&h0p, &line, &Value::Null).await;
        assert_eq!(status, 200);
        assert!(!later.to_string().contains(key), "shown again by {line}");
    }
    let mine = h0p.manager.issue(&member("bob", "org_a"), NewKey::user("mine").grant("files", "read")).await.unwrap();
    let files = request("GET /api/orgs/org_a/files", &[("x-api-key", mine.key().expose())]);
    assert_eq!(h0p.send(files).await.1["by"], "bob", "the other type");

    let (mut keys, mut digits) = (BTreeSet::new(), vec![BTreeSet::new(); 36]);
    for _ in 0..500 {
        let issued =
            h0p.manager.issue(&member("carol", "org_b"), NewKey::service_account("one of many")).await.unwrap();
        for (place, digit) in issued.key().expose()[4..40].char_indices() {
            digits[place].insert(digit);
        }
        keys.insert(issued.key().expose().to_owned());
    }
    assert_eq!(keys.len(), 500);
    assert!(digits.iter().all(|digits| digits.len() > 50), "nearly all of 62 digits, at every place");
}

#[tokio::test]
async fn h0p_08_nobody_grants_what_they_do_not_hold() {
    let h0p = Product::h0p().await;
    let body = json!({"type": "bot", "name": "x", "permissions": {"stats": ["read"]}}).to_string();
    for (name, status) in [("user", 403), ("stats", 403), ("admin", 201)] {
        let headers = [("x-api-key", h0p.key(name)), ("content-type", "application/json")];
        let mut request = request("POST /api/keys", &headers);
        *request.body_mut() = Body::from(body.clone());
        assert_eq!(h0p.send(request).await.0, status, "apiKeys permissions are for admins only: {name}");
    }
    let made = json!({"type": "bot", "name": "clerk", "permissions": {"apiKeys": ["create"], "stats": ["read"]}});
    let clerk = manage(&h0p, "POST /api/keys", &made).await.1["key"].as_str().unwrap().to_owned();
    for (permissions, status) in [
        (json!({"stats": ["read"]}), 201),
        (json!({"stats": ["read", "delete"]}), 403),
        (json!({"files": ["read"]}), 403),
        (json!({"apiKeys": ["delete"]}), 403),
        (json!({"billing": ["read"]}), 403),
    ] {
        let headers = [("x-api-key", &*clerk), ("content-type", "application/json")];
        let mut request = request("POST /api/keys", &headers);
        *request.body_mut() = Body::from(json!({"type": "bot", "name": "x", "permissions": permissions}).to_string());
        assert_eq!(h0p.send(request).await.0, status, "{permissions}");
    }
}

#[tokio::test]
async fn h0p_09_the_list_shows_name_type_owner_permissions_date_and_last_four() {
    let h0p = Product::h0p().await;
    let (_, list) = manage(&h0p, "GET /api/keys", &Value::Null).await;
    let keys = list["keys"].as_array().unwrap();
    assert_eq!(keys.len(), 3, "those of another organization are not there");
    for (name, title, kind, owner) in [
        ("user", "Alice's key", "user", "alice"),
        ("admin", "Administration", "bot", "Bot"),
        ("stats", "Reports", "bot", "Bot"),
    ] {
        let shown = keys.iter().find(|key| key["id"] == h0p.id(name)).unwrap();
        let key = h0p.key(name);
        assert_eq!((&shown["name"], &shown["type"], &shown["owner"]), (&json!(title), &json!(kind), &json!(owner)));
        assert_eq!(shown["mask"], format!("...{}", &key[key.len() - 4..]));
        assert!(shown["created_at"].as_str().unwrap().starts_with("20"));
        assert_eq!(shown["permissions"]["stats"].as_array().unwrap().len(), if name == "stats" { 1 } else { 4 });
    }
}

const MEANING: [(&str, &str); 4] = [("POST", "create"), ("GET", "read"), ("PUT", "update"), ("DELETE", "delete")];
const RESOURCES: [&str; 6] = ["shortLinks", "domains", "stats", "files", "apiKeys", "webhooks"];

#[tokio::test]
async fn h0p_06_every_resource_has_four_actions() {
    let h0p = Product::h0p().await;
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
    let h0p = Product::h0p().await;
    let (line, headers) = ("DELETE /api/orgs/org_a/files", &[("x-api-key", h0p.key("stats"))]);
    assert_eq!(h0p.status(line, headers).await, 403);
    let edit = format!("PATCH /api/keys/{}", h0p.id("stats"));
    for (permissions, status) in [(json!({"files": ["delete"]}), 200), (json!({}), 403)] {
        assert_eq!(manage(&h0p, &edit, &json!({ "permissions": permissions })).await.0, 200);
        assert_eq!(h0p.status(line, headers).await, status, "{permissions}");
    }
}

#[tokio::test]
async fn h0p_11_a_deleted_key_is_401_at_once() {
    let h0p = Product::h0p().await;
    let delete = format!("DELETE /api/keys/{}", h0p.id("stats"));
    assert_eq!(h0p.status(STATS, &[("x-api-key", h0p.key("stats"))]).await, 200);
    assert_eq!(manage(&h0p, &delete, &Value::Null).await.0, 200);
    assert_eq!(h0p.status(STATS, &[("x-api-key", h0p.key("stats"))]).await, 401);
}

#[tokio::test]
async fn h0p_12_missing_typo_revoked_and_wrong_header_are_401() {
    let h0p = Product::h0p().await;
    let key = h0p.key("admin");
    assert_eq!(h0p.status(STATS, &[]).await, 401);
    assert_eq!(h0p.status(STATS, &[("x-api-key", &key.replace("h0p_", "hop_"))]).await, 401);
    let (before, typo, after) = (&key[..20], if &key[20..21] == "a" { "b" } else { "a" }, &key[21..]);
    assert_eq!(h0p.status(STATS, &[("x-api-key", &format!("{before}{typo}{after}"))]).await, 401);
    assert_eq!(h0p.status(STATS, &[("api-key", key)]).await, 401);
    assert_eq!(h0p.status(STATS, &[("x-api-key", key)]).await, 200);
    assert_eq!(manage(&h0p, &format!("DELETE /api/keys/{}", h0p.id("admin")), &Value::Null).await.0, 200);
    assert_eq!(h0p.status(STATS, &[("x-api-key", key)]).await, 401);
}

#[tokio::test]
async fn h0p_13_a_missing_permission_and_another_organization_are_403() {
    let h0p = Product::h0p().await;
    assert_eq!(h0p.status("POST /api/orgs/org_a/stats", &[("x-api-key", h0p.key("stats"))]).await, 403);
    assert_eq!(h0p.status("GET /api/orgs/org_b/stats", &[("x-api-key", h0p.key("stats"))]).await, 403);
}

#[tokio::test]
async fn h0p_14_usage_can_be_reviewed_and_an_audit_hook_sees_every_change() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let hook = Arc::clone(&told);
    let h0p = Product::audited_h0p(move |change| hook.lock().unwrap().push(change.clone())).await;
    for line in [STATS, STATS, "DELETE /api/orgs/org_a/files"] {
        h0p.status(line, &[("x-api-key", h0p.key("stats"))]).await;
    }
    h0p.manager.flush().await.unwrap();
    let shown = manage(&h0p, &format!("GET /api/keys/{}", h0p.id("stats")), &Value::Null).await.1;
    assert_eq!(shown["use_count"], 3);
    assert!(shown["last_used_at"].as_str() >= shown["created_at"].as_str(), "{shown}");

    let id = h0p.id("stats");
    manage(&h0p, &format!("PATCH /api/keys/{id}"), &json!({"name": "renamed"})).await;
    manage(&h0p, &format!("DELETE /api/keys/{id}"), &Value::Null).await;
    let told: Vec<_> = told
        .lock()
        .unwrap()
        .iter()
        .skip(4)
        .map(|change: &KeyEvent| {
            let by = change.actor().key_id().map(ToString::to_string);
            (change.kind(), change.key_id().to_string(), by)
        })
        .collect();
    let by = Some(h0p.id("admin").to_owned());
    assert_eq!(told, [(KeyEventKind::Edited, id.to_owned(), by.clone()), (KeyEventKind::Revoked, id.to_owned(), by)]);
}

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
