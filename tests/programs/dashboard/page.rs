//! The page, as a person sees it.

use std::{
    env, fs,
    path::{Path, PathBuf},
    time::Duration,
};

use fantoccini::{
    Client, Locator,
    actions::{InputSource, KeyAction, KeyActions},
    elements::Element,
    key::Key,
};
use serde_json::{Value, json};
use sqlx::{SqlitePool, sqlite::SqliteConnectOptions};
use tokio::time::{Instant, sleep};

use super::curl;
use crate::browser::Browser;
use crate::example::Example;
use crate::support::bounds::REPLY;

/// The dashboard in a browser, and every key that it has shown.
pub(super) struct Page {
    pub(super) client: Client,
    /// The browser's address for Chromium-specific commands.
    pub(super) chromium: String,
    pub(super) url: String,
    pub(super) keys: Vec<String>,
}

impl Page {
    pub(super) async fn see(&self, what: Locator<'_>) -> Element {
        let wait = self.client.wait().at_most(REPLY).every(Duration::from_millis(50));
        wait.for_element(what).await.unwrap_or_else(|error| panic!("{what:?}: {error}"))
    }

    pub(super) async fn text(&self, css: &str) -> String {
        self.see(Locator::Css(css)).await.text().await.unwrap()
    }

    /// Waits until an element has exactly this text.
    pub(super) async fn see_text(&self, css: &str, text: &str) {
        let now = format!("return document.querySelector(`{css}`).textContent");
        let start = Instant::now();
        while self.script(&now).await != text {
            assert!(start.elapsed() < REPLY, "{css} is not {text}: {}", self.script(&now).await);
            sleep(Duration::from_millis(50)).await;
        }
    }

    pub(super) async fn click(&self, css: &str) {
        self.see(Locator::Css(css)).await.click().await.unwrap();
    }

    pub(super) async fn fill(&self, css: &str, text: &str) {
        self.see(Locator::Css(css)).await.send_keys(text).await.unwrap();
    }

    /// Waits until no dialog is open, no request is running and no key is shown.
    pub(super) async fn settle(&self) {
        let css = "body:not(:has(dialog[open])):has(#shown-key:empty):has(#keys:not([hidden])[aria-busy='false'])";
        self.see(Locator::Css(css)).await;
    }

    pub(super) async fn press(&self, keys: impl IntoIterator<Item = char>) {
        let keyboard = KeyActions::new("keyboard".to_owned());
        let keyboard = keys
            .into_iter()
            .fold(keyboard, |keyboard, value| keyboard.then(KeyAction::Down { value }).then(KeyAction::Up { value }));
        self.client.perform_actions(keyboard).await.unwrap();
    }

    pub(super) async fn tab_to(&self, css: &str) {
        for _ in 0..30 {
            if self.script(&format!("return document.activeElement.matches(`{css}`)")).await == true {
                return;
            }
            self.press([Key::Tab.into()]).await;
        }
        panic!("{css} is not reachable by keyboard");
    }

    pub(super) async fn script(&self, script: &str) -> Value {
        self.client.execute(script, Vec::new()).await.unwrap()
    }

    pub(super) async fn sign_in(&self, key: &str) {
        self.fill("#admin-key", key).await;
        self.click("#sign-in-button").await;
    }

    /// Clicks a button in the row of a key, identified by its last four characters. All but one of
    /// the buttons are in a menu.
    pub(super) async fn act(&self, action: &str, key: &str) {
        let row = format!("//tr[.//code = '{}']", &key[key.len() - 4..]);
        if action != "edit" {
            self.see(Locator::XPath(&format!("{row}//button[@data-menu]"))).await.click().await.unwrap();
            self.see(Locator::Css(".menu:popover-open button:focus")).await;
        }
        self.see(Locator::XPath(&format!("{row}//button[@data-action = '{action}']"))).await.click().await.unwrap();
    }

    /// Returns the text of a key's row.
    pub(super) async fn row(&self, key: &str) -> String {
        let row = format!("//tr[.//code = '{}']", &key[key.len() - 4..]);
        self.see(Locator::XPath(&row)).await.text().await.unwrap()
    }

    /// Returns a member of a key, as the API shows it to the administrator.
    pub(super) fn of_keys(&self, query: &str, key: &str, member: &str) -> Value {
        let header = format!("X-API-Key: {}", self.keys[0]);
        let list: Value =
            serde_json::from_str(&curl(&["-H", &header, &format!("{}/api/keys{query}", self.url)])).unwrap();
        let is_it = |one: &&Value| one["mask"].as_str().is_some_and(|mask| mask.ends_with(&key[key.len() - 4..]));
        list["keys"].as_array().unwrap().iter().find(is_it).unwrap()[member].clone()
    }

