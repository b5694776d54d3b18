//! Edits over HTTP: a merge patch, `If-Match`, and the reason of a change.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::{Router, extract::ConnectInfo};
use http::{
    Request,
    header::{CONTENT_TYPE, IF_MATCH},
};
use serde_json::{Value, json};
use tower::ServiceExt;
use tower_api_key::{
    Permissions, Scheme,
    manage::{KeyEvent, NewKey},
};

use super::{Answer, Keys, answer, bot, request};
use crate::support::{Api, registry::admin, t0};

/// Sends a request with `If-Match`.
async fn matching(keys: &Keys, line: &str, body: &Value, tags: &[&str]) -> Answer {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let mut request = request(line, keys.admin.key().expose(), "application/json", &body);
    for tag in tags {
        request.headers_mut().append(IF_MATCH, tag.parse().unwrap());
    }
    keys.send(request).await
}

fn tag(answer: &Answer) -> &str {
    answer.headers["etag"].to_str().unwrap()
}

#[tokio::test]
async fn a_patch_sets_what_it_names_and_null_removes() {
    let keys = Keys::new().await;
    let id = keys.key(Permissions::new().grant("links", "read")).await.record().id().to_string();
    let line = format!("PATCH /api/keys/{id}");
    let (soon, late) = ("2027-01-16T08:00:00Z", "2027-02-15T08:00:00Z");
    for (patch, not_before, expires_at, metadata) in [
        (
            json!({"expires_at": late, "metadata": {"plan": "pro", "team": "a"}}),
            None,
            Some(late),
            json!({"plan": "pro", "team": "a"}),
        ),
        (
            json!({"not_before": soon, "metadata": {"team": null, "x": "y"}}),
            Some(soon),
            Some(late),
            json!({"plan": "pro", "x": "y"}),
        ),
        (json!({"name": "renamed"}), Some(soon), Some(late), json!({"plan": "pro", "x": "y"})),
        (json!({"metadata": {}}), Some(soon), Some(late), json!({"plan": "pro", "x": "y"})),
        (json!({"not_before": null, "metadata": null}), None, Some(late), json!({})),
        (json!({"expires_at": null}), None, None, json!({})),
    ] {
        let edited = keys.call(&line, &patch).await;
        let expected = (200, &json!(not_before), &json!(expires_at), &metadata);
        let json = &edited.json;
        assert_eq!((edited.status, &json["not_before"], &json["expires_at"], &json["metadata"]), expected, "{patch}");
        assert_eq!(tag(&edited), format!("\"{}\"", json["version"]));
        assert_eq!(keys.call(&format!("GET /api/keys/{id}"), &Value::Null).await.json, *json, "{patch}");
    }
    for (patch, detail) in [
        (json!({"name": null}), "name: must be a string of 1 to 100 characters, and cannot be removed."),
        (json!({"permissions": null}), "permissions: must be an object"),
        (json!({"status": null}), "status: must be \"active\" or \"disabled\", and cannot be removed."),
        (json!({"reason": null}), "reason: must be a string of 1 to 200 characters."),
        (json!({"environment": "live"}), "environment: cannot be changed: issue a new key."),
        (json!({"environment": null}), "environment: cannot be changed: issue a new key."),
        (json!({"owner": "bob"}), "owner: cannot be changed: issue a new key."),
        (json!({"expires_at": "tomorrow"}), "expires_at: must be null, or an RFC 3339 time"),
        (json!({"expires_at": "1999-01-01T00:00:00Z"}), "Invalid times"),
        (json!({"metadata": {"a": 1}}), "metadata: must be null, or an object of strings and nulls"),
        (json!({"metadata": []}), "metadata: must be null, or an object of strings and nulls"),
        (json!({"metadata": {"a": "x".repeat(1001)}}), "Metadata must have at most 50 texts"),
        (json!({"metadata": {" a": "x"}}), "A name must have 1 to 100 characters"),
        (json!({"colour": "red"}), "Unknown member: use name, permissions, roles, status,"),
    ] {
        let refused = keys.call(&line, &patch).await;
        let told = refused.json["detail"].as_str().unwrap();
        assert!(refused.status == 422 && told.starts_with(detail), "{patch}: {} {told}", refused.status);
    }
    let mut new = bot("with metadata");
    new["metadata"] = json!({"plan": "pro"});
    let made = keys.call("POST /api/keys", &new).await;
    assert_eq!((made.status, &made.json["metadata"], tag(&made)), (201, &json!({"plan": "pro"}), "\"0\""));
}

