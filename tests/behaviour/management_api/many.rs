//! Many keys at once over HTTP: changed by a filter, imported, replaced.

use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;
use tower_api_key::{Permissions, manage::NewKey};

use super::{Keys, answer, request};
use crate::support::{
    logs,
    registry::{admin, id, text, user},
};

#[tokio::test]
async fn keys_are_changed_by_a_filter_after_a_dry_run() {
    let keys = Keys::new().await;
    let of_alice = keys.manager.issue(&user("alice"), NewKey::user("x")).await.unwrap();
    keys.key(Permissions::new()).await;
    let mut body = json!({"change": "disable", "filter": {"owner": "alice"}, "dry_run": true, "reason": "she left"});
    let answer = keys.call("POST /api/keys/bulk", &body).await;
    assert_eq!((answer.status, answer.json), (200, json!({"matched": 1, "changed": 0, "ids": [id(&of_alice)]})));
    body["dry_run"] = json!(false);
    let answer = keys.call("POST /api/keys/bulk", &body).await;
    assert_eq!((answer.status, answer.json), (200, json!({"matched": 1, "changed": 1, "ids": [id(&of_alice)]})));
    let shown = keys.call(&format!("GET /api/keys/{}", id(&of_alice)), &Value::Null).await;
    assert_eq!((&shown.json["status"], &shown.json["reason"]), (&json!("disabled"), &json!("she left")));

    let mut counted =
        json!({"change": "disable", "filter": {"name_contains": "DMI", "never_used": true}, "own_key": true});
    let found =
        keys.call("POST /api/keys/bulk", &json!({"change": "disable", "filter": {"name_contains": "no such"}})).await;
    assert_eq!((found.status, &found.json["matched"]), (200, &json!(0)));
    counted["dry_run"] = json!(true);
    assert_eq!(keys.call("POST /api/keys/bulk", &counted).await.json["ids"], json!([id(&keys.admin)]));

    let revoke = json!({"change": "revoke", "filter": {}});
    let refused = keys.call("POST /api/keys/bulk", &revoke).await;
    let detail = "The filter has no condition, so it matches every key: add a condition, or set `all`.";
    assert_eq!((refused.status, &refused.json["detail"]), (422, &json!(detail)));
    let all = json!({"change": "revoke", "filter": {}, "all": true});
    assert_eq!(keys.call("POST /api/keys/bulk", &all).await.json["changed"], 2, "all but the caller's own key");
    let all = json!({"change": "remove", "filter": {"revoked": true}, "all": true, "own_key": true});
    assert_eq!(keys.call("POST /api/keys/bulk", &all).await.json["changed"], 3);
    assert_eq!(keys.call("POST /api/keys/bulk", &all).await.status, 401);
}

#[tokio::test]
async fn a_wrong_body_is_told_by_its_member() {
    let keys = Keys::new().await;
    let filter = "filter: must be an object of conditions, with the names and the values of the query of a list.";
    for (path, body, detail) in [
        ("bulk", json!({"change": "enable", "filter": {}}), "change: must be \"revoke\", \"disable\" or \"remove\"."),
        ("bulk", json!({"change": "revoke", "filter": {"user": "x"}}), filter),
        ("bulk", json!({"change": "revoke", "filter": {"limit": "1"}}), filter),
        ("bulk", json!({"change": "revoke", "filter": {"revoked": "true"}}), filter),
        ("bulk", json!({"change": "revoke", "filter": {"created_before": "x"}}), filter),
        ("bulk", json!({"change": "revoke", "filter": {"owner": 1}}), filter),
        ("bulk", json!({"change": "revoke", "filter": {}, "dry_run": 1}), "dry_run: must be true or false."),
        ("import", json!({"keys": {}}), "keys: must be a list of at most 1000 objects."),
        ("import", json!({"keys": vec![json!({}); 1001]}), "At most 1000 keys can be imported at once."),
        (
            "rotate",
            json!({"filter": {}, "grace_seconds": 7_776_001}),
            "grace_seconds: must be a whole number from 0 to 7776000 (90 days).",
        ),
    ] {
        let answer = keys.call(&format!("POST /api/keys/{path}"), &body).await;
        assert_eq!((answer.status, &answer.json["detail"]), (422, &json!(detail)), "{path} {body}");
    }
}

#[tokio::test]
async fn each_change_of_many_needs_its_permissions() {
    let keys = Keys::new().await;
    let bulk = |change: &str| json!({"change": change, "filter": {"owner": "x"}, "dry_run": true});
    for (path, body, needed) in [
        ("bulk", bulk("revoke"), &["read", "delete"][..]),
        ("bulk", bulk("remove"), &["read", "delete"]),
        ("bulk", bulk("disable"), &["read", "update"]),
        ("import", json!({"keys": []}), &["create"]),
        ("rotate", json!({"filter": {"owner": "x"}, "grace_seconds": 1}), &["read", "update"]),
    ] {
        for left_out in ["create", "read", "update", "delete"] {
            let actions = ["create", "read", "update", "delete"].into_iter().filter(|action| *action != left_out);
            let key = keys.key(actions.fold(Permissions::new(), |all, action| all.grant("apiKeys", action))).await;
            let request = request(&format!("POST /api/keys/{path}"), text(&key), "application/json", &body.to_string());
            let expected = if needed.contains(&left_out) { 403 } else { 200 };
            // A stream of no keys is an empty body.
            let status = keys.app.clone().oneshot(request).await.unwrap().status();
            assert_eq!(status, expected, "{path} {body} without {left_out}");
        }
    }
}

