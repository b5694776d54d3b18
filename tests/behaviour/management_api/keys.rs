//! Keys are issued, listed, edited, rotated and revoked, within the permissions of the actor.

use serde_json::{Value, json};
use tower_api_key::{Outcome, Permissions, Reason, manage::NewKey};

use super::{Keys, bot, request};
use crate::support::{
    registry::{admin, everything, user},
    t0,
};

#[tokio::test]
async fn a_key_is_made_shown_once_read_edited_replaced_and_revoked() {
    let keys = Keys::new().await;
    let made = keys.call("POST /api/keys", &bot("ci")).await;
    assert_eq!(made.status, 201);
    let secret = made.json["key"].as_str().unwrap().to_owned();
    let id = made.json["id"].as_str().unwrap().to_owned();
    let admin = made.json["created_by"]["id"].as_str().unwrap().to_owned();
    let expected = json!({
        "id": id, "type": "bot", "owner": "Bot", "name": "ci", "organization": "acme", "environment": null,
        "permissions": {"links": ["read"]}, "roles": [], "status": "active", "mask": format!("...{}", &secret[secret.len() - 4..]),
        "created_at": "2027-01-15T08:00:00Z", "not_before": null, "expires_at": null, "last_used_at": null,
        "allowed_addresses": null, "use_count": 0, "replaces": null, "replaced_by": null, "lineage": id, "version": 0, "metadata": {},
        "created_by": {"type": "key", "id": admin}, "updated_at": null, "revoked_at": null, "revoked_by": null,
        "reason": null, "plan": null, "limits": {}, "meter": admin,
    });
    let shown = keys.call(&format!("GET /api/keys/{id}"), &Value::Null).await;
    assert_eq!((shown.status, shown.json), (200, expected));

    let edit = json!({"name": "nightly", "permissions": {}, "status": "disabled"});
    let edited = keys.call(&format!("PATCH /api/keys/{id}"), &edit).await;
    assert_eq!(
        (edited.status, &edited.json["name"], &edited.json["status"]),
        (200, &json!("nightly"), &json!("disabled"))
    );
    let unchanged = keys.call(&format!("PATCH /api/keys/{id}"), &json!({})).await;
    assert_eq!(unchanged.json["name"], "nightly");
    keys.call(&format!("PATCH /api/keys/{id}"), &json!({"status": "active"})).await;

    let regenerated = keys.call(&format!("POST /api/keys/{id}/regenerate"), &Value::Null).await;
    assert_eq!((regenerated.status, &regenerated.json["replaces"]), (201, &json!(id)));
    let second = regenerated.json["id"].as_str().unwrap().to_owned();
    let rotated = keys.call(&format!("POST /api/keys/{second}/rotate"), &json!({"grace_seconds": 60})).await;
    assert_eq!(rotated.status, 201);
    let old = keys.call(&format!("GET /api/keys/{second}"), &Value::Null).await;
    assert_eq!((&old.json["status"], &old.json["replaced_by"]), (&json!("active"), &rotated.json["id"]));
    keys.clock.set(t0() + std::time::Duration::from_mins(1));
    let old = keys.call(&format!("GET /api/keys/{second}"), &Value::Null).await;
    assert_eq!(old.json["status"], "expired");
    let revoked = keys.call(&format!("DELETE /api/keys/{}", rotated.json["id"].as_str().unwrap()), &Value::Null).await;
    assert_eq!((revoked.status, &revoked.json["status"]), (200, &json!("revoked")));

    let listed = keys.call("GET /api/keys?revoked=true", &Value::Null).await;
    assert_eq!(listed.json["keys"].as_array().unwrap().len(), 4);
    for key in [&made, &regenerated, &rotated] {
        assert!(!listed.json.to_string().contains(key.json["key"].as_str().unwrap()), "shown again");
    }
}

#[tokio::test]
async fn each_route_asks_for_its_own_permission() {
    let keys = Keys::new().await;
    let id = keys.key(Permissions::new()).await.record().id().to_string();
    for (line, body, needed) in [
        ("POST /api/keys", bot("x"), "create"),
        ("GET /api/keys", Value::Null, "read"),
        (&*format!("GET /api/keys/{id}"), Value::Null, "read"),
        (&format!("PATCH /api/keys/{id}"), json!({"name": "x"}), "update"),
        (&format!("POST /api/keys/{id}/rotate"), json!({"grace_seconds": 1}), "update"),
        (&format!("DELETE /api/keys/{id}"), Value::Null, "delete"),
    ] {
        for allowed in ["create", "read", "update", "delete"] {
            let permissions = Permissions::new().grant("apiKeys", allowed).grant("links", "read");
            let key = keys.key(permissions).await;
            let answer = keys.send(request(line, key.key().expose(), "application/json", &body.to_string())).await;
            let expected = if allowed == needed { 200..300 } else { 403..404 };
            assert!(expected.contains(&answer.status), "{line} with apiKeys: {allowed} is {}", answer.status);
            if answer.status == 403 {
                let unreadable = keys.send(request(line, key.key().expose(), "text/plain", "{")).await;
                assert_eq!(unreadable.json, answer.json, "{line}: the permission is checked before the body");
                assert_eq!(answer.json["detail"], format!("This needs the permission apiKeys: {needed}."));
                let outcome = *keys.decisions.lock().unwrap().last().unwrap();
                assert_eq!(outcome, Outcome::Refused(Reason::Forbidden), "the layer's observers get the decision");
            }
        }
        let anonymous = request(line, "", "application/json", &body.to_string());
        assert_eq!(keys.send(anonymous).await.status, 401, "{line} without a key");
    }
}

