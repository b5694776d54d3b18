//! Sessions of the host application.

use std::{convert::Infallible, time::Duration};

use axum::Router;
use http::request::Parts;
use serde_json::json;
use tower_api_key::{KeyManager, Owner, Permissions, manage::Actor};

use super::{actor_of, call, hosted, issue, manager, status, user_of};
use crate::support::registry::{everything, id, text};

const ALICE: (&str, &str) = ("cookie", "app=alice");
const ADMIN: (&str, &str) = ("cookie", "app=admin");

#[tokio::test]
async fn the_session_of_the_application_decides_who_sees_which_keys() {
    let manager = manager();
    let app = hosted(&manager);
    let (alice, bob) = (issue(&manager, "alice", everything()).await, issue(&manager, "bob", everything()).await);
    let shown = call(&app, "GET /keys/manage/session", &[ALICE], "").await.json;
    let expected = json!({
        "key_id": null, "owner": "alice", "is_user": true, "organization": "acme", "own_keys_only": true,
        "permissions": everything(), "may": ["create", "read", "update", "delete"], "tops_up": false,
        "finds_by_text": false,
    });
    assert_eq!(shown, expected);
    let admin = call(&app, "GET /keys/manage/session", &[ADMIN], "").await.json;
    assert_eq!((&admin["own_keys_only"], &admin["finds_by_text"]), (&json!(false), &json!(true)));
    for (who, keys) in [(ALICE, vec![id(&alice)]), (ADMIN, vec![id(&alice), id(&bob)])] {
        let list = call(&app, "GET /keys/manage/keys", &[who], "").await.json;
        let mut ids: Vec<_> = list["keys"].as_array().unwrap().iter().map(|key| key["id"].as_str().unwrap()).collect();
        ids.sort_unstable_by_key(|key| *key != id(&alice));
        assert_eq!(ids, keys);
    }
    assert_eq!(status(&app, "GET /keys/manage/keys", &[]).await, 401);
}

