//! The plan of a key, the numbers of limits that differ from it, and what is left of each limit.

use fantoccini::Locator;
use serde_json::{Value, json};
use sqlx::SqlitePool;

use super::{
    page::{Page, visit_with_file},
    walk::create,
};

#[tokio::test]
#[ignore = "needs chromium"]
async fn the_row_of_a_key_has_its_plan_and_its_limits() {
    visit_with_file(walk).await;
}

async fn walk(mut page: Page, admin: String, file: SqlitePool) {
    page.sign_in(&admin).await;
    page.settle().await;
    let key = create(&mut page).await;
    let row = page.row(&key).await;
    assert!(!row.contains("plan"), "{row}");
    let limits = r#"update api_keys set plan = '<b>pro</b>', limits = '{"burst": "unlimited", "daily": 50000}'
        where name = '<b>ci</b>'"#;
    sqlx::query(limits).execute(&file).await.unwrap();
    page.client.refresh().await.unwrap();
    page.settle().await;
    let row = page.row(&key).await;
    assert!(row.contains("plan <b>pro</b> · burst: unlimited · daily: 50000"), "{row}");
    page.photograph("limits").await;
    assert!(!row.contains("left"), "the plan is unknown: {row}");
    // An edit of another field leaves them as they are.
    page.act("edit", &key).await;
    page.fill("#edit-name", " renamed").await;
    page.click("#edit-yes").await;
    page.settle().await;
    let row = page.row(&key).await;
    assert!(row.contains("renamed") && row.contains("plan <b>pro</b> · burst: unlimited · daily: 50000"), "{row}");
    see_what_is_left(&page, &key, &file).await;
}

/// The key shares the counts of the key that has issued it: they have the sign-in, and a request of
/// `create`. The quota got the rejected one back.
async fn see_what_is_left(page: &Page, key: &str, file: &SqlitePool) {
    let limits = r#"update api_keys set plan = 'free', limits = '{"daily": 50000}' where plan = '<b>pro</b>'"#;
    sqlx::query(limits).execute(file).await.unwrap();
    let left = [json!("burst: 20 of 20 left"), json!("daily: 49,998 of 50,000 left, full at ")];
    see(page, key, &left).await;
    assert_eq!(page.rights(key), ["200", "403"]);
    see(page, key, &[json!("daily: 49,997 of 50,000 left, full at ")]).await;
    let list = "const list = document.querySelector('#rows tr:first-child ul');
        return [list.role, list.ariaLabel, list.querySelector('time').dateTime.slice(10)]";
    let midnight = json!(["list", "What is left of the limits", "T00:00:00.000Z"]);
    assert_eq!(page.script(list).await, midnight);
    page.photograph("left").await;
    // A key without a plan of its own has the default one.
    sqlx::query("update api_keys set plan = null, limits = '{}' where plan = 'free'").execute(file).await.unwrap();
    see(page, key, &[json!("daily: 999,997 of 1,000,000 left, full at ")]).await;
}

/// Waits for these lines: what the server has leased and does not use is left again after a second.
async fn see(page: &Page, key: &str, expected: &[Value]) {
    let mut seen = Vec::new();
    for _ in 0..20 {
        seen = lines(page, key).await;
        if seen.ends_with(expected) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    panic!("{expected:?} is not in {seen:?}");
}

/// Loads the page again. Returns the lines about the limits of the key, without their times.
async fn lines(page: &Page, key: &str) -> Vec<Value> {
    page.client.refresh().await.unwrap();
    page.settle().await;
    page.see(Locator::XPath(&format!("//tr[.//code = '{}']//ul", &key[key.len() - 4..]))).await;
    let lines = "return [...document.querySelectorAll('#rows tr:first-child li')].map((line) => line.firstChild.data
        + (line.childNodes.length > 1 ? line.childNodes[1].data : ''))";
    page.script(lines).await.as_array().unwrap().clone()
}