    pub(super) async fn shown_key(&self) -> String {
        let output = self.see(Locator::Css("#shown[open] #shown-key:not(:empty)")).await;
        output.prop("value").await.unwrap().unwrap()
    }

    /// Reads the shown key, closes it, and checks that it is gone.
    pub(super) async fn take_key(&mut self) -> String {
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

    pub(super) async fn assert_no_key(&self) {
        let everything = "return [
            location.href, document.cookie,
            ...[...document.querySelectorAll('input, textarea, output')].map(({ value }) => value),
            ...performance.getEntries().map(({ name }) => name),
        ].join()";
        let everything = self.script(everything).await.as_str().unwrap().to_owned();
        let source = self.client.source().await.unwrap();
        for key in &self.keys {
            assert!(!everything.contains(key) && !source.contains(key), "a key is still there");
        }
        assert_eq!(self.script("return localStorage.length + sessionStorage.length").await, 0);
    }

    /// Returns the API's responses to reading statistics and to creating a link with a key.
    pub(super) fn rights(&self, key: &str) -> [String; 2] {
        let header = format!("X-API-Key: {key}");
        [("GET", "stats"), ("POST", "links")].map(|(method, resource)| {
            let url = format!("{}/api/{resource}", self.url);
            curl(&["-X", method, "-H", &header, "-o", "/dev/null", "-w", "%{http_code}", &url])
        })
    }

    /// Sends a command that only Chromium has.
    pub(super) fn ask_chromium(&self, command: &str, parameters: &Value) -> Value {
        let body = json!({ "cmd": command, "params": parameters }).to_string();
        let answer: Value = serde_json::from_str(&curl(&["--fail", "-d", &body, &self.chromium])).unwrap();
        answer["value"].clone()
    }

    /// Every cookie, of any path, including those that scripts cannot read.
    pub(super) fn cookies(&self) -> Vec<Value> {
        self.ask_chromium("Network.getAllCookies", &json!({}))["cookies"].as_array().unwrap().clone()
    }

    /// Asserts that axe finds nothing in the page as it is shown now.
    async fn assert_accessible(&self, what: &str) {
        if self.script("return typeof axe").await == "undefined" {
            let path = env::var("AXE").expect("AXE is not set: it is the path of axe.min.js, which .ci/run installs");
            let axe = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
            self.script(&format!("{axe}; return null")).await;
        }
        let run = "const done = arguments[arguments.length - 1];
            axe.run(document, { resultTypes: ['violations'] }).then(
                ({ violations }) => done(violations.map(({ id, nodes }) => [id, ...nodes.map(({ html }) => html)])),
                (error) => done([String(error)]),
            )";
        let findings = self.client.execute_async(run, Vec::new()).await.unwrap();
        assert_eq!(findings, json!([]), "{what}");
    }

    /// Takes pictures of the page, in light and dark, on a desktop and on a phone, and looks for what
    /// is wrong with them.
    pub(super) async fn photograph(&self, name: &str) {
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
                if [("light", "desktop"), ("dark", "phone")].contains(&(scheme, device)) {
                    self.assert_accessible(&format!("{name}, {scheme}, {device}")).await;
                }
            }
        }
        emulate("clearDeviceMetricsOverride", json!({}));
        emulate("setEmulatedMedia", json!({ "features": [] }));
    }
}

/// Starts the dashboard, and walks through its page with the admin's key. Returns what the walk has
/// returned, and the log of the dashboard. A walk that fails leaves no browser behind.
pub(super) async fn visit<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
    walk: impl FnOnce(Page, String) -> F,
) -> (T, String) {
    visit_with_file(|page, admin, _file| walk(page, admin)).await
}

/// Does as [`visit`] does. The walk also changes the file of the keys.
pub(super) async fn visit_with_file<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
    walk: impl FnOnce(Page, String, SqlitePool) -> F,
) -> (T, String) {
    let server = Example::start("dashboard");
    let browser = Browser::start().await;
    let page = open(&server, &browser).await;
    let file = SqlitePool::connect_with(SqliteConnectOptions::new().filename(server.database())).await.unwrap();
    let walked = tokio::spawn(walk(page, server.keys["admin"].clone(), file)).await;
    browser.client.clone().close().await.unwrap();
    let log = server.errors();
    server.stop();
    (walked.unwrap(), log)
}

/// Opens a page of a running dashboard.
pub(super) async fn open(server: &Example, browser: &Browser) -> Page {
    let client = browser.client.clone();
    let session = client.session_id().await.unwrap().unwrap();
    let chromium = format!("{}/session/{session}/goog/cdp/execute", browser.driver_url);
    let keys = server.keys.values().cloned().collect();
    let page = Page { client, chromium, url: server.url.clone(), keys };
    page.client.goto(&page.url).await.unwrap();
    page
}
