//! M2, M15: a session in the page, and what a member does in one.

use std::{
    io::{Read, Write},
    net::TcpListener,
    sync::Arc,
    thread,
};

use fantoccini::Locator;
use serde_json::{Value, json};

use super::curl;
use super::page::{Page, open};
use crate::browser::Browser;
use crate::example::Example;

/// Answers every request with these `Set-Cookie` lines, on another port of the same host.
fn other_port(cookies: Vec<String>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let lines: String = cookies.iter().map(|cookie| format!("Set-Cookie: {cookie}\r\n")).collect();
            let head = format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n{lines}\r\n");
            let _ = stream.write_all(format!("{head}ok").as_bytes());
        }
    });
    url
}

#[tokio::test]
#[ignore = "needs chromium"]
async fn m15_a_session_outlives_the_cookies_of_another_port_but_not_its_key() {
    let server = Example::start("dashboard");
    let browser = Browser::start().await;
    let page = open(&server, &browser).await;
    let admin = server.keys["admin"].clone();
    let walked = tokio::spawn(keep_a_session(page, admin)).await;
    browser.client.clone().close().await.unwrap();
    server.stop();
    walked.unwrap();
}

async fn keep_a_session(page: Page, admin: String) {
    // Planted before anyone signs in: it starts no session, and its secret is not used.
    let before = other_port(vec!["dashboard_session=planted; Path=/manage".to_owned()]);
    page.client.goto(&before).await.unwrap();
    page.client.goto(&page.url).await.unwrap();
    page.see(Locator::Css("#signed-out:not([hidden])")).await;
    page.sign_in(&admin).await;
    page.settle().await;
    let ours = |page: &Page| page.cookies().into_iter().find(|cookie| cookie["value"] != "planted").unwrap();
    let name = ours(&page)["name"].as_str().unwrap().to_owned();
    // Cookies of the same name, before and after ours, and of the name without its random part.
    let planted = ["/manage/session", "/manage/keys", "/"].map(|path| format!("{name}=planted; Path={path}"));
    let planted = planted.into_iter().chain(["dashboard_session=planted; Path=/manage".to_owned()]);
    page.client.goto(&other_port(planted.collect())).await.unwrap();
    assert_eq!(page.cookies().iter().filter(|cookie| cookie["value"] == "planted").count(), 4);
    page.client.goto(&page.url).await.unwrap();
    page.settle().await;
    assert!(page.text("#rows").await.contains("Administrator"));

    // Another administrator disables and enables the key: the session stays ended.
    let id = page.script("return document.querySelector('#rows tr').dataset.keyId").await;
    let id = id.as_str().unwrap();
    let header = format!("X-API-Key: {admin}");
    let all = json!(["create", "read", "update", "delete"]);
    let permissions = json!({ "links": all, "stats": all, "webhooks": all, "apiKeys": all, "credits": ["create"] });
    let body = json!({ "type": "bot", "name": "another", "permissions": permissions }).to_string();
    let post = ["--fail", "-H", &header, "-H", "Content-Type: application/json", "-d", &body];
    let other: Value =
        serde_json::from_str(&curl(&[&post[..], &[&format!("{}/api/keys", page.url)]].concat())).unwrap();
    let other = format!("X-API-Key: {}", other["key"].as_str().unwrap());
    for status in ["disabled", "active"] {
        let body = json!({ "status": status }).to_string();
        let patch = ["--fail", "-X", "PATCH", "-H", &other, "-H", "Content-Type: application/json", "-d", &body];
        curl(&[&patch[..], &[&format!("{}/api/keys/{id}", page.url)]].concat());
    }
    assert_eq!(page.rights(&admin), ["200", "200"], "the key itself works again");
    page.client.refresh().await.unwrap();
    page.see(Locator::Css("#signed-out:not([hidden])")).await;
    page.sign_in(&admin).await;
    page.settle().await;
    page.click("#sign-out").await;
    page.see(Locator::Css("#signed-out:not([hidden])")).await;
    assert!(page.cookies().iter().all(|cookie| cookie["value"] == "planted"), "its own cookie is gone");
    page.client.refresh().await.unwrap();
    page.see(Locator::Css("#signed-out:not([hidden])")).await;
}

#[tokio::test]
#[ignore = "needs chromium"]
async fn m02_a_member_manages_her_own_keys_in_the_page() {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let server = Example::start_with("dashboard", folder, |command| command.args(["--new-member-key", "alice"]));
    let browser = Browser::start().await;
    let page = open(&server, &browser).await;
    let member = server.keys["alice"].clone();
    let walked = tokio::spawn(walk_as_member(page, member)).await;
    browser.client.clone().close().await.unwrap();
    server.stop();
    walked.unwrap();
}

async fn walk_as_member(mut page: Page, member: String) {
    page.sign_in(&member).await;
    page.settle().await;
    assert_eq!(page.text("#keys h2").await, "Your keys in acme");
    let rows = page.text("#rows").await;
    assert!(rows.contains("alice") && !rows.contains("Administrator"), "{rows}");
    page.click("#new-key").await;
    page.see(Locator::Css("#create[open] #type-bot:disabled")).await;
    page.see(Locator::Css("#create[open] #type-user:checked")).await;
    page.see(Locator::Css("#own-only:not([hidden])")).await;
    page.fill("#name", "mine").await;
    page.click("#create input[data-resource='stats'][data-action='read']").await;
    page.photograph("member").await;
    page.click("#create-yes").await;
    let key = page.take_key().await;
    assert_eq!(page.rights(&key), ["200", "403"]);
    page.act("revoke", &key).await;
    page.click("#confirm-yes").await;
    page.settle().await;
    assert_eq!(page.rights(&key), ["401", "401"]);
}
