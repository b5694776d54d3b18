//! Finding a key by its text in a session that began with a key.

use axum::Router;
use serde_json::json;
use tower_api_key::{
    KeyManager, Owner, Permissions,
    dashboard::DashboardBuilder,
    manage::{Actor, Issued, NewKey},
};

use super::{call, issue, manager, sign_in};
use crate::support::registry::{admin, everything, text};

/// Returns the status of finding `sought` in a session of `key`, and whether the page offers it.
async fn find(app: &Router, key: &Issued, sought: &Issued) -> (u16, bool) {
    let cookie = sign_in(app, key).await;
    let cookie = [("cookie", &*cookie)];
    let offered = call(app, "GET /keys/manage/session", &cookie, "").await.json["finds_by_text"] == true;
    let body = json!({ "key": text(sought) }).to_string();
    (call(app, "POST /keys/manage/keys/find", &cookie, &body).await.status, offered)
}

fn app(manager: &KeyManager, edit: impl FnOnce(DashboardBuilder) -> DashboardBuilder) -> Router {
    let auth = manager.layer().build().unwrap();
    edit(manager.dashboard().sign_in_with_keys(&auth)).router_at("/keys").unwrap()
}

fn is_administrator(actor: &Actor) -> bool {
    actor.owner() == Some(&Owner::ServiceAccount)
}

#[tokio::test]
async fn only_a_named_administrator_finds_keys_by_their_text_and_only_those_it_sees() {
    let manager = manager();
    let alice = issue(&manager, "alice", everything()).await;
    let bot = manager.issue(&admin(), NewKey::service_account("bot").permissions(everything())).await.unwrap();
    let elsewhere = Actor::trusted(Owner::ServiceAccount, everything()).in_organization("other");
    let foreign = manager.issue(&elsewhere, NewKey::service_account("foreign")).await.unwrap();
    let unnamed = app(&manager, |page| page);
    assert_eq!(find(&unnamed, &bot, &alice).await, (403, false), "no administrators are named");
    let named = app(&manager, |page| page.administrators(is_administrator));
    assert_eq!(find(&named, &bot, &alice).await, (200, true));
    assert_eq!(find(&named, &bot, &foreign).await, (404, true), "a key of another organization");
    assert_eq!(find(&named, &alice, &alice).await, (403, false), "a member's key could test guessed keys");
    let confined = app(&manager, |page| page.administrators(is_administrator).own_keys_only());
    assert_eq!(find(&confined, &bot, &alice).await, (403, false));
}

#[tokio::test]
async fn an_administrator_whose_key_is_in_one_environment_finds_no_key_of_another() {
    let format = |prefix: &str| tower_api_key::KeyFormat::new(prefix).unwrap();
    let builder = KeyManager::builder(tower_api_key::store::MemoryStore::new());
    let builder = builder.environment("live", format("acme_live")).environment("test", format("acme_test"));
    let manager = builder.build().unwrap();
    let new = |name: &str, environment: &str| {
        NewKey::service_account(name).permissions(Permissions::all_of("apiKeys")).environment(environment)
    };
    let test = manager.issue(&admin(), new("test", "test")).await.unwrap();
    let (live, other) = (
        manager.issue(&admin(), new("live", "live")).await.unwrap(),
        manager.issue(&admin(), new("b", "test")).await.unwrap(),
    );
    let app = app(&manager, |page| page.administrators(is_administrator));
    assert_eq!(find(&app, &test, &other).await, (200, true));
    assert_eq!(find(&app, &test, &live).await, (404, true));
}
