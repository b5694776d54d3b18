//! The dashboard as an administrator and a member use it, in a browser.

use std::{
    env, fs,
    io::{Read, Write},
    net::TcpListener,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    thread,
    time::Duration,
};

use crate::browser::Browser;
use crate::example::Example;

use fantoccini::{
    Client, Locator,
    actions::{InputSource, KeyAction, KeyActions},
    elements::Element,
    key::Key,
};
use serde_json::{Value, json};

fn curl(arguments: &[&str]) -> String {
    let output = Command::new("curl").args(["--silent", "--show-error", "--max-time", "10"]).args(arguments).output();
    let output = output.expect("curl is not installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The dashboard in a browser, and every key that was shown in it.
struct Page {
    client: Client,
    /// The browser's address for commands that only Chromium has.
    chromium: String,
    url: String,
    keys: Vec<String>,
}

impl Page {
    async fn see(&self, what: Locator<'_>) -> Element {
        let wait = self.client.wait().at_most(Duration::from_secs(10)).every(Duration::from_millis(50));
        wait.for_element(what).await.unwrap_or_else(|error| panic!("{what:?}: {error}"))
    }

    async fn text(&self, css: &str) -> String {
        self.see(Locator::Css(css)).await.text().await.unwrap()
    }

    async fn click(&self, css: &str) {
        self.see(Locator::Css(css)).await.click().await.unwrap();
    }

    async fn fill(&self, css: &str, text: &str) {
        self.see(Locator::Css(css)).await.send_keys(text).await.unwrap();
    }

    /// Waits until no dialog is open, no request runs and no key is shown.
    async fn settle(&self) {
        let css = "body:not(:has(dialog[open])):has(#shown-key:empty):has(#keys:not([hidden])[aria-busy='false'])";
        self.see(Locator::Css(css)).await;
    }

    async fn press(&self, keys: impl IntoIterator<Item = char>) {
        let keyboard = KeyActions::new("keyboard".to_owned());
        let keyboard = keys
            .into_iter()
            .fold(keyboard, |keyboard, value| keyboard.then(KeyAction::Down { value }).then(KeyAction::Up { value }));
        self.client.perform_actions(keyboard).await.unwrap();
    }

    async fn tab_to(&self, css: &str) {
        for _ in 0..30 {
            if self.script(&format!("return document.activeElement.matches(`{css}`)")).await == true {
                return;
            }
            self.press([Key::Tab.into()]).await;
        }
        panic!("no way to {css} by keyboard");
    }

    async fn script(&self, script: &str) -> Value {
        self.client.execute(script, Vec::new()).await.unwrap()
    }

    async fn sign_in(&self, key: &str) {
        self.fill("#admin-key", key).await;
        self.click("#sign-in-button").await;
    }

    /// Clicks on a button in the row of a key, which has only its last four characters.
    async fn act(&self, action: &str, key: &str) {
        let row = format!("//tr[.//code = '{}']", &key[key.len() - 4..]);
        self.see(Locator::XPath(&format!("{row}//button[@data-action = '{action}']"))).await.click().await.unwrap();
    }

    async fn shown_key(&self) -> String {
        let output = self.see(Locator::Css("#shown[open] #shown-key:not(:empty)")).await;
        output.prop("value").await.unwrap().unwrap()
    }

    /// Reads the key that is shown, closes it, and looks whether it is gone.
    async fn take_key(&mut self) -> String {
        let key = self.shown_key().await;
        self.click("#copy").await;
        self.see(Locator::XPath("//*[@id = 'copied' and . = 'Copied']")).await;
        let permissions =
            json!({ "permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"], "origin": self.url });
        self.ask_chromium("Browser.grantPermissions", &permissions);
        assert_eq!(self.script("return navigator.clipboard.readText()").await, json!(key), "what was copied");
        self.click("#close-shown").await;
        self.settle().await;
        self.keys.push(key.clone());
        self.assert_no_key().await;
        key
    }

    async fn assert_no_key(&self) {
        let everything = "return [
            location.href, document.cookie,
            ...[...document.querySelectorAll('input, output')].map(({ value }) => value),
            ...performance.getEntries().map(({ name }) => name),
        ].join()";
        let everything = self.script(everything).await.as_str().unwrap().to_owned();
        let source = self.client.source().await.unwrap();
        for key in &self.keys {
            assert!(!everything.contains(key) && !source.contains(key), "a key is still there");
        }
        assert_eq!(self.script("return localStorage.length + sessionStorage.length").await, 0);
    }

    /// What the API answers to a key that reads statistics, and to one that creates a link.
    fn rights(&self, key: &str) -> [String; 2] {
        let header = format!("X-API-Key: {key}");
        [("GET", "stats"), ("POST", "links")].map(|(method, resource)| {
            let url = format!("{}/api/{resource}", self.url);
            curl(&["-X", method, "-H", &header, "-o", "/dev/null", "-w", "%{http_code}", &url])
        })
    }

    /// A command of its own, which drivers have no name for.
    fn ask_chromium(&self, command: &str, parameters: &Value) -> Value {
        let body = json!({ "cmd": command, "params": parameters }).to_string();
        let answer: Value = serde_json::from_str(&curl(&["--fail", "-d", &body, &self.chromium])).unwrap();
        answer["value"].clone()
    }

    /// Every cookie, of whatever path, whether scripts may read it or not.
    fn cookies(&self) -> Vec<Value> {
        self.ask_chromium("Network.getAllCookies", &json!({}))["cookies"].as_array().unwrap().clone()
    }

    async fn photograph(&self, name: &str) {
        let folder = env::var_os("DASHBOARD_SCREENSHOTS").map(PathBuf::from);
        let folder = folder.unwrap_or_else(|| Path::new(env!("CARGO_TARGET_TMPDIR")).join("dashboard"));
        fs::create_dir_all(&folder).unwrap();
        let emulate = |command: &str, parameters| self.ask_chromium(&format!("Emulation.{command}"), &parameters);
        for scheme in ["light", "dark"] {
            let feature = json!({ "name": "prefers-color-scheme", "value": scheme });
            emulate("setEmulatedMedia", json!({ "features": [feature] }));
            for (device, width, height) in [("desktop", 1280, 800), ("phone", 360, 740)] {
                let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
                emulate("setDeviceMetricsOverride", size);
                let overflow = "return document.documentElement.scrollWidth - document.documentElement.clientWidth";
                assert_eq!(self.script(overflow).await, 0, "{name} scrolls sideways on a {device}");
                let image = self.client.screenshot().await.unwrap();
                fs::write(folder.join(format!("{name}-{scheme}-{device}.png")), image).unwrap();
            }
        }
        emulate("clearDeviceMetricsOverride", json!({}));
        emulate("setEmulatedMedia", json!({ "features": [] }));
    }
}