#[tokio::test]
async fn a_patch_is_json_or_a_merge_patch() {
    let keys = Keys::new().await;
    let id = keys.key(Permissions::new()).await.record().id().to_string();
    for (media_type, status) in [
        ("application/merge-patch+json", 200),
        ("application/merge-patch+json; charset=utf-8", 200),
        ("application/json", 200),
        ("text/plain", 415),
    ] {
        let line = format!("PATCH /api/keys/{id}");
        let patch = request(&line, keys.admin.key().expose(), media_type, r#"{"name": "x"}"#);
        assert_eq!(keys.send(patch).await.status, status, "{media_type}");
    }
}

#[tokio::test]
async fn a_change_with_if_match_is_made_to_that_version_only() {
    let keys = Keys::new().await;
    let new = || async { keys.key(Permissions::new().grant("links", "read")).await.record().id().to_string() };
    for (method, action, body) in [
        ("PATCH", "", json!({"name": "renamed"})),
        ("PATCH", "", json!({"status": "disabled"})),
        ("POST", "/regenerate", json!({})),
        ("POST", "/rotate", json!({"grace_seconds": 60})),
        ("DELETE", "", Value::Null),
    ] {
        let id = new().await;
        let line = format!("{method} /api/keys/{id}{action}");
        let shown = keys.call(&format!("PATCH /api/keys/{id}"), &json!({"name": "first"})).await;
        assert_eq!(tag(&shown), "\"1\"");
        for stale in [&["\"0\""][..], &["W/\"1\""], &["\"01\""], &["\"abc\", \"7\"", "\"8\""], &["\"*\""]] {
            let refused = matching(&keys, &line, &body, stale).await;
            assert_eq!(refused.status, 412, "{line} {stale:?}");
            assert!(refused.json["detail"].as_str().unwrap().contains("another version"), "{}", refused.json);
        }
        for malformed in ["1", "", "\"1", "\"1\" \"2\"", "*, \"1\"", "w/\"1\"", ",", "\"a b\""] {
            assert_eq!(matching(&keys, &line, &body, &[malformed]).await.status, 400, "{line} {malformed}");
        }
        let unchanged = keys.call(&format!("GET /api/keys/{id}"), &Value::Null).await;
        assert_eq!((tag(&unchanged), &unchanged.json["status"]), ("\"1\"", &json!("active")), "{line}");
        for fresh in [&["\"0\" ,, \"1\""][..], &["\"9\"", "\"1\""], &["*"], &["\"a,b\",\"1\""]] {
            let id = new().await;
            keys.call(&format!("PATCH /api/keys/{id}"), &json!({"name": "first"})).await;
            let done = matching(&keys, &format!("{method} /api/keys/{id}{action}"), &body, fresh).await;
            assert!((200..300).contains(&done.status), "{line} {fresh:?}: {}", done.json);
            assert!(!tag(&done).is_empty());
        }
    }
    let missing = matching(&keys, "DELETE /api/keys/nobody", &Value::Null, &["\"0\""]).await;
    assert_eq!(missing.status, 404);
    let id = new().await;
    let weak = keys.key(Permissions::new()).await;
    let line = format!("DELETE /api/keys/{id}");
    let mut denied = request(&line, weak.key().expose(), "", "");
    denied.headers_mut().insert(IF_MATCH, "1".parse().unwrap());
    assert_eq!(keys.send(denied).await.status, 403, "the permission comes first");
    for expected in [200, 412, 412] {
        assert_eq!(matching(&keys, &line, &Value::Null, &["\"0\""]).await.status, expected, "revoked once");
    }
    assert_eq!(matching(&keys, &line, &Value::Null, &["\"1\""]).await.status, 200, "it is revoked already");
}

#[tokio::test]
async fn a_change_has_a_reason() {
    let keys = Keys::new().await;
    for (line, body) in [
        ("PATCH /api/keys/{}", json!({"status": "disabled", "reason": "no longer needed"})),
        ("POST /api/keys/{}/regenerate", json!({"reason": "no longer needed"})),
        ("POST /api/keys/{}/rotate", json!({"grace_seconds": 60, "reason": "no longer needed"})),
        ("DELETE /api/keys/{}?reason=no+longer%20needed&x=y", Value::Null),
    ] {
        let id = keys.key(Permissions::new()).await.record().id().to_string();
        let line = line.replace("{}", &id);
        assert!((200..300).contains(&keys.call(&line, &body).await.status), "{line}");
        let shown = keys.call(&format!("GET /api/keys/{id}"), &Value::Null).await.json;
        assert_eq!(shown["reason"], "no longer needed", "{line}");
        if shown["status"] == "revoked" {
            assert_eq!(shown["revoked_by"], json!({"type": "key", "id": keys.admin.record().id().as_str()}));
        }
    }
    let id = keys.key(Permissions::new()).await.record().id().to_string();
    for (query, status) in [
        ("reason=", 422),
        (&*format!("reason={}", "x".repeat(201)), 422),
        ("reason=a%0Ab", 422),
        ("reason=a&reason=b", 400),
        (&format!("reason={}", "x".repeat(200)), 200),
    ] {
        let line = format!("DELETE /api/keys/{id}?{query}");
        assert_eq!(keys.call(&line, &Value::Null).await.status, status, "{query}");
    }
}

#[tokio::test]
async fn an_event_names_the_request_and_the_address_of_the_connection() {
    let events = Arc::new(Mutex::new(Vec::<KeyEvent>::new()));
    let seen = Arc::clone(&events);
    let hook = move |event: &KeyEvent| seen.lock().unwrap().push(event.clone());
    let (_, manager) = Api::managed(|builder| builder.on_event(hook));
    let router: Router = manager.router(&Scheme::bearer().into());
    let address: SocketAddr = "192.0.2.7:4000".parse().unwrap();
    let (long, most) = ("x".repeat(129), "x".repeat(128));
    for (id, is_connected, expected) in [
        (Some("req-1"), true, Some("req-1")),
        (Some(&*most), false, Some(&*most)),
        (Some(&*long), false, None),
        (Some("two words"), false, None),
        (Some(""), false, None),
        (None, false, None),
    ] {
        let new = NewKey::service_account("x").expires_at(t0() + std::time::Duration::from_secs(9));
        let key = manager.issue(&admin(), new).await.unwrap().record().id().to_string();
        let mut request = Request::delete(format!("/{key}")).header(CONTENT_TYPE, "application/json");
        for forwarded in ["x-forwarded-for", "forwarded", "x-real-ip"] {
            request = request.header(forwarded, "198.51.100.9");
        }
        if let Some(id) = id {
            request = request.header("x-request-id", id);
        }
        let mut request = request.body(axum::body::Body::empty()).unwrap();
        request.extensions_mut().insert(admin());
        if is_connected {
            request.extensions_mut().insert(ConnectInfo(address));
        }
        assert_eq!(answer(router.clone().oneshot(request).await.unwrap()).await.status, 200);
        let event = events.lock().unwrap().pop().unwrap();
        let address = is_connected.then(|| address.ip());
        assert_eq!((event.request_id(), event.address()), (expected, address), "{id:?}");
    }
}
