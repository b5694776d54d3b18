//! What happened to the keys, over HTTP.

use serde_json::{Value, json};
use tower_api_key::Permissions;

use super::{Keys, bot, request};
use crate::support::registry::admin;

#[tokio::test]
async fn the_history_of_a_key_is_shown_also_after_its_removal() {
    let keys = Keys::new().await;
    let made = keys.call("POST /api/keys", &bot("ci")).await;
    let id = made.json["id"].as_str().unwrap().to_owned();
    let author = made.json["created_by"].clone();
    keys.call(&format!("PATCH /api/keys/{id}"), &json!({"name": "nightly"})).await;
    keys.manager.remove(&admin().because("unused"), id.as_str()).await.unwrap();
    assert_eq!(keys.call(&format!("GET /api/keys/{id}"), &Value::Null).await.status, 404);

    let path = format!("GET /api/keys/{id}/events");
    let shown = keys.call(&path, &Value::Null).await;
    assert_eq!((shown.status, &shown.json["next"]), (200, &Value::Null));
    let events = shown.json["events"].as_array().unwrap();
    let kinds: Vec<_> = events.iter().map(|event| event["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["removed", "edited", "issued"]);
    let expected = json!({
        "id": events[1]["id"], "kind": "edited", "at": "2027-01-15T08:00:00Z", "key_id": id, "version": 1,
        "organization": "acme", "environment": null, "author": author, "replacement": null, "reason": null,
        "request_id": null, "address": null, "leak": null, "before": {"name": "ci"}, "after": {"name": "nightly"},
    });
    assert_eq!(events[1], expected);
    assert_eq!((&events[0]["reason"], &events[0]["author"]), (&json!("unused"), &json!({"type": "system"})));
    assert_eq!(events[2]["after"]["permissions"], json!({"links": ["read"]}), "permissions as JSON");
    let (mut cursor, mut ids) = (String::new(), Vec::new());
    loop {
        let page = keys.call(&format!("{path}?limit=1{cursor}"), &Value::Null).await;
        ids.extend(page.json["events"].as_array().unwrap().iter().map(|event| event["id"].clone()));
        let Some(next) = page.json["next"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(ids, events.iter().map(|event| event["id"].clone()).collect::<Vec<_>>());
    let issued = keys.call("GET /api/keys/events?kind=issued", &Value::Null).await;
    let of: Vec<_> = issued.json["events"].as_array().unwrap().iter().map(|event| event["key_id"].clone()).collect();
    assert_eq!(of, [json!(id), json!(keys.admin.record().id().as_str())]);
}

#[tokio::test]
async fn what_is_wrong_in_a_query_is_said_and_a_permission_is_needed() {
    let keys = Keys::new().await;
    for (query, detail) in [
        ("?limit=0", "limit: must be a number from 1 to 255."),
        ("?kind=lost", "kind: must be a kind of event, such as revoked."),
        ("?cursor=", "cursor: must be `next` of the previous page; omit it for the first page."),
        ("?kind=issued&kind=issued", "kind: given twice."),
        ("?owner=alice", "Unknown parameter: use limit, cursor or kind."),
    ] {
        for path in ["/api/keys/events", "/api/keys/k/events"] {
            let answer = keys.call(&format!("GET {path}{query}"), &Value::Null).await;
            assert_eq!((answer.status, answer.json["detail"].as_str()), (400, Some(detail)), "{query}");
        }
    }
    assert_eq!(keys.call("GET /api/keys/unknown/events", &Value::Null).await.status, 404);
    assert_eq!(keys.call("GET /api/keys/events?cursor=unknown", &Value::Null).await.json["events"], json!([]));
    let weak = keys.key(Permissions::new().grant("links", "read")).await;
    for path in ["events", "unknown/events"] {
        let line = format!("GET /api/keys/{path}");
        let answer = keys.send(request(&line, weak.key().expose(), "application/json", "")).await;
        assert_eq!(answer.status, 403);
    }
}