/// A page of a running dashboard.
async fn open(server: &Example, browser: &Browser) -> Page {
    let client = browser.client.clone();
    let session = client.session_id().await.unwrap().unwrap();
    let chromium = format!("{}/session/{session}/goog/cdp/execute", browser.driver_url);
    let keys = server.keys.values().cloned().collect();
    let page = Page { client, chromium, url: server.url.clone(), keys };
    page.client.goto(&page.url).await.unwrap();
    page
}

/// Answers every request with these lines of `Set-Cookie`, on another port of the same host.
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
    // Planted before anybody has signed in: nobody is signed in by it, and its secret is not taken.
    let before = other_port(vec!["dashboard_session=planted; Path=/admin".to_owned()]);
    page.client.goto(&before).await.unwrap();
    page.client.goto(&page.url).await.unwrap();
    page.see(Locator::Css("#signed-out:not([hidden])")).await;
    page.sign_in(&admin).await;
    page.settle().await;
    let ours = |page: &Page| page.cookies().into_iter().find(|cookie| cookie["value"] != "planted").unwrap();
    let name = ours(&page)["name"].as_str().unwrap().to_owned();
    // Of the same name, in front of ours and behind it, and of the name that it would have if it could be guessed.
    let planted = ["/admin/session", "/admin/keys", "/"].map(|path| format!("{name}=planted; Path={path}"));
    let planted = planted.into_iter().chain(["dashboard_session=planted; Path=/admin".to_owned()]);
    page.client.goto(&other_port(planted.collect())).await.unwrap();
    assert_eq!(page.cookies().iter().filter(|cookie| cookie["value"] == "planted").count(), 4);
    page.client.goto(&page.url).await.unwrap();
    page.settle().await;
    assert!(page.text("#rows").await.contains("Administrator"));

    // Another administrator switches the key off and on: the session stays ended.
    let id = page.script("return document.querySelector('#rows tr').dataset.keyId").await;
    let id = id.as_str().unwrap();
    let header = format!("X-API-Key: {admin}");
    let all = json!(["create", "read", "update", "delete"]);
    let permissions = json!({ "links": all, "stats": all, "webhooks": all, "apiKeys": all });
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

