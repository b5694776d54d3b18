//! The credits of a key, and the form that adds some.

use fantoccini::Locator;
use serde_json::Value;
use sqlx::SqlitePool;

use super::{
    page::{Page, visit_with_file},
    walk::create,
};

#[tokio::test]
#[ignore = "needs chromium"]
async fn an_administrator_tops_up_the_credits_of_a_key_once_for_each_reference() {
    visit_with_file(walk).await;
}

async fn walk(mut page: Page, admin: String, file: SqlitePool) {
    page.sign_in(&admin).await;
    page.settle().await;
    create(&mut page).await;
    sqlx::query("update api_keys set plan = 'prepaid' where name = '<b>ci</b>'").execute(&file).await.unwrap();
    page.client.refresh().await.unwrap();
    page.settle().await;
    assert_eq!(credits(&page).await, "calls: 0 credits left of 0 added");
    for (amount, expected) in [("1500", "1,500"), ("500", "2,000")] {
        page.click("button[data-top-up=calls]").await;
        page.see_text("#top-up-what", "calls of <b>ci</b>").await;
        page.fill("#top-up-amount", amount).await;
        page.photograph("top-up").await;
        page.click("#top-up-yes").await;
        page.settle().await;
        assert_eq!(credits(&page).await, format!("calls: {expected} credits left of {expected} added"));
    }
    // The same reference again: with the same amount it adds nothing, with another it is an error.
    let reference = "invoice-42";
    for (amount, message) in [
        ("7", "Added 7 credits to calls of <b>ci</b>."),
        ("7", "An earlier top-up with this reference has added 7 credits to calls of <b>ci</b>."),
    ] {
        fill(&page, amount, reference).await;
        page.settle().await;
        page.see_text("#list-message", message).await;
    }
    fill(&page, "8", reference).await;
    let error = "A top-up with this id has added 7 credits before: use another id.";
    page.see_text("#top-up .message", error).await;
    page.click("#top-up [data-close]").await;
    page.settle().await;
    assert_eq!(credits(&page).await, "calls: 2,007 credits left of 2,007 added");
}

async fn fill(page: &Page, amount: &str, reference: &str) {
    page.see(Locator::Css("button[data-top-up=calls]")).await;
    page.click("button[data-top-up=calls]").await;
    page.script("document.querySelector('#top-up-id').value = ''; return null").await;
    page.fill("#top-up-id", reference).await;
    page.fill("#top-up-amount", amount).await;
    page.click("#top-up-yes").await;
}

/// Waits for the line of the credits, and returns it without its button.
async fn credits(page: &Page) -> String {
    page.see(Locator::Css("button[data-top-up=calls]")).await;
    let line = "return document.querySelector('button[data-top-up=calls]').closest('li').firstChild.data";
    let Value::String(line) = page.script(line).await else { panic!("no line") };
    line
}