#[tokio::test]
async fn an_import_answers_for_each_key() {
    let keys = Keys::new().await;
    let digest = "07".repeat(32);
    let plain = tower_api_key::KeyFormat::new("acme").unwrap().generate().unwrap();
    let body = json!({"keys": [
        {"key": plain.expose(), "type": "bot", "name": "a", "id": "legacy-1", "created_at": "2020-01-01T00:00:00Z",
         "status": "disabled", "use_count": 3, "last_used_at": "2021-01-01T00:00:00Z", "metadata": {"team": "core"}},
        {"digest": digest, "type": "bot", "name": "b", "permissions": {"links": ["read"]}},
        {"digest": digest, "type": "bot", "name": "again"},
        {"digest": "07", "type": "bot", "name": "short"},
        {"type": "bot", "name": "no key"},
        {"key": plain.expose(), "digest": digest, "type": "bot", "name": "both"},
        {"digest": digest, "type": "bot", "name": "x", "owner": "alice"},
        {"digest": digest, "type": "user", "name": "x", "owner": "alice"},
        {"digest": digest, "type": "bot", "name": "x", "id": "self"},
        {"digest": digest, "type": "bot", "name": "x", "colour": "red"},
        7,
    ]});
    let answer = keys.call("POST /api/keys/import", &body).await;
    assert_eq!((answer.status, &answer.json["imported"]), (200, &json!(2)), "{}", answer.json);
    let results = answer.json["results"].as_array().unwrap();
    let statuses: Vec<_> = results.iter().map(|result| result["status"].as_u64().unwrap()).collect();
    assert_eq!(statuses, [201, 201, 409, 422, 422, 422, 422, 403, 422, 422, 422]);
    assert_eq!(results[0], json!({"status": 201, "id": "legacy-1"}));
    assert_eq!(results[3]["detail"], "digest: must be 64 hexadecimal digits.");
    assert_eq!(results[4]["detail"], "key: must be the plain text of a key, unless there is a digest.");
    assert!(!answer.json.to_string().contains(plain.expose()), "no answer repeats a key");
    let shown = keys.call("GET /api/keys/legacy-1", &Value::Null).await.json;
    for (member, expected) in [
        ("created_at", json!("2020-01-01T00:00:00Z")),
        ("last_used_at", json!("2021-01-01T00:00:00Z")),
        ("use_count", json!(3)),
        ("status", json!("disabled")),
        ("metadata", json!({"team": "core"})),
    ] {
        assert_eq!(shown[member], expected, "{member}");
    }
}

#[tokio::test]
async fn only_an_import_may_be_large() {
    let keys = Keys::new().await;
    let name = "x".repeat(100);
    let many: Vec<_> = (0..900).map(|_| json!({"digest": "x", "type": "bot", "name": name})).collect();
    let body = json!({"keys": many});
    assert!(body.to_string().len() > 64 * 1024);
    assert_eq!(keys.call("POST /api/keys/import", &body).await.status, 200);
    assert_eq!(keys.call("POST /api/keys/bulk", &body).await.status, 413);
    let huge = json!({"keys": ["x".repeat(4 * 1024 * 1024)]});
    assert_eq!(keys.call("POST /api/keys/import", &huge).await.status, 413);
}

#[tokio::test]
async fn all_keys_are_replaced_in_a_stream_of_lines() {
    let keys = Keys::new().await;
    let bot = keys.key(Permissions::new()).await;
    let foreign = keys.manager.issue(&user("alice"), NewKey::user("x")).await.unwrap();
    let body = json!({"filter": {}, "all": true, "grace_seconds": 60, "reason": "a leak"}).to_string();
    let request = || request("POST /api/keys/rotate", text(&keys.admin), "application/json", &body);
    drop(keys.app.clone().oneshot(request()).await.unwrap());
    let untouched = keys.manager.get(&admin(), id(&bot)).await.unwrap();
    assert!(untouched.replaced_by().is_none(), "nothing is replaced before a line is sent");

    let response = keys.app.clone().oneshot(request()).await.unwrap();
    assert_eq!(
        (response.status().as_u16(), &response.headers()["content-type"]),
        (200, &"application/x-ndjson".parse().unwrap())
    );
    assert_eq!(response.headers()["cache-control"], "no-store");
    let lines = response.into_body().collect().await.unwrap().to_bytes();
    let lines: Vec<Value> = lines
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 3);
    let line = |old: &str| lines.iter().find(|line| line["replaces"] == old).unwrap();
    assert_eq!(line(id(&bot))["key"].as_str().unwrap().len(), text(&bot).len());
    assert_eq!(lines[2]["replaces"], id(&keys.admin), "the caller's own key is last");
    let refused = lines.iter().find(|line| line["id"] == id(&foreign)).unwrap();
    assert_eq!((&refused["status"], refused["detail"].is_string()), (&json!(403), true));
    let old = keys.manager.get(&admin(), id(&bot)).await.unwrap();
    assert_eq!((old.reason(), old.replaced_by().is_some()), (Some("a leak"), true));
    logs::watch_for(lines.iter().filter_map(|line| line["key"].as_str().map(str::to_owned)));
    logs::assert_clean();
    let again = answer(keys.app.clone().oneshot(request()).await.unwrap()).await;
    assert_eq!(again.status, 403, "a replaced key changes nothing");
}
