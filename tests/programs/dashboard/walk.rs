//! An administrator walks the dashboard, by mouse and by keyboard.

use fantoccini::{Locator, key::Key};
use serde_json::json;

use super::page::{Page, open};
use crate::browser::Browser;
use crate::example::Example;

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

/// Returns all shown keys.
async fn walk(mut page: Page, admin: String) -> Vec<String> {
    page.sign_in("acme_wrong").await;
    page.see(Locator::Css("#sign-in-message:not(:empty)")).await;
    page.photograph("sign-in").await;
    page.sign_in(&admin).await;
    page.settle().await;
    page.assert_no_key().await;

    let key = create(&mut page).await;
    edit(&page, &key).await;
    edit_the_end(&page, &key).await;
    let key = exchange(&mut page, &key).await;
    page.act("revoke", &key).await;
    page.fill("#reason", "leaked & <b>found</b>").await;
    page.click("#confirm-yes").await;
    page.settle().await;
    assert_eq!(page.rights(&key), ["401", "401"]);
    assert_eq!(page.of_keys("?revoked=true", &key, "reason"), "leaked & <b>found</b>");

    let key = create_by_keyboard(&mut page).await;
    page.photograph("list").await;
    edit_and_revoke_by_keyboard(&page, &key).await;
    sign_out(&page).await;
    page.keys
}

pub(super) async fn create(page: &mut Page) -> String {
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

/// Sets an expiry, disables the key with a reason, and removes the expiry.
async fn edit_the_end(page: &Page, key: &str) {
    page.act("edit", key).await;
    let soon = "const field = document.querySelector('#edit-expires');
        field.value = new Date(Date.now() + 3 * 86_400_000).toISOString().slice(0, 10)";
    page.script(soon).await;
    page.click("#enabled").await;
    page.fill("#edit-reason", "not used").await;
    page.click("#edit-yes").await;
    page.settle().await;
    assert_eq!(page.rights(key), ["401", "401"]);
    let row = page.row(key).await;
    assert!(row.contains("until") && row.contains("not used") && row.contains("by "), "{row}");
    page.act("edit", key).await;
    page.click("#enabled").await;
    page.click("#edit-yes").await;
    page.settle().await;
    let row = page.row(key).await;
    assert!(row.contains("Expires in ") && row.contains("until ") && !row.contains("not used"), "{row}");
    page.act("edit", key).await;
    page.script("document.querySelector('#edit-expires').value = ''").await;
    page.click("#edit-yes").await;
    page.settle().await;
    let row = page.row(key).await;
    assert!(!row.contains("until"), "{row}");
    assert_eq!(page.rights(key), ["200", "200"]);
}

/// Regenerates and rotates.
async fn exchange(page: &mut Page, first: &str) -> String {
    page.act("regenerate", first).await;
    page.fill("#reason", "lost").await;
    page.photograph("confirm").await;
    page.click("#confirm-yes").await;
    let second = page.take_key().await;
    assert_eq!(page.of_keys("?revoked=true", first, "reason"), "lost");
    assert_eq!([page.rights(first), page.rights(&second)], [["401", "401"], ["200", "200"]]);

    // Gone after a reload, even if it was not closed.
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

/// The newest key is in the first row.
async fn edit_and_revoke_by_keyboard(page: &Page, key: &str) {
    page.tab_to("#rows tr:first-child [data-action='edit']").await;
    page.press([Key::Enter.into()]).await;
    page.tab_to("#edit [data-resource='stats'][data-action='read']").await;
    page.press([Key::Space.into()]).await;
    page.tab_to("#edit-yes").await;
    page.press([Key::Enter.into()]).await;
    page.settle().await;
    assert_eq!(page.rights(key), ["403", "403"]);
    page.tab_to("#rows tr:first-child [data-menu]").await;
    page.press([Key::Enter.into()]).await;
    page.see(Locator::Css(".menu:popover-open [data-action='history']:focus")).await;
    page.press([Key::Escape.into()]).await;
    page.see(Locator::Css("#rows tr:first-child [data-menu]:focus")).await;
    // The last item of the menu.
    page.press([Key::Enter.into()]).await;
    page.see(Locator::Css(".menu:popover-open [data-action='history']:focus")).await;
    page.press([Key::Up.into(), Key::Enter.into()]).await;
    page.see(Locator::Css("#confirm[open] #reason:focus")).await;
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