#[tokio::test]
async fn a_member_reaches_no_other_key_by_any_route() {
    let manager = manager();
    let app = hosted(&manager);
    let bob = issue(&manager, "bob", everything()).await;
    let key = id(&bob).to_owned();
    for (method, action, body) in [
        ("GET", "", ""),
        ("DELETE", "", ""),
        ("PATCH", "", "{}"),
        ("POST", "/regenerate", "{}"),
        ("POST", "/rotate", r#"{"grace_seconds": 60}"#),
        ("GET", "/usage", ""),
        ("GET", "/events", ""),
    ] {
        let answer = call(&app, &format!("{method} /keys/manage/keys/{key}{action}"), &[ALICE], body).await;
        assert_eq!(answer.status, 404, "{method} {action}: {}", answer.text);
    }
    for query in ["owner=bob", "mask=x", "organizations=all", "revoked=true"] {
        let list = call(&app, &format!("GET /keys/manage/keys?{query}"), &[ALICE], "").await;
        assert!(list.json["keys"].as_array().is_none_or(Vec::is_empty), "{query}: {}", list.text);
    }
    let found = call(&app, "POST /keys/manage/keys/find", &[ALICE], &json!({ "key": text(&bob) }).to_string()).await;
    assert_eq!(found.status, 404);
    let all = json!({ "change": "revoke", "filter": { "name_prefix": "b" }, "reason": "x" }).to_string();
    assert_eq!(call(&app, "POST /keys/manage/keys/bulk", &[ALICE], &all).await.json["changed"], json!(0));
    let events = call(&app, "GET /keys/manage/keys/events", &[ALICE], "").await;
    assert_eq!(events.json["events"], json!([]));
    let bot = json!({ "type": "bot", "name": "x" }).to_string();
    assert_eq!(call(&app, "POST /keys/manage/keys", &[ALICE], &bot).await.status, 403);
    // A header of the layer changes nothing: only the session counts.
    let both = [ALICE, ("x-api-key", text(&bob))];
    assert_eq!(status(&app, &format!("GET /keys/manage/keys/{key}"), &both).await, 404);
}

/// The router is under a layer, against the advice, and the request has a key of an administrator.
#[tokio::test]
async fn a_principal_of_an_outer_layer_does_not_widen_a_session() {
    let manager = manager();
    let bob = issue(&manager, "bob", everything()).await;
    let app = hosted(&manager).layer(manager.layer().optional().build().unwrap());
    let both = [ALICE, ("x-api-key", text(&bob))];
    assert_eq!(status(&app, &format!("GET /keys/manage/keys/{}", id(&bob)), &both).await, 404);
    let own = call(&app, "GET /keys/manage/keys", &both, "").await.json;
    assert_eq!(own["keys"], json!([]));
    assert_eq!(status(&app, "GET /keys/manage/keys", &both[1..]).await, 401);
    // The key in a private header does not switch off the check for other sites.
    let cross = [both[0], both[1], ("sec-fetch-site", "cross-site")];
    let issue = json!({ "type": "user", "name": "x" }).to_string();
    assert_eq!(call(&app, "POST /keys/manage/keys", &cross, &issue).await.status, 403);
}

#[tokio::test]
async fn own_keys_only_and_administrators_narrow_the_actors_of_the_application() {
    let manager = manager();
    let bob = issue(&manager, "bob", everything()).await;
    let line = format!("GET /manage/keys/{}", id(&bob));
    let session = async |parts: Parts| user_of(&parts).map(actor_of);
    let confined: Router = manager.dashboard().sign_in_with_session(session).own_keys_only().router().unwrap();
    assert_eq!(status(&confined, &line, &[ADMIN]).await, 404);
    let is_bob = |actor: &Actor| actor.owner() == Some(&Owner::User("bob".into()));
    let named: Router = manager.dashboard().sign_in_with_session(session).administrators(is_bob).router().unwrap();
    assert_eq!(status(&named, &line, &[ADMIN]).await, 404, "it is not bob");
    let is_admin = |_: &Actor| true;
    let named: Router = manager.dashboard().sign_in_with_session(session).administrators(is_admin).router().unwrap();
    assert_eq!(status(&named, &line, &[ADMIN]).await, 200);
    assert_eq!(status(&named, &line, &[ALICE]).await, 404, "the actor of the application stays confined");
}

#[tokio::test]
async fn an_actor_without_permissions_sees_and_changes_nothing() {
    let manager = manager();
    let bob = issue(&manager, "bob", everything()).await;
    let session = async |_| {
        let nothing = Permissions::new().grant("links", "read");
        Some(Actor::trusted(Owner::User("bob".into()), nothing).in_organization("acme"))
    };
    let app: Router = manager.dashboard().sign_in_with_session(session).router().unwrap();
    let shown = call(&app, "GET /manage/session", &[], "").await;
    assert_eq!((shown.status, &shown.json["may"]), (200, &json!([])));
    for line in ["GET /manage/keys", "POST /manage/keys", "GET /manage/keys/events", "POST /manage/keys/find"] {
        assert_eq!(call(&app, line, &[], "{}").await.status, 403, "{line}");
    }
    assert_eq!(status(&app, &format!("DELETE /manage/keys/{}", id(&bob)), &[]).await, 403);
    // Bounds that contradict each other leave no permission either.
    let other = actor_of("admin".into());
    let contradict = move |_| {
        let actor = other.clone().in_environment("a").in_environment("b");
        async move { Some(actor) }
    };
    let app: Router = manager.dashboard().sign_in_with_session(contradict).router().unwrap();
    assert_eq!(status(&app, "GET /manage/keys", &[]).await, 403);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_cannot_be_read_is_503() {
    let manager = manager();
    let dashboard = || manager.dashboard();
    let failing: Router =
        dashboard().sign_in_with_session(async |_| Err::<Option<Actor>, _>("is down")).router().unwrap();
    let panicking: Router = dashboard().sign_in_with_session(panics).router().unwrap();
    let panicking_later: Router =
        dashboard().sign_in_with_session(async |_| -> Option<Actor> { panic!("later") }).router().unwrap();
    let slow = async |_| {
        tokio::time::sleep(Duration::from_secs(6)).await;
        Some(actor_of("admin".into()))
    };
    let slow: Router = dashboard().sign_in_with_session(slow).router().unwrap();
    for (name, app) in [("failing", failing), ("panicking", panicking), ("later", panicking_later), ("slow", slow)] {
        for line in ["GET /manage/session", "GET /manage/keys", "POST /manage/keys"] {
            let answer = call(&app, line, &[], "{}").await;
            assert_eq!((answer.status, answer.headers.contains_key("retry-after")), (503, true), "{name} {line}");
            assert!(!answer.text.contains("is down"), "the cause is for the log: {}", answer.text);
        }
        assert_eq!(status(&app, "GET /", &[]).await, 200, "the page itself needs no session");
    }
}

fn panics(_: Parts) -> std::future::Ready<Option<Actor>> {
    panic!("at once")
}

#[tokio::test]
async fn other_sites_can_neither_change_nor_sign_in() {
    let manager = manager();
    let app = hosted(&manager);
    let body = json!({ "type": "user", "name": "x" }).to_string();
    let post = async |headers: &[(&str, &str)]| {
        call(&app, "POST /keys/manage/keys", &[&[ALICE], headers].concat(), &body).await.status
    };
    for site in ["cross-site", "same-site"] {
        assert_eq!(post(&[("sec-fetch-site", site)]).await, 403, "{site}");
    }
    assert_eq!(post(&[("origin", "https://evil.example"), ("host", "acme.example")]).await, 403);
    for form in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""] {
        assert_eq!(post(&[("content-type", form)]).await, 415, "{form}");
    }
    // `regenerate` and `DELETE` need no body, and are JSON all the same.
    let key = issue(&manager, "alice", everything()).await;
    for line in
        [format!("POST /keys/manage/keys/{}/regenerate", id(&key)), format!("DELETE /keys/manage/keys/{}", id(&key))]
    {
        assert_eq!(status(&app, &line, &[ALICE, ("content-type", "text/plain")]).await, 415, "{line}");
    }
    assert_eq!(post(&[("content-type", "Application/JSON ; charset=utf-8")]).await, 201);
    assert_eq!(post(&[("sec-fetch-site", "same-origin")]).await, 201);
    assert_eq!(status(&app, "POST /keys/manage/session", &[ALICE]).await, 405, "no key signs in here");
}

/// Closures of several kinds are accepted.
#[tokio::test]
async fn a_session_is_an_option_or_a_result_of_one() {
    let manager = manager();
    let user = || Some(actor_of("alice".into()));
    let option = manager.dashboard().sign_in_with_session(move |_| async move { user() });
    let never = manager.dashboard().sign_in_with_session(move |_| async move { Ok::<_, Infallible>(user()) });
    let boxed = manager
        .dashboard()
        .sign_in_with_session(move |_| async move { Ok::<_, Box<dyn std::error::Error + Send + Sync>>(user()) });
    let of_a_key = |manager: KeyManager| async move { manager.actor(&"none".into()).await };
    let managers = manager.clone();
    let key = manager.dashboard().sign_in_with_session(move |_| of_a_key(managers.clone()));
    for (page, expected) in [(option, 200), (never, 200), (boxed, 200), (key, 401)] {
        assert_eq!(status(&page.router().unwrap(), "GET /manage/session", &[]).await, expected);
    }
}

#[tokio::test]
async fn the_closure_reads_what_outer_layers_have_put_into_the_request() {
    #[derive(Clone)]
    struct Session(&'static str);
    let manager = manager();
    let session =
        async |parts: Parts| parts.extensions.get::<Session>().map(|Session(user)| actor_of((*user).to_owned()));
    let page: Router = manager.dashboard().sign_in_with_session(session).router_at("/keys").unwrap();
    assert_eq!(status(&page, "GET /keys/manage/session", &[]).await, 401);
    let app = page.layer(axum::Extension(Session("alice")));
    assert_eq!(call(&app, "GET /keys/manage/session", &[], "").await.json["owner"], "alice");
}
