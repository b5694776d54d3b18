//! H0p: keys of an organization, `X-API-Key`.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

use axum::body::Body;
use serde_json::{Value, json};
use tower_api_key::{
    Owner, Permissions,
    manage::{Actor, Issued, KeyEvent, KeyEventKind, ManageError, NewKey},
    store::RegistryError,
};

use super::{Product, request, x_api_key};

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

/// Returns a user that the product has authenticated.
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
    assert_eq!(won, 1, "of two concurrent creates, exactly one succeeds");

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

/// Sends a request to the management API with the administrator's key.
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
    assert!(digits.iter().all(|digits| digits.len() > 50), "nearly all of the 62 digits at every position");
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
    assert_eq!(keys.len(), 3, "keys of another organization are not found");
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
    crate::support::until(async || told.lock().unwrap().len() >= 6).await;
    let told: Vec<_> = told
        .lock()
        .unwrap()
        .iter()
        .skip(4)
        .map(|change: &KeyEvent| (change.kind(), change.key_id().to_string(), change.author().to_string()))
        .collect();
    let by = format!("key {}", h0p.id("admin"));
    assert_eq!(told, [(KeyEventKind::Edited, id.to_owned(), by.clone()), (KeyEventKind::Revoked, id.to_owned(), by)]);
}
