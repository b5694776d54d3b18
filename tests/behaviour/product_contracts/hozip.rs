//! Hozip: one key an account, `Authorization: Token`.

use axum::body::Body;
use http::Request;
use serde_json::{Value, json};
use tower::ServiceExt;
use tower_api_key::Mask;

use super::{Product, request};

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

/// Returns the cookie of a signed-in account.
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
    assert_eq!(reads_groups(&hozip, hozip.key("account")).await, 200, "the existing key keeps working");

    let cookie = sign_in(&hozip, "alice").await;
    let calls = (0..8).map(|_| tokio::spawn(hozip.app.clone().oneshot(request(GENERATE, &[("Cookie", &cookie)]))));
    let mut statuses = Vec::new();
    for call in calls.collect::<Vec<_>>() {
        statuses.push(call.await.unwrap().unwrap().status().as_u16());
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 409, 409, 409, 409, 409, 409, 409], "of two concurrent generates, exactly one succeeds");
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
        assert_eq!(hozip.status(line, &[("Authorization", &key)]).await, 401, "{line} with a key only");
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
