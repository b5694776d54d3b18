//! Tests the dashboard as a process: killed during requests, and twice on one file.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use crate::example::Example;
use reqwest::{Client, Response};
use serde_json::{Value, json};
use sqlx::{SqlitePool, sqlite::SqliteConnectOptions};

/// A key, as its holder sees it.
#[derive(Clone, Debug)]
struct Held {
    id: String,
    secret: String,
}

/// The keys that one client received, in order. All but the last one were replaced.
#[derive(Clone, Debug, Default)]
struct Story {
    keys: Vec<Held>,
    /// A regenerate of the last key was sent and not confirmed.
    unanswered: bool,
}

fn held(answer: &Value) -> Held {
    let text = |member: &str| answer[member].as_str().unwrap().to_owned();
    Held { id: text("id"), secret: text("key") }
}

async fn post(client: &Client, url: &str, admin: &str, body: &Value) -> Result<Response, reqwest::Error> {
    client.post(url).header("x-api-key", admin).json(body).send().await
}

async fn create(client: &Client, url: &str, admin: &str) -> Result<Held, reqwest::Error> {
    let body = json!({"type": "bot", "name": "story", "permissions": {"stats": ["read"]}});
    let response = post(client, &format!("{url}/api/keys"), admin, &body).await?;
    assert_eq!(response.status(), 201);
    Ok(held(&response.json().await?))
}

async fn regenerate(client: &Client, url: &str, admin: &str, old: &Held) -> Result<Held, reqwest::Error> {
    let response = post(client, &format!("{url}/api/keys/{}/regenerate", old.id), admin, &json!({})).await?;
    assert_eq!(response.status(), 201, "{old:?}");
    Ok(held(&response.json().await?))
}

async fn works(client: &Client, url: &str, key: &Held) -> bool {
    let response = client.get(format!("{url}/api/stats")).header("x-api-key", &key.secret).send().await.unwrap();
    match response.status().as_u16() {
        200 => true,
        401 => false,
        other => panic!("/api/stats answered {other}"),
    }
}

/// Creates a key and regenerates it repeatedly until the server is gone.
async fn tell_stories(client: Client, url: String, admin: String, stories: Arc<Mutex<Vec<Story>>>) {
    loop {
        let Ok(first) = create(&client, &url, &admin).await else { return };
        let mut story = Story { keys: vec![first], unanswered: false };
        for _ in 0..5 {
            let Ok(next) = regenerate(&client, &url, &admin, story.keys.last().unwrap()).await else {
                story.unanswered = true;
                stories.lock().unwrap().push(story);
                return;
            };
            story.keys.push(next);
        }
        stories.lock().unwrap().push(story);
    }
}

/// Returns every record by its id.
async fn records(client: &Client, url: &str, admin: &str) -> BTreeMap<String, Value> {
    let (mut records, mut cursor) = (BTreeMap::new(), String::new());
    loop {
        let page = client.get(format!("{url}/api/keys?revoked=true&limit=255{cursor}")).header("x-api-key", admin);
        let page: Value = page.send().await.unwrap().json().await.unwrap();
        for key in page["keys"].as_array().unwrap() {
            records.insert(key["id"].as_str().unwrap().to_owned(), key.clone());
        }
        let Some(next) = page["next"].as_str() else { return records };
        cursor = format!("&cursor={next}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the dashboard example as a process"]
async fn after_kill_9_every_answer_that_was_given_is_still_true() {
    let mut example = Example::start("dashboard");
    let admin = example.keys["admin"].clone();
    let stories = Arc::new(Mutex::new(Vec::new()));
    let client = Client::new();
    for round in 0..5 {
        let callers = (0..4).map(|_| {
            let (client, url) = (Client::new(), example.url.clone());
            tokio::spawn(tell_stories(client, url, admin.clone(), Arc::clone(&stories)))
        });
        let callers: Vec<_> = callers.collect();
        tokio::time::sleep(Duration::from_millis(300 + 70 * round)).await;
        let folder = example.kill();
        for caller in callers {
            caller.await.unwrap();
        }
        let file = SqliteConnectOptions::new().filename(folder.path().join("keys.db"));
        let file = SqlitePool::connect_with(file).await.unwrap();
        let verdict: String = sqlx::query_scalar("pragma integrity_check").fetch_one(&file).await.unwrap();
        assert_eq!(verdict, "ok");
        file.close().await;
        example = Example::start_over("dashboard", folder);
        assert!(example.keys.is_empty(), "the administrator's key is shown once");
        let told = stories.lock().unwrap().clone();
        check_stories(&client, &example.url, &admin, &told).await;
    }
    let told = stories.lock().unwrap().len();
    assert!(told > 5, "only {told} clients got a response");
    example.stop();
}

async fn check_stories(client: &Client, url: &str, admin: &str, stories: &[Story]) {
    let records = records(client, url, admin).await;
    for story in stories {
        let (last, replaced) = story.keys.split_last().unwrap();
        for old in replaced {
            assert!(!works(client, url, old).await, "a replaced key works again");
        }
        let record = &records[&last.id];
        let is_replaced = !record["replaced_by"].is_null();
        assert!(story.unanswered || !is_replaced, "replaced without a confirmed request");
        assert_eq!(works(client, url, last).await, !is_replaced, "{record}");
    }
    for (id, record) in &records {
        if let Some(heir) = record["replaced_by"].as_str() {
            assert_eq!(records[heir]["replaces"], json!(id), "a partially replaced key");
            assert_eq!(record["status"], "revoked");
        }
        if let Some(old) = record["replaces"].as_str() {
            assert_eq!(records[old]["replaced_by"], json!(id), "a partially created key");
        }
    }
}

/// One process regenerates as fast as it can. Another one, on the same file, is called with every
/// replaced key.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the dashboard example as a process"]
async fn no_process_accepts_an_old_key_after_its_regenerate_was_answered_in_10_000_rounds() {
    let here = Example::start("dashboard");
    let there = Example::start_over("dashboard", here.folder());
    let admin = here.keys["admin"].clone();
    let client = Client::new();
    let mut current = create(&client, &here.url, &admin).await.unwrap();
    let newest_old = Arc::new(Mutex::new(current.clone()));
    let (done, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    *newest_old.lock().unwrap() = current.clone();
    current = regenerate(&client, &here.url, &admin, &current).await.unwrap();
    let callers = [&here, &there, &there].map(|process| {
        let (url, client, old) = (process.url.clone(), Client::new(), Arc::clone(&newest_old));
        let (done, calls) = (Arc::clone(&done), Arc::clone(&calls));
        tokio::spawn(async move {
            while !done.load(Ordering::Relaxed) {
                let key = old.lock().unwrap().clone();
                assert!(!works(&client, &url, &key).await, "an old key was accepted");
                calls.fetch_add(1, Ordering::Relaxed);
            }
        })
    });
    for round in 0..10_000 {
        let next = regenerate(&client, &here.url, &admin, &current).await.unwrap();
        *newest_old.lock().unwrap() = std::mem::replace(&mut current, next);
        if round % 1000 == 0 {
            assert!(works(&client, &there.url, &current).await, "the new key is unknown to the other process");
        }
    }
    done.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.await.unwrap();
    }
    println!("{} calls with old keys", calls.load(Ordering::Relaxed));
    assert!(calls.load(Ordering::Relaxed) > 1000);
    there.stop();
    here.stop();
}
