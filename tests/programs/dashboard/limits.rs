//! The plan of a key, and the numbers of limits that differ from it.

use sqlx::{SqlitePool, sqlite::SqliteConnectOptions};

use super::{
    page::{Page, open},
    walk::create,
};
use crate::browser::Browser;
use crate::example::Example;

#[tokio::test]
#[ignore = "needs chromium"]
async fn the_row_of_a_key_has_its_plan_and_its_limits() {
    let server = Example::start("dashboard");
    let admin = server.keys["admin"].clone();
    let browser = Browser::start().await;
    let client = browser.client.clone();
    let page = open(&server, &browser).await;
    let file = SqlitePool::connect_with(SqliteConnectOptions::new().filename(server.database())).await.unwrap();
    let walked = tokio::spawn(walk(page, admin, file)).await;
    client.close().await.unwrap();
    walked.unwrap();
    server.stop();
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
    // An edit of another field leaves them as they are.
    page.act("edit", &key).await;
    page.fill("#edit-name", " renamed").await;
    page.click("#edit-yes").await;
    page.settle().await;
    let row = page.row(&key).await;
    assert!(row.contains("renamed") && row.contains("plan <b>pro</b> · burst: unlimited · daily: 50000"), "{row}");
}
