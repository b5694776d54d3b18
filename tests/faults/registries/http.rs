//! M1 as first reproduced: clients that POST, and one DELETE of their key.

use std::collections::BTreeSet;

use axum::{Router, body::Body};
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::Value;
use tower::ServiceExt;
use tower_api_key::{KeyRegistry, Owner, manage::NewKey};

use super::{manager, memory, thief, trusted};
use crate::support::registry::everything;

const CALLERS: usize = 48;

async fn send(app: &Router, method: &str, path: &str, key: &str, body: &'static str) -> (StatusCode, Value) {
    let request = Request::builder().method(method).uri(path).header("x-api-key", key);
    let request = request.header("content-type", "application/json").body(Body::from(body)).unwrap();
    let response = app.clone().oneshot(request).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap_or_default())
}

/// Returns the ids of all keys, through the API.
async fn list(app: &Router, key: &str) -> BTreeSet<String> {
    let (mut ids, mut cursor) = (BTreeSet::new(), String::new());
    loop {
        let (status, page) = send(app, "GET", &format!("/api/keys?revoked=true&limit=255{cursor}"), key, "").await;
        assert_eq!(status, 200);
        ids.extend(page["keys"].as_array().unwrap().iter().map(|key| key["id"].as_str().unwrap().to_owned()));
        let Some(next) = page["next"].as_str() else { return ids };
        cursor = format!("&cursor={next}");
    }
}

async fn check(what: &str, store: impl KeyRegistry) {
    let manager = manager(store);
    let admin = NewKey::service_account("administrator").permissions(everything());
    let admin = manager.issue(&trusted(Owner::ServiceAccount, "acme"), admin).await.unwrap();
    let admin = admin.key().expose();
    let (stolen, _) = thief(&manager, "acme").await;
    let layer = manager.layer().build().unwrap();
    let app = Router::new().nest("/api/keys", manager.router(layer.schemes())).layer(layer);
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let (app, key) = (app.clone(), stolen.key().expose().to_owned());
            tokio::spawn(async move {
                let mut made = Vec::new();
                loop {
                    let new = r#"{"type": "bot", "name": "spare", "permissions": {"links": ["read"]}}"#;
                    let (status, answer) = send(&app, "POST", "/api/keys", &key, new).await;
                    match status.as_u16() {
                        201 => made.push(answer["id"].as_str().unwrap().to_owned()),
                        401 | 403 => return made,
                        other => panic!("POST returned {other}: {answer}"),
                    }
                }
            })
        })
        .collect();
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    let path = format!("/api/keys/{}", stolen.record().id());
    assert_eq!(send(&app, "DELETE", &path, admin, "").await.0, 200);
    let then = list(&app, admin).await;
    let mut made = BTreeSet::new();
    for caller in callers {
        made.extend(caller.await.unwrap());
    }
    let now = list(&app, admin).await;
    let late: Vec<_> = now.difference(&then).collect();
    println!("{what}: {} keys made by {CALLERS} callers, {} after the DELETE was answered", made.len(), late.len());
    assert!(late.is_empty(), "{late:?}");
    assert!(made.is_subset(&then), "returned 201, but missing when the DELETE returned");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn m01_keys_that_48_callers_post_do_not_grow_after_the_delete_of_their_key() {
    for _ in 0..3 {
        check("memory", memory()).await;
    }
    #[cfg(feature = "sqlite")]
    for _ in 0..10 {
        let (_folder, store) = super::sqlite().await;
        check("SQLite", store).await;
    }
}

#[cfg(feature = "postgres")]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs postgres"]
async fn m01_keys_that_48_callers_post_do_not_grow_after_the_delete_of_their_key_in_postgres() {
    let server = crate::postgres_server::Server::start(&[]);
    for _ in 0..10 {
        check("PostgreSQL", server.database().await.store().await).await;
    }
}