#[tokio::test]
#[ignore = "needs chromium"]
async fn an_administrator_walks_the_dashboard() {
    let server = Example::start("dashboard");
    let admin = server.keys["admin"].clone();
    let browser = Browser::start().await;
    let client = browser.client.clone();
    let page = open(&server, &browser).await;
    let walked = tokio::spawn(walk(page, admin)).await;
    client.close().await.unwrap();
    let log = server.errors();
    assert!(log.contains("Regenerated"), "the changes are logged: {log}");
    for key in walked.unwrap() {
        assert!(!log.contains(&key), "a key in the log");
    }
    server.stop();
}

/// Returns every key that was shown.
async fn walk(mut page: Page, admin: String) -> Vec<String> {
    page.sign_in("acme_wrong").await;
    page.see(Locator::Css("#sign-in-message:not(:empty)")).await;
    page.photograph("sign-in").await;
    page.sign_in(&admin).await;
    page.settle().await;
    page.assert_no_key().await;

    let key = create(&mut page).await;
    edit(&page, &key).await;
    let key = exchange(&mut page, &key).await;
    page.act("revoke", &key).await;
    page.click("#confirm-yes").await;
    page.settle().await;
    assert_eq!(page.rights(&key), ["401", "401"]);

    let key = create_by_keyboard(&mut page).await;
    page.photograph("list").await;
    edit_and_revoke_by_keyboard(&page, &key).await;
    sign_out(&page).await;
    page.keys
}

async fn create(page: &mut Page) -> String {
    page.click("#new-key").await;
    page.fill("#name", "<b>ci</b>").await;
    page.click("#create input[data-resource='stats'][data-action='read']").await;
    page.photograph("create").await;
    page.click("#create-yes").await;
    page.shown_key().await;
    page.photograph("shown").await;
    let key = page.take_key().await;
    assert_eq!(page.rights(&key), ["200", "403"]);

    page.client.refresh().await.unwrap();
    page.settle().await;
    page.assert_no_key().await;
    let rows = page.text("#rows").await;
    assert!(rows.contains(&key[key.len() - 4..]) && rows.contains("<b>ci</b>"), "text is text: {rows}");
    key
}

async fn edit(page: &Page, key: &str) {
    let stats = "#edit input[data-resource='stats'][data-action='read']";
    let links = "#edit input[data-resource='links'][data-action='create']";
    for (boxes, rights) in [(&[stats, links][..], ["403", "200"]), (&[stats], ["200", "200"])] {
        page.act("edit", key).await;
        for tick in boxes {
            page.click(tick).await;
        }
        page.photograph("edit").await;
        page.click("#edit-yes").await;
        page.settle().await;
        assert_eq!(page.rights(key), rights);
    }
}