#[tokio::test]
async fn nobody_makes_or_edits_a_key_beyond_their_own() {
    let keys = Keys::new().await;
    let clerk = keys.key(Permissions::new().grant("apiKeys", "create").grant("apiKeys", "update")).await;
    let strong = keys.key(Permissions::new().grant("links", "read")).await.record().id().to_string();
    for (line, body) in [
        ("POST /api/keys".to_owned(), bot("x")),
        (format!("PATCH /api/keys/{strong}"), json!({"name": "renamed"})),
        (format!("PATCH /api/keys/{strong}"), json!({"status": "active"})),
        (format!("POST /api/keys/{strong}/regenerate"), json!({})),
        (format!("POST /api/keys/{strong}/rotate"), json!({"grace_seconds": 5})),
    ] {
        let answer = keys.send(request(&line, clerk.key().expose(), "application/json", &body.to_string())).await;
        assert_eq!(answer.status, 403, "{line} {body}");
        assert_eq!(answer.json["detail"], "Cannot grant a permission that the caller lacks: links: read.");
    }
    let off = request(
        &format!("PATCH /api/keys/{strong}"),
        clerk.key().expose(),
        "application/json",
        r#"{"status": "disabled"}"#,
    );
    assert_eq!(keys.send(off).await.status, 200, "disabling grants no permission");
}

#[tokio::test]
async fn another_organizations_key_is_not_there_and_owners_come_from_the_caller() {
    let keys = Keys::new().await;
    let elsewhere = admin().in_organization("globex");
    let id = keys.manager.issue(&elsewhere, NewKey::service_account("x")).await.unwrap().record().id().to_string();
    for (line, body) in [
        (format!("GET /api/keys/{id}"), Value::Null),
        (format!("PATCH /api/keys/{id}"), json!({})),
        (format!("POST /api/keys/{id}/regenerate"), json!({})),
        (format!("POST /api/keys/{id}/rotate"), json!({"grace_seconds": 1})),
        (format!("DELETE /api/keys/{id}"), Value::Null),
    ] {
        assert_eq!(keys.call(&line, &body).await.status, 404, "{line}");
    }
    for identity in ["owner", "organization", "id", "user", "created_at"] {
        let mut body = bot("x");
        body[identity] = json!("globex");
        let answer = keys.call("POST /api/keys", &body).await;
        assert_eq!(answer.status, 422);
        assert!(answer.json["detail"].as_str().unwrap().starts_with("Unknown member: use type, name"));
    }
    let whose = keys.call("POST /api/keys", &json!({"type": "user", "name": "x"})).await;
    assert_eq!(
        (whose.status, &whose.json["detail"]),
        (422, &json!("Only a user can have a user key, and the caller is not a user."))
    );
}

#[tokio::test]
async fn conflicts_and_failures_have_their_statuses() {
    let keys = Keys::new().await;
    let id = keys.key(Permissions::new()).await.record().id().to_string();
    keys.call(&format!("POST /api/keys/{id}/regenerate"), &json!({})).await;
    for (line, body) in [
        (format!("POST /api/keys/{id}/regenerate"), json!({})),
        (format!("POST /api/keys/{id}/rotate"), json!({"grace_seconds": 1})),
        (format!("PATCH /api/keys/{id}"), json!({"name": "x"})),
    ] {
        assert_eq!(keys.call(&line, &body).await.status, 409, "{line}");
    }
    let alice = keys.manager.issue(&user("alice"), NewKey::user("mine").permissions(everything())).await.unwrap();
    let second = json!({"type": "user", "name": "second"}).to_string();
    let full = keys.send(request("POST /api/keys", alice.key().expose(), "application/json", &second)).await;
    assert_eq!(full.json["detail"], "The owner already has the maximum number of keys, 1: revoke one first.");
    let others = keys.call(&format!("POST /api/keys/{}/regenerate", alice.record().id()), &json!({})).await;
    assert_eq!(others.status, 403);
    keys.store.break_writes(true);
    let failed = keys.call("POST /api/keys", &bot("x")).await;
    assert_eq!((failed.status, &failed.json["detail"]), (503, &json!("The key store failed.")));
    assert_eq!(failed.headers["retry-after"], "1");
}

#[tokio::test]
async fn pages_follow_each_other() {
    let keys = Keys::new().await;
    for number in 0..7 {
        keys.call("POST /api/keys", &bot(&number.to_string())).await;
    }
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = keys.call(&format!("GET /api/keys?limit=3{cursor}"), &Value::Null).await.json;
        seen.extend(page["keys"].as_array().unwrap().iter().map(|key| key["id"].as_str().unwrap().to_owned()));
        let Some(next) = page["next"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(seen.len(), 8);
    assert!(seen.is_sorted_by(|a, b| a > b));
    let of_alice = keys.manager.issue(&user("alice"), NewKey::user("mine")).await.unwrap();
    let listed = keys.call("GET /api/keys?owner=alice", &Value::Null).await.json;
    assert_eq!(listed["keys"].as_array().unwrap().len(), 1);
    assert_eq!(listed["keys"][0]["id"], of_alice.record().id().as_str());
}
