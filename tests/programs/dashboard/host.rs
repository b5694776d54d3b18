//! The page inside of an application with state, under a path, with the application's own session.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header::COOKIE, request::Parts},
    response::{AppendHeaders, IntoResponse, Redirect},
    routing::get,
};
use fantoccini::{Client, Locator, key::Key};
use serde_json::json;
use tokio::net::TcpListener;
use tower_api_key::{
    KeyFormat, KeyManager, Mask, Owner, Permissions,
    manage::{Actor, Leak, LeakAction, NewKey},
    store::MemoryStore,
};

use super::page::Page;
use crate::browser::Browser;

/// What the application signs in as.
#[derive(Clone)]
struct App {
    user: &'static str,
}

/// A name that changes the page if it is read as markup.
const HARMFUL: &str = "</script><img src=x onerror=\"document.title='harmed'\">&amp;";

fn actor(user: &str) -> Actor {
    let held = Permissions::all_of("apiKeys").grant("stats", "read");
    let actor = Actor::trusted(Owner::User(user.to_owned()), held).in_organization(HARMFUL);
    if user == "admin" { actor } else { actor.own_keys_only() }
}

async fn sign_in(State(app): State<App>) -> impl IntoResponse {
    let cookie = format!("app={}; Path=/; HttpOnly; SameSite=Lax", app.user);
    (AppendHeaders([("set-cookie", cookie)]), Redirect::to("/account/keys"))
}

fn user_of(parts: &Parts) -> Option<String> {
    let cookies = parts.headers.get(COOKIE)?.to_str().ok()?;
    Some(cookies.strip_prefix("app=")?.to_owned())
}

/// Serves the application. The session of its users fails while `is_down`.
async fn serve(user: &'static str, manager: &KeyManager, is_down: Arc<AtomicBool>) -> String {
    let session = move |parts: Parts| {
        let is_down = is_down.load(Ordering::Relaxed);
        async move { if is_down { Err("the session store is down") } else { Ok(user_of(&parts).map(|user| actor(&user))) } }
    };
    let page =
        manager.dashboard().sign_in_with_session(session).sign_in_link("/login").title(format!("Acme {HARMFUL}"));
    let page = page.stylesheet(":root { --accent: light-dark(#a3195b, #ff9ec8); --radius: 2px }");
    let app = Router::new()
        .route("/login", get(sign_in))
        .route("/logout", get(async || ([("set-cookie", "app=; Path=/; Max-Age=0")], StatusCode::NO_CONTENT)))
        .nest("/account/keys", page.router::<App>().unwrap())
        .with_state(App { user });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    url
}

fn manager() -> KeyManager {
    let format = KeyFormat::new("acme").unwrap();
    KeyManager::builder(MemoryStore::new()).format(format).mask(Mask::LastFour).build().unwrap()
}

/// Walks through the page of this user. A walk that fails leaves no browser behind.
async fn visit<F: Future<Output = ()> + Send + 'static>(
    user: &'static str,
    walk: impl FnOnce(Page, KeyManager, Arc<AtomicBool>) -> F,
) {
    let (manager, is_down) = (manager(), Arc::new(AtomicBool::new(false)));
    let url = serve(user, &manager, Arc::clone(&is_down)).await;
    let browser = Browser::start().await;
    let client: Client = browser.client.clone();
    let session = client.session_id().await.unwrap().unwrap();
    let chromium = format!("{}/session/{session}/goog/cdp/execute", browser.driver_url);
    let page = Page { client: client.clone(), chromium, url: format!("{url}/account/keys"), keys: Vec::new() };
    let walked = tokio::spawn(walk(page, manager, is_down)).await;
    client.close().await.unwrap();
    walked.unwrap();
}

async fn issue(manager: &KeyManager, user: &str, name: &str) -> String {
    let issued = manager.issue(&actor(user), NewKey::user(name).grant("stats", "read")).await.unwrap();
    let leak = Leak::new("commit").with_url("https://git.example/file");
    manager.report_leak(issued.key(), leak, LeakAction::Notify).await.unwrap();
    issued.key().expose().to_owned()
}

#[tokio::test]
#[ignore = "needs chromium"]
async fn a_member_of_the_host_application_manages_her_own_keys_by_keyboard() {
    visit("alice", walk_as_member).await;
}

