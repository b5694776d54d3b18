//! Searches over HTTP: conditions, pages, and a key that is found by its text.

use std::{collections::BTreeSet, time::Duration};

use axum::body::Body;
use http::{Request, StatusCode};
use serde_json::{Value, json};
use tower::ServiceExt;
use tower_api_key::{
    Owner, Scheme,
    manage::{Actor, NewKey},
};

use super::{Answer, Keys, answer, request};
use crate::support::{
    logs,
    registry::{admin, everything, user},
    t0,
};

impl Keys {
    /// The names of the keys that this query lists, page by page.
    async fn names(&self, query: &str) -> Vec<String> {
        let (mut names, mut cursor) = (Vec::new(), String::new());
        for _ in 0..20 {
            let page = self.call(&format!("GET /api/keys?{query}{cursor}"), &Value::Null).await;
            assert_eq!(page.status, 200, "{query}: {}", page.json);
            let keys = page.json["keys"].as_array().unwrap().iter();
            names.extend(keys.map(|key| key["name"].as_str().unwrap().to_owned()));
            let Some(next) = page.json["next"].as_str() else { return names };
            // As `curl -d` sends it: a cursor needs no encoding, whatever the name of the key.
            cursor = format!("&cursor={next}");
        }
        panic!("{query}: the pages do not end");
    }

    /// Sends a request of an actor without a key.
    async fn trusted(&self, actor: Actor, line: &str, body: &str) -> Answer {
        let (method, path) = line.split_once(' ').unwrap();
        let mut request = Request::builder().method(method).uri(path).header("content-type", "application/json");
        request.extensions_mut().unwrap().insert(actor);
        let router: axum::Router = self.manager.router(&Scheme::bearer().into());
        let answer = answer(router.oneshot(request.body(Body::from(body.to_owned())).unwrap()).await.unwrap()).await;
        assert_eq!(answer.headers["cache-control"], "no-store");
        logs::assert_clean();
        answer
    }
}

#[tokio::test]
async fn every_condition_selects_and_every_order_has_pages() {
    let keys = Keys::new().await;
    let hour = Duration::from_hours(1);
    // Ids begin with the time in milliseconds.
    keys.clock.set(t0() + Duration::from_secs(1));
    let made = keys.manager.issue(&user("alice"), NewKey::user("Laptop").metadata("team", "a:b")).await.unwrap();
    keys.clock.set(t0() + hour);
    let tick = |seconds: u64| keys.clock.set(t0() + hour + Duration::from_secs(seconds));
    let soon = NewKey::service_account("deploy soon").expires_at(t0() + hour * 24);
    keys.manager.issue(&admin(), soon).await.unwrap();
    let late = NewKey::service_account("deploy c++").expires_at(t0() + hour * 48);
    tick(1);
    let late = keys.manager.issue(&admin(), late).await.unwrap();
    tick(2);
    let off = keys.manager.issue(&admin(), NewKey::service_account("off")).await.unwrap();
    keys.manager.disable(&admin(), off.record().id().clone()).await.unwrap();
    tick(3);
    let gone = keys.manager.issue(&admin(), NewKey::service_account("gone")).await.unwrap();
    keys.manager.revoke(&admin(), gone.record().id().clone()).await.unwrap();
    let (mask, id) = (late.record().mask().unwrap(), made.record().id().as_str());
    for (query, expected) in [
        ("", &["off", "deploy c++", "deploy soon", "Laptop", "admin"][..]),
        ("revoked=true&limit=1", &["gone", "off", "deploy c++", "deploy soon", "Laptop", "admin"]),
        ("sort=oldest&limit=2", &["admin", "Laptop", "deploy soon", "deploy c++", "off"]),
        ("sort=expiry&limit=1", &["deploy soon", "deploy c++"]),
        ("sort=name&limit=1", &["Laptop", "admin", "deploy c++", "deploy soon", "off"]),
        ("sort=name&name_prefix=deploy%20&limit=1", &["deploy c++", "deploy soon"]),
        ("name_prefix=deploy%20s", &["deploy soon"]),
        ("name_contains=LAPTO", &["Laptop"]),
        ("metadata=team:a:b", &["Laptop"]),
        ("metadata=team:a", &[]),
        (&format!("mask={mask}"), &["deploy c++"]),
        ("owner=alice", &["Laptop"]),
        ("type=user", &["Laptop"]),
        ("type=bot&name_contains=deploy", &["deploy c++", "deploy soon"]),
        ("status=disabled", &["off"]),
        ("status=revoked", &["gone"]),
        ("status=active", &["deploy c++", "deploy soon", "Laptop", "admin"]),
        ("created_by=user%20alice", &["Laptop"]),
        ("created_by=system&status=disabled", &["off"]),
        (&format!("lineage={id}"), &["Laptop"]),
        ("created_before=2027-01-15T08:30:00Z", &["Laptop", "admin"]),
        ("created_after=2027-01-15T08:30:00Z&status=disabled", &["off"]),
        ("expires_before=2027-01-17T00:00:00Z", &["deploy soon"]),
        ("expires_after=2027-01-17T00:00:00Z", &["deploy c++"]),
        ("used_after=2027-01-15T08:30:00Z&used_before=2027-01-15T09:30:00Z", &["admin"]),
        ("never_used=true&type=user", &["Laptop"]),
        ("environment=live", &[]),
    ] {
        // The requests themselves use the administrator's key.
        keys.manager.flush().await.unwrap();
        assert_eq!(keys.names(query).await, expected, "{query}");
    }
}

