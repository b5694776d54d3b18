//! Keys of another system are imported, and the refused ones are said.

use fantoccini::{Locator, key::Key};
use serde_json::json;

use super::{
    many::{api, issue},
    page::{Page, visit},
    search::see_rows,
};

#[tokio::test]
#[ignore = "needs chromium"]
async fn keys_are_imported_and_the_refused_ones_stay_to_be_corrected() {
    let (key, log) = visit(walk).await;
    assert!(!log.contains(&key), "a key in the log");
}

async fn walk(mut page: Page, admin: String) -> String {
    page.sign_in(&admin).await;
    page.settle().await;
    // A key of another system: its text is known, and its record is not there.
    let key = issue(&page, "moved");
    let remove = json!({ "change": "remove", "filter": { "name_prefix": "moved" } }).to_string();
    page.keys.push(key.clone());
    assert_eq!(api(&page, &["-H", "Content-Type: application/json", "-d", &remove], "/bulk")["changed"], 1);
    assert_eq!(page.rights(&key), ["401", "401"]);

    let good = json!({ "key": key, "type": "bot", "name": "<b>old</b>", "permissions": { "stats": ["read"] } });
    let bad = json!({ "digest": "07", "type": "bot", "name": "<i>short</i>" });
    let both = json!([good, bad]).to_string();
    // Cancelled: nothing is imported, and nothing is left in the page.
    for leave in ["[data-close]", "Escape"] {
        page.client.refresh().await.unwrap();
        see_rows(&page, 1).await;
        page.click("#import-open").await;
        page.fill("#import-keys", &both).await;
        if leave == "Escape" {
            page.press([Key::Escape.into()]).await;
        } else {
            page.click("#import [data-close]").await;
        }
        page.see(Locator::Css("body:not(:has(dialog[open])) #import-open:focus")).await;
        page.assert_no_key().await;
    }
    assert_eq!(page.rights(&key), ["401", "401"]);

    page.click("#import-open").await;
    page.fill("#import-keys", "[").await;
    page.click("#import-yes").await;
    page.see_text("#import .message", "This is not JSON.").await;
    page.script("document.querySelector('#import-keys').value = ''").await;
    page.fill("#import-keys", &both).await;
    page.photograph("import").await;
    page.click("#import-yes").await;
    page.see_text("#import .message", "Imported 1 of 2 keys. The others were refused:").await;
    let refused = "<i>short</i>: digest: must be 64 hexadecimal digits.";
    page.see_text("#import-refused", refused).await;
    page.photograph("import-refused").await;
    page.assert_no_key().await;
    assert_eq!(page.rights(&key), ["200", "403"]);
    let corrected = "const field = document.querySelector('#import-keys');
        field.value = field.value.replace('07', '07'.repeat(32))";
    page.script(corrected).await;
    page.click("#import-yes").await;
    page.see_text("#list-message", "Imported 1 of 1 keys.").await;
    page.settle().await;
    see_rows(&page, 3).await;
    let rows = page.text("#rows").await;
    assert!(rows.contains("<b>old</b>") && rows.contains("<i>short</i>"), "text is text: {rows}");
    key
}