async fn walk_as_member(page: Page, manager: KeyManager, is_down: Arc<AtomicBool>) {
    let key = issue(&manager, "alice", HARMFUL).await;
    issue(&manager, "bob", "of bob").await;
    page.client.goto(&page.url).await.unwrap();
    page.see(Locator::Css("#signed-out:not([hidden])")).await;
    assert_eq!(page.client.title().await.unwrap(), format!("Acme {HARMFUL}"));
    page.photograph("host-signed-out").await;
    page.tab_to("#sign-in-link").await;
    page.press([Key::Enter.into()]).await;
    page.settle().await;
    page.see_text("#keys-title", &format!("Your keys in {HARMFUL}")).await;
    let row = page.row(&key).await;
    assert!(row.contains(HARMFUL) && row.contains("Leaked") && row.contains("commit"), "text is text: {row}");
    assert!(!page.text("#rows").await.contains("of bob"));
    assert_eq!(page.script("return document.querySelectorAll('img, h1 *').length").await, 0);
    let accent = "return getComputedStyle(document.querySelector('#new-key')).backgroundColor";
    assert_eq!(page.script(accent).await, "rgb(163, 25, 91)", "the colour of the style sheet");
    for hidden in ["#import-open", "#search-type", "#find", "#sign-out"] {
        page.see(Locator::Css("#keys:not([hidden])")).await;
        assert_eq!(page.script(&format!("return document.querySelector('{hidden}').checkVisibility()")).await, false);
    }
    page.photograph("host-list").await;
    create(&page).await;
    look_at_the_history(&page, &key).await;
    revoke(&page).await;

    // The session store fails, and works again.
    is_down.store(true, Ordering::Relaxed);
    page.client.refresh().await.unwrap();
    page.see(Locator::Css("#sign-in-message:not(:empty)")).await;
    page.photograph("host-down").await;
    is_down.store(false, Ordering::Relaxed);
    page.client.refresh().await.unwrap();
    page.settle().await;
    // The session ends, while a dialog is open.
    page.click("#new-key").await;
    page.fill("#name", "unsaved").await;
    page.script("return fetch('/logout').then(() => null)").await;
    page.click("#create-yes").await;
    page.see_text("#sign-in-message", "Your session has ended. Please sign in again.").await;
    assert!(page.client.find_all(Locator::Css("#rows tr")).await.unwrap().is_empty(), "no key is left in the page");
}

async fn create(page: &Page) {
    page.tab_to("#new-key").await;
    page.press([Key::Enter.into()]).await;
    page.see(Locator::Css("#create[open] #type-bot:disabled")).await;
    page.press("by keyboard".chars()).await;
    page.tab_to("#create [data-resource='stats'][data-action='read']").await;
    page.press([Key::Space.into()]).await;
    page.photograph("host-create").await;
    page.tab_to("#create-yes").await;
    page.press([Key::Enter.into()]).await;
    page.shown_key().await;
    page.tab_to("#close-shown").await;
    page.press([Key::Enter.into()]).await;
    page.settle().await;
    assert!(page.text("#rows tr:first-child").await.contains("by keyboard"));
}

/// The link of the report is one, and nothing else of the events is markup.
async fn look_at_the_history(page: &Page, key: &str) {
    page.act("history", key).await;
    page.see(Locator::Css("#events li:nth-child(2) [data-kind='issued']")).await;
    let events = page.text("#events").await;
    assert!(events.contains("found in public: commit") && events.contains("name: </script>"), "{events}");
    let links = "return [...document.querySelectorAll('#events a')].map((link) => link.href)";
    assert_eq!(page.script(links).await, json!(["https://git.example/file"]));
    page.photograph("host-history").await;
    page.press([Key::Escape.into()]).await;
    page.settle().await;
    let row = "tr:has(:focus) code";
    assert_eq!(page.text(row).await, key[key.len() - 4..], "the focus is where it was");
}

async fn revoke(page: &Page) {
    page.tab_to("#rows tr:first-child [data-menu]").await;
    page.press([Key::Enter.into()]).await;
    page.see(Locator::Css(".menu:popover-open button:focus")).await;
    // A menu closes when the window changes.
    page.photograph("host-menu").await;
    page.press([Key::Escape.into()]).await;
    page.tab_to("#rows tr:first-child [data-menu]").await;
    page.press([Key::Enter.into()]).await;
    page.see(Locator::Css(".menu:popover-open button:focus")).await;
    page.press([Key::Up.into(), Key::Enter.into()]).await;
    page.see(Locator::Css("#confirm[open] #reason:focus")).await;
    page.press("not needed".chars()).await;
    page.photograph("host-confirm").await;
    page.press([Key::Enter.into()]).await;
    page.see_text("#list-message", "Revoked by keyboard.").await;
    page.settle().await;
    assert!(!page.text("#rows").await.contains("by keyboard"));
}

#[tokio::test]
#[ignore = "needs chromium"]
async fn an_administrator_of_the_host_application_manages_all_keys() {
    visit("admin", walk_as_administrator).await;
}

async fn walk_as_administrator(page: Page, manager: KeyManager, _: Arc<AtomicBool>) {
    let key = issue(&manager, "bob", "of bob").await;
    page.client.goto(&format!("{}?from=mail", page.url)).await.unwrap();
    page.click("#sign-in-link").await;
    page.settle().await;
    page.see_text("#keys-title", &format!("Keys of {HARMFUL}")).await;
    assert!(page.row(&key).await.contains("of bob"));
    page.click("#find summary").await;
    page.fill("#find-text", &key).await;
    page.click("#find-button").await;
    page.see(Locator::XPath("//*[@id = 'found' and contains(., 'of bob (bob): active.')]")).await;
    page.photograph("host-administrator").await;
    page.act("revoke", &key).await;
    page.click("#confirm-yes").await;
    page.settle().await;
    page.see_text("#empty", "There are no keys yet. Create the first one with “New key”.").await;
    page.photograph("host-empty").await;
}
