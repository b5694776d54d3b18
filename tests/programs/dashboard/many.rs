//! All keys that the search matches are changed at once: counted, looked at, and given a reason.

use fantoccini::{Locator, key::Key};
use serde_json::{Value, json};

use super::{
    curl,
    page::{Page, visit},
    search::see_rows,
};

#[tokio::test]
#[ignore = "needs chromium"]
async fn all_keys_that_match_are_changed_after_a_look_at_them() {
    let ((), log) = visit(walk).await;
    for (kind, keys) in [("Disabled", 7), ("Revoked", 8), ("Removed", 8)] {
        assert_eq!(log.matches(&format!("{kind} ")).count(), keys, "one event for each key: {log}");
    }
}

/// A name that changes the page if it is read as markup.
const HARMFUL: &str = "batch <img src=x onerror=\"document.title='harmed'\">";

async fn walk(page: Page, admin: String) {
    page.sign_in(&admin).await;
    page.settle().await;
    for number in 1..=6 {
        issue(&page, &format!("batch {number}"));
    }
    let key = issue(&page, HARMFUL);
    issue(&page, "other");
    page.client.refresh().await.unwrap();
    see_rows(&page, 9).await;
    page.see(Locator::Css("#many-changes[hidden]")).await;
    // The administrator's own key matches, too.
    page.fill("#search-name", "at").await;
    see_rows(&page, 8).await;

    cancel(&page).await;
    disable_by_keyboard(&page, &key).await;
    revoke_what_was_seen(&page).await;
    remove(&page).await;
    assert_eq!(page.rights(&admin), ["200", "200"], "the key in use is left out");
}

async fn cancel(page: &Page) {
    for (change, verb) in [("disable", "Disable"), ("revoke", "Revoke"), ("remove", "Remove")] {
        ask(page, change).await;
        page.see_text("#many-title", &format!("{verb} 7 keys?")).await;
        let first = page.text("#many-first").await;
        let names = [HARMFUL, "batch 6", "batch 5", "batch 4", "batch 3", "and 2 more"];
        assert!(first.lines().zip(names).all(|(line, name)| line.starts_with(name)), "{first}");
        assert_eq!(first.lines().count(), names.len(), "{first}");
        assert!(page.client.find_all(Locator::Css("img")).await.unwrap().is_empty(), "text is text");
        page.photograph("many").await;
        // It asks for a reason, and blanks are none.
        page.fill("#many-reason", " ").await;
        page.click("#many-yes").await;
        page.see(Locator::Css("#many[open] #many-reason:invalid")).await;
        page.click("#many [data-close]").await;
        page.settle().await;
    }
    ask(page, "revoke").await;
    page.press([Key::Escape.into()]).await;
    page.see(Locator::Css("body:not(:has(dialog[open])) [data-change='revoke']:focus")).await;
    assert_eq!(page.client.title().await.unwrap(), "API keys");
    assert_eq!(count(page, "active"), 9, "nothing is changed");
}

async fn disable_by_keyboard(page: &Page, key: &str) {
    assert_eq!(page.rights(key), ["200", "403"]);
    page.click("#search-name").await;
    page.tab_to("[data-change='disable']").await;
    page.press([Key::Enter.into()]).await;
    page.see(Locator::Css("#many[open] #many-reason:focus")).await;
    page.press("leaked & <b>found</b>".chars()).await;
    page.tab_to("#many-yes").await;
    page.press([Key::Enter.into()]).await;
    page.see_text("#list-message", "Disabled 7 keys.").await;
    page.settle().await;
    assert_eq!(page.rights(key), ["401", "401"]);
    assert_eq!(page.of_keys("", key, "reason"), "leaked & <b>found</b>");
    assert_eq!([count(page, "active"), count(page, "disabled")], [2, 7]);
    // Only what is not disabled yet, and not the key in use.
    page.click("[data-change='disable']").await;
    page.see_text("#list-message", "There is no key to disable.").await;
}

/// A key that is issued after the count is not changed unseen.
async fn revoke_what_was_seen(page: &Page) {
    ask(page, "revoke").await;
    page.see_text("#many-title", "Revoke 7 keys?").await;
    issue(page, "batch 7");
    page.fill("#many-reason", "gone").await;
    page.click("#many-yes").await;
    page.see_text("#many .message", "Other keys match now. Look at them, then confirm again.").await;
    page.see_text("#many-yes", "Revoke 8 keys").await;
    assert_eq!(count(page, "revoked"), 0);
    page.click("#many-yes").await;
    page.see_text("#list-message", "Revoked 8 keys.").await;
    page.settle().await;
    see_rows(page, 1).await;
    assert_eq!([count(page, "active"), count(page, "revoked")], [2, 8]);
}

async fn remove(page: &Page) {
    page.click("#search-status option[value=revoked]").await;
    see_rows(page, 8).await;
    page.see(Locator::Css("[data-change='disable'][hidden] ~ [data-change='revoke'][hidden]")).await;
    ask(page, "remove").await;
    page.see_text("#many-title", "Remove 8 keys?").await;
    page.fill("#many-reason", "old").await;
    page.click("#many-yes").await;
    page.see_text("#list-message", "Removed 8 keys.").await;
    page.settle().await;
    see_rows(page, 0).await;
    page.see(Locator::Css("#many-changes[hidden]")).await;
    assert_eq!([count(page, "active"), count(page, "revoked")], [2, 0]);
}

async fn ask(page: &Page, change: &str) {
    page.click(&format!("[data-change='{change}']")).await;
    page.see(Locator::Css("#many[open]")).await;
}

/// Issues a key that may read statistics.
pub(super) fn issue(page: &Page, name: &str) -> String {
    let body = json!({ "type": "bot", "name": name, "permissions": { "stats": ["read"] } }).to_string();
    let issued = api(page, &["-H", "Content-Type: application/json", "-d", &body], "");
    issued["key"].as_str().unwrap().to_owned()
}

/// Counts the keys with a status.
fn count(page: &Page, status: &str) -> usize {
    api(page, &[], &format!("?status={status}"))["keys"].as_array().unwrap().len()
}

pub(super) fn api(page: &Page, arguments: &[&str], query: &str) -> Value {
    let (header, url) = (format!("X-API-Key: {}", page.keys[0]), format!("{}/api/keys{query}", page.url));
    serde_json::from_str(&curl(&[&["--fail", "-H", &header], arguments, &[&url]].concat())).unwrap()
}