/// Regenerates and rotates.
async fn exchange(page: &mut Page, first: &str) -> String {
    page.act("regenerate", first).await;
    page.photograph("confirm").await;
    page.click("#confirm-yes").await;
    let second = page.take_key().await;
    assert_eq!([page.rights(first), page.rights(&second)], [["401", "401"], ["200", "200"]]);

    // Gone after a reload, also when nobody has closed it.
    page.act("regenerate", &second).await;
    page.click("#confirm-yes").await;
    page.keys.push(page.shown_key().await);
    page.client.refresh().await.unwrap();
    page.settle().await;
    page.assert_no_key().await;
    let second = page.keys.last().unwrap().clone();

    page.act("rotate", &second).await;
    page.photograph("rotate").await;
    page.click("#rotate-yes").await;
    let third = page.take_key().await;
    assert_eq!([page.rights(&second), page.rights(&third)], [["200", "200"], ["200", "200"]]);
    assert!(page.text("#rows").await.contains("replaced, works until"));
    third
}

async fn create_by_keyboard(page: &mut Page) -> String {
    page.tab_to("#new-key").await;
    page.press([Key::Enter.into()]).await;
    page.see(Locator::Css("#create[open] #name:focus")).await;
    page.press([Key::Escape.into()]).await;
    page.see(Locator::Css("body:not(:has(dialog[open])) #new-key:focus")).await;
    page.press([Key::Enter.into()]).await;
    page.see(Locator::Css("#create[open] #name:focus")).await;
    page.press("keyboard".chars()).await;
    page.tab_to("#create [name='type']:checked").await;
    page.press([Key::Down.into()]).await;
    page.tab_to("#create [data-resource='stats'][data-action='read']").await;
    page.press([Key::Space.into()]).await;
    page.tab_to("#create-yes").await;
    page.press([Key::Enter.into()]).await;
    let key = page.shown_key().await;
    page.tab_to("#close-shown").await;
    page.press([Key::Enter.into()]).await;
    page.settle().await;
    assert_eq!(page.rights(&key), ["200", "403"]);
    let rows = page.text("#rows").await;
    assert!(rows.contains("keyboard") && rows.to_lowercase().contains("user key"), "{rows}");
    page.keys.push(key.clone());
    page.assert_no_key().await;
    key
}

/// The newest key stands in the first row.
async fn edit_and_revoke_by_keyboard(page: &Page, key: &str) {
    page.tab_to("#rows tr:first-child [data-action='edit']").await;
    page.press([Key::Enter.into()]).await;
    page.tab_to("#edit [data-resource='stats'][data-action='read']").await;
    page.press([Key::Space.into()]).await;
    page.tab_to("#edit-yes").await;
    page.press([Key::Enter.into()]).await;
    page.settle().await;
    assert_eq!(page.rights(key), ["403", "403"]);
    page.tab_to("#rows tr:first-child [data-action='revoke']").await;
    page.press([Key::Enter.into()]).await;
    page.tab_to("#confirm-yes").await;
    page.press([Key::Enter.into()]).await;
    page.settle().await;
    assert_eq!(page.rights(key), ["401", "401"]);
}

async fn sign_out(page: &Page) {
    let [session] = &page.cookies()[..] else { panic!("one session, one cookie") };
    assert_eq!((&session["httpOnly"], &session["sameSite"]), (&json!(true), &json!("Strict")));
    assert!(page.keys.iter().all(|key| !session.to_string().contains(key)));
    page.click("#sign-out").await;
    page.see(Locator::Css("#signed-out:not([hidden])")).await;
    assert!(page.cookies().is_empty());
    page.client.back().await.unwrap();
    page.client.forward().await.unwrap();
    for _ in 0..2 {
        page.see(Locator::Css("#signed-out:not([hidden])")).await;
        assert!(page.client.find_all(Locator::Css("#rows tr")).await.unwrap().is_empty());
        page.client.refresh().await.unwrap();
    }
}
