//! The search of the list, and a key that is found by its text.

use std::time::Duration;

use fantoccini::Locator;

use super::{
    page::{Page, visit},
    walk::create,
};
use crate::support::bounds::REPLY;

#[tokio::test]
#[ignore = "needs chromium"]
async fn keys_are_searched_and_found_by_their_text() {
    let (key, log) = visit(walk).await;
    assert!(!log.contains(&key), "a key in the log");
}

async fn walk(mut page: Page, admin: String) -> String {
    page.sign_in(&admin).await;
    page.settle().await;
    let key = create(&mut page).await;
    see_rows(&page, 2).await;
    page.fill("#search-name", "ADMIN").await;
    see_rows(&page, 1).await;
    page.script("document.querySelector('#search-name').value = ''").await;
    page.fill("#search-name", "nowhere").await;
    see_rows(&page, 0).await;
    assert_eq!(page.text("#empty").await, "No key matches.");
    page.photograph("search").await;
    page.script("document.querySelector('#search').reset()").await;
    for (control, rows) in [("#search-expiring", 0), ("#search-expiring", 2), ("#search-type option[value=bot]", 1)] {
        page.click(control).await;
        see_rows(&page, rows).await;
    }
    page.click("#search-status option[value=revoked]").await;
    see_rows(&page, 0).await;

    page.click("#find summary").await;
    for (text, expected) in
        [(key.as_str(), "<b>ci</b> (Service account): active."), ("acme_unknown", "There is no such key.")]
    {
        page.fill("#find-text", text).await;
        page.click("#find-button").await;
        page.see(Locator::XPath(&format!("//*[@id = 'found' and contains(., '{expected}')]"))).await;
        page.assert_no_key().await;
    }
    page.photograph("find").await;
    key
}

pub(super) async fn see_rows(page: &Page, rows: usize) {
    let css = format!("#rows:not(:has(tr:nth-child({})))", rows + 1);
    let there = if rows == 0 { css } else { format!("{css}:has(tr:nth-child({rows}))") };
    let start = tokio::time::Instant::now();
    while page.script(&format!("return !!document.querySelector('{there}')")).await != true {
        let set = "return JSON.stringify([...document.querySelectorAll('#search input, #search select')]
            .map(({ value, checked }) => [value, checked])) + document.querySelector('#list-message').textContent";
        assert!(start.elapsed() < REPLY, "{rows} rows: {} {}", page.script(set).await, page.text("#rows").await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
