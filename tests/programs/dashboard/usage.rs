//! The usage of the last 30 days, as a sparkline in the row of each key.

use std::time::Duration;

use fantoccini::Locator;
use tokio::time::Instant;

use super::{
    page::{Page, visit},
    walk::create,
};
use crate::support::bounds::REPLY;

#[tokio::test]
#[ignore = "needs chromium"]
async fn each_key_has_a_sparkline_of_its_usage() {
    visit(walk).await;
}

async fn walk(mut page: Page, admin: String) {
    page.sign_in(&admin).await;
    page.settle().await;
    // It may read statistics, but not create links.
    let key = create(&mut page).await;
    // `create` has used it for one of each already.
    for _ in 0..2 {
        assert_eq!(page.rights(&key), ["200", "403"]);
    }
    see_usage(&page, &key, "Requests in 30 days: 3 accepted, 3 rejected; most on ").await;
    let label = label(&page, &key).await.unwrap();
    assert!(label.ends_with(": 6"), "{label}");
    let bars = "return [...document.querySelectorAll('#rows tr:first-child .spark rect')]
        .map((bar) => [bar.getAttribute('class'), bar.getBBox().height])";
    assert_eq!(page.script(bars).await, serde_json::json!([["accepted", 12], ["rejected", 12]]), "today's bar");
    page.photograph("usage").await;

    page.act("edit", &key).await;
    page.click("#enabled").await;
    page.click("#edit-yes").await;
    page.settle().await;
    assert_eq!(page.rights(&key), ["401", "401"]);
    see_usage(&page, &key, "Requests in 30 days: 3 accepted, 5 rejected; most on ").await;
    // The sign-in. Requests of a session have no key.
    see_usage(&page, &admin, "Requests in 30 days: 1 accepted, 0 rejected; most on ").await;
}

/// Returns the text of the sparkline, which is drawn soon after the list. A key without usage has
/// none.
async fn label(page: &Page, key: &str) -> Option<String> {
    let spark = format!("//tr[.//code = '{}']//*[local-name() = 'svg']", &key[key.len() - 4..]);
    let wait = page.client.wait().at_most(Duration::from_secs(2)).every(Duration::from_millis(50));
    let spark = wait.for_element(Locator::XPath(&spark)).await.ok()?;
    spark.attr("aria-label").await.unwrap()
}

/// Loads the page again until the usage is written, after an interval of a second.
async fn see_usage(page: &Page, key: &str, expected: &str) {
    let start = Instant::now();
    loop {
        page.client.refresh().await.unwrap();
        page.settle().await;
        let label = label(page, key).await;
        if label.as_ref().is_some_and(|label| label.starts_with(expected)) {
            return;
        }
        assert!(start.elapsed() < REPLY, "{label:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
