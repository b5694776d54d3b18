//! Tests which plans and limits a manager accepts: those that its limits list.

use super::{burst, daily};
use crate::support::registry::admin;
use tower_api_key::{
    KeyFormat, KeyManager,
    limit::{Limits, Plans},
    manage::{ManageError, NewKey, UpdateKey},
    store::MemoryStore,
};

fn key() -> NewKey {
    NewKey::service_account("customer")
}

fn manager(limits: Option<Plans>) -> KeyManager {
    let builder = KeyManager::builder(MemoryStore::new()).format(KeyFormat::new("acme").unwrap());
    match limits {
        Some(plans) => builder.limits(Limits::in_process(plans).build().unwrap()).build().unwrap(),
        None => builder.build().unwrap(),
    }
}

fn wrong<T>(result: Result<T, ManageError>) -> Option<&'static str> {
    match result {
        Ok(_) => None,
        Err(ManageError::Limits(why)) => Some(why),
        Err(other) => panic!("{other}"),
    }
}

const UNKNOWN_PLAN: Option<&str> = Some("no plan has this name: add it to the plans of the program");
const UNKNOWN_LIMIT: Option<&str> = Some("no plan has a limit of this name");

#[tokio::test]
async fn a_manager_with_limits_rejects_names_that_they_do_not_list() {
    let manager = manager(Some(Plans::new().plan("free", [burst(1)]).plan("pro", [daily(5)]).default_plan("free")));
    for (new, expected) in [
        (key(), None),
        (key().plan("pro").limit("burst", 1).limit("daily", None), None),
        (key().plan("Pro"), UNKNOWN_PLAN),
        (key().limit("dayly", 1), UNKNOWN_LIMIT),
    ] {
        assert_eq!(wrong(manager.issue(&admin(), new.clone()).await), expected, "{new:?}");
    }
    let id = manager.issue(&admin(), key()).await.unwrap().record().id().clone();
    for (edit, expected) in [
        (UpdateKey::new().plan("pro").limit("daily", 7), None),
        (UpdateKey::new().plan("pr"), UNKNOWN_PLAN),
        (UpdateKey::new().limit("dayly", 7), UNKNOWN_LIMIT),
        (UpdateKey::new().remove_limit("dayly").remove_plan(), None),
    ] {
        assert_eq!(wrong(manager.edit(&admin(), id.clone(), edit.clone()).await), expected, "{edit:?}");
    }
}

#[tokio::test]
async fn a_manager_without_limits_accepts_every_name() {
    let manager = manager(None);
    assert_eq!(wrong(manager.issue(&admin(), key().plan("unknown").limit("other", 1)).await), None);
}

/// A plan that was removed from the program is no reason to reject another change of the key.
#[tokio::test]
async fn an_edit_checks_the_names_that_it_sets() {
    let store = MemoryStore::new();
    let build = |plan: &str| {
        let limits = Limits::in_process(Plans::new().plan(plan, [burst(1)])).build().unwrap();
        KeyManager::builder(store.clone()).format(KeyFormat::new("acme").unwrap()).limits(limits).build().unwrap()
    };
    let old = build("old").issue(&admin(), key().plan("old").limit("burst", 3)).await.unwrap();
    let new = build("new");
    for (edit, expected) in [
        (UpdateKey::new().name("another"), None),
        (UpdateKey::new().limit("burst", 5), None),
        (UpdateKey::new().plan("old").limit("burst", 5), None),
        (UpdateKey::new().plan("older"), UNKNOWN_PLAN),
        (UpdateKey::new().plan("new"), None),
        (UpdateKey::new().plan("old"), UNKNOWN_PLAN),
    ] {
        assert_eq!(wrong(new.edit(&admin(), old.record().id(), edit.clone()).await), expected, "{edit:?}");
    }
}

/// A key that was sent in the wrong field is not repeated.
#[tokio::test]
async fn no_message_repeats_a_name() {
    let text = format!("acme_{}", "x".repeat(100));
    for manager in [manager(None), manager(Some(Plans::new().plan("free", [burst(1)])))] {
        for new in [key().plan(&text), key().limit(&text, 1), key().meter(text.clone()), key().plan(&text[..60])] {
            if let Err(error) = manager.issue(&admin(), new).await {
                assert!(!error.to_string().contains("acme_x"), "{error}");
            }
        }
    }
}

/// For a route such as `GET /limits`, which must answer when nothing is left.
#[tokio::test]
async fn a_layer_of_a_manager_without_its_limits_charges_nothing_and_shows_what_is_left() {
    let manager = manager(Some(Plans::new().plan("free", [burst(1)]).default_plan("free")));
    let issued = manager.issue(&admin(), key()).await.unwrap();
    let request = || http::Request::get("/").header("x-api-key", issued.key().expose()).body(()).unwrap();
    let limited = manager.layer().build().unwrap();
    assert!(limited.try_authenticate(&request()).unwrap().is_ok());
    assert!(limited.try_authenticate(&request()).unwrap().is_err());
    let unlimited = manager.layer().limits(None).build().unwrap();
    for _ in 0..3 {
        assert!(unlimited.try_authenticate(&request()).unwrap().is_ok());
    }
    let left = manager.remaining(&admin(), issued.record().id()).await.unwrap().unwrap();
    assert_eq!(left[0].requests, 0);
}