#[tokio::test]
async fn a_wrong_condition_is_named_and_its_value_is_not() {
    let keys = Keys::new().await;
    for query in [
        "type=robot",
        "status=expired",
        "revoked=yes",
        "never_used=1",
        "name_prefix=",
        "name_contains=",
        "mask=",
        "lineage=",
        "metadata=team",
        "metadata=:links",
        "created_by=alice",
        "created_after=yesterday",
        "created_before=2027-01-15",
        "used_after=0",
        "used_before=1800000000",
        "expires_after=2027-13-15T08:00:00Z",
        "expires_before=",
        "organizations=acme",
        "sort=size",
        "sort=expiry&cursor=key_1",
        "sort=name&cursor=9:short",
        "sort=name&cursor=TGFwdG9w:",
        "cursor=",
        "status=active&status=active",
        "secret_value=secret_value",
    ] {
        let answer = keys.call(&format!("GET /api/keys?{query}"), &Value::Null).await;
        let detail = answer.json["detail"].as_str().unwrap();
        assert_eq!(answer.status, 400, "{query}");
        let name = query.rsplit('&').next().unwrap().split('=').next().unwrap();
        assert!(detail.starts_with(&format!("{name}: ")) != query.starts_with("secret"), "{query}: {detail}");
        assert!(!detail.contains("secret_value") && !detail.contains("robot"), "{detail}");
    }
}

#[tokio::test]
async fn the_document_describes_every_condition() {
    let keys = Keys::new().await;
    let document = keys.call("GET /api/keys/openapi.json", &Value::Null).await.json;
    let parameters = document["paths"]["/api/keys"]["get"]["parameters"].as_array().unwrap();
    let described: BTreeSet<_> = parameters.iter().map(|parameter| parameter["name"].as_str().unwrap()).collect();
    let unknown = keys.call("GET /api/keys?nothing=1", &Value::Null).await;
    let known = unknown.json["detail"].as_str().unwrap();
    let known = known.strip_prefix("Unknown parameter: use ").unwrap().trim_end_matches('.').split(", ").collect();
    assert_eq!(described, known);
    assert!(document["paths"]["/api/keys/find"]["post"]["responses"]["404"].is_object());
}

#[tokio::test]
async fn every_organization_is_listed_to_an_actor_that_is_trusted_with_all() {
    let keys = Keys::new().await;
    keys.manager.issue(&admin().in_organization("globex"), NewKey::service_account("other")).await.unwrap();
    let with_a_key = keys.call("GET /api/keys?organizations=all", &Value::Null).await;
    assert_eq!(with_a_key.status, 403);
    assert_eq!(keys.trusted(admin(), "GET /?organizations=all", "").await.status, 403);
    let operator = admin().across_organizations();
    let all = keys.trusted(operator, "GET /?organizations=all&name_contains=o", "").await;
    assert_eq!((all.status, &all.json["keys"][0]["organization"]), (200, &json!("globex")));
    let events = keys.trusted(admin().across_organizations(), "GET /events?limit=1", "").await;
    assert_eq!((events.status, &events.json["events"][0]["organization"]), (200, &json!("globex")));
}

#[tokio::test]
async fn a_key_is_found_by_its_text_by_a_trusted_actor_alone() {
    let keys = Keys::new().await;
    let issued = keys.manager.issue(&user("alice"), NewKey::user("lost")).await.unwrap();
    let secret = issued.key().expose();
    logs::watch_for(Some(secret.to_owned()));
    let body = json!({"key": secret}).to_string();
    let with_a_key = request("POST /api/keys/find", keys.admin.key().expose(), "application/json", &body);
    let refused = keys.send(with_a_key).await;
    assert_eq!(refused.status, 403);
    assert!(!refused.json.to_string().contains(secret));

    let found = keys.trusted(admin(), "POST /find", &body).await;
    assert_eq!((found.status, &found.json["name"], &found.json["use_count"]), (200, &json!("lost"), &json!(0)));
    assert!(!found.json.to_string().contains(secret) && found.json.get("key").is_none());
    let elsewhere = keys.trusted(admin().in_organization("globex"), "POST /find", &body).await;
    let unknown = keys.trusted(admin(), "POST /find", r#"{"key": "acme_unknown"}"#).await;
    let malformed = keys.trusted(admin(), "POST /find", r#"{"key": "two words"}"#).await;
    for answer in [&elsewhere, &unknown, &malformed] {
        assert_eq!(answer.status, StatusCode::NOT_FOUND.as_u16());
        assert_eq!(answer.json, unknown.json);
    }
    for (body, status) in [("{}", 422), (r#"{"key": 7}"#, 422), (r#"{"key": "x", "id": "y"}"#, 422), ("", 400)] {
        assert_eq!(keys.trusted(admin(), "POST /find", body).await.status, status, "{body}");
    }
    let reader = Actor::trusted(Owner::User("bob".into()), tower_api_key::Permissions::new());
    assert_eq!(keys.trusted(reader, "POST /find", &body).await.status, 403);
    let own = Actor::trusted(Owner::User("bob".into()), everything()).in_organization("acme").own_keys_only();
    assert_eq!(keys.trusted(own, "POST /find", &body).await.status, 404);
    keys.manager.flush().await.unwrap();
    assert_eq!(keys.manager.get(&admin(), issued.record().id().clone()).await.unwrap().use_count(), 0);
}
