//! Tests the announcement of keys that expire soon: by the manager, and in a header of responses.

use std::time::Duration;

use http::HeaderName;
use tower_api_key::{
    KeyFormat, KeyManager, Require,
    manage::{ExpiryPolicy, ManageError, NewKey, Rotation, UpdateKey},
    store::MemoryStore,
};

use crate::support::{
    Api, UNKNOWN, bearer,
    edits::manager_of,
    registry::{admin, id, text},
    t0,
};

const DAY: Duration = Duration::from_hours(24);

fn names(keys: &[tower_api_key::KeyRecord]) -> Vec<&str> {
    keys.iter().map(|key| key.name().unwrap()).collect()
}

async fn until(manager: &KeyManager, name: &str, days: u32) -> tower_api_key::manage::Issued {
    manager.issue(&admin(), NewKey::service_account(name).expires_at(t0() + DAY * days)).await.unwrap()
}

async fn each_key_is_handed_out_once(manager: KeyManager, set: impl Fn(std::time::SystemTime)) {
    let week = DAY * 7;
    let soon = until(&manager, "soon", 7).await;
    until(&manager, "first", 1).await;
    let rotated = until(&manager, "rotated", 20).await;
    let elsewhere = admin().in_organization("globex");
    manager.issue(&elsewhere, NewKey::service_account("elsewhere").expires_at(t0() + DAY * 3)).await.unwrap();
    manager.issue(&admin(), NewKey::service_account("forever")).await.unwrap();
    manager.rotate(&admin(), id(&rotated), Rotation::grace_period(DAY)).await.unwrap();
    let off = until(&manager, "off", 2).await;
    manager.disable(&admin(), id(&off)).await.unwrap();

    let before = manager.get(&admin(), id(&soon)).await.unwrap();
    assert_eq!(names(&manager.expiring(week, 2).await.unwrap()), ["first", "elsewhere"]);
    let handed_out = manager.expiring(week, 2).await.unwrap();
    assert_eq!(names(&handed_out), ["soon"]);
    assert_eq!(manager.get(&admin(), id(&soon)).await.unwrap(), before, "a mark is no change of the record");
    assert_eq!(names(&manager.expiring(week, 100).await.unwrap()), [""; 0]);

    manager.announce_again(&handed_out).await.unwrap();
    assert_eq!(names(&manager.expiring(week, 100).await.unwrap()), ["soon"], "it was not announced");
    manager.enable(&admin(), id(&off)).await.unwrap();
    manager.edit(&admin(), id(&soon), UpdateKey::new().expires_at(t0() + DAY * 10)).await.unwrap();
    manager.announce_again(&handed_out).await.unwrap();
    assert_eq!(names(&manager.expiring(week, 100).await.unwrap()), ["off"]);
    set(t0() + DAY * 3);
    assert_eq!(names(&manager.expiring(week, 100).await.unwrap()), ["soon"], "a new expiry is announced");
    assert_eq!(names(&manager.expiring(Duration::MAX, 100).await.unwrap()), ["rotated"]);
}

#[tokio::test]
async fn a_key_in_memory_is_handed_out_once_before_it_expires() {
    let (manager, clock) = manager_of(MemoryStore::new(), |builder| builder);
    each_key_is_handed_out_once(manager, |now| clock.set(now)).await;
}

#[cfg(feature = "sqlite")]
#[tokio::test]
async fn a_key_in_sqlite_is_handed_out_once_before_it_expires() {
    let folder = tempfile::tempdir().unwrap();
    let store = tower_api_key::store::SqliteStore::open(folder.path().join("keys.db")).await.unwrap();
    let (manager, clock) = manager_of(store.clone(), |builder| builder);
    each_key_is_handed_out_once(manager, |now| clock.set(now)).await;
    store.close().await;
}

#[tokio::test]
async fn a_store_without_marks_hands_out_nothing() {
    let (_, manager) = Api::managed(|builder| builder);
    let done = manager.expiring(DAY, 1).await;
    assert!(matches!(&done, Err(ManageError::AnnouncementsNotKept)), "{done:?}");
    assert_eq!(done.unwrap_err().status(), 501);
}

#[tokio::test]
async fn a_response_to_an_accepted_key_says_when_the_key_expires() {
    let (api, loose) = Api::managed(|builder| builder);
    let now = api.clock.clone();
    let strict = KeyManager::builder(api.store.clone()).format(KeyFormat::new("acme").unwrap());
    let strict = strict.clock(move || now.get()).expiry_policy(ExpiryPolicy::new().max_lifetime(DAY * 30));
    let strict = strict.build().unwrap();
    let name = HeaderName::from_static("api-key-expires");
    let layers = |manager: &KeyManager, is_on: bool| {
        let layer = manager.layer();
        if is_on { layer.expiry_header(name.clone()) } else { layer }
    };
    let soon = until(&loose, "soon", 7).await;
    let late = until(&loose, "late", 365).await;
    let forever = loose.issue(&admin(), NewKey::service_account("forever")).await.unwrap();
    let [week, month, year] =
        ["Fri, 22 Jan 2027 08:00:00 GMT", "Sun, 14 Feb 2027 08:00:00 GMT", "Sat, 15 Jan 2028 08:00:00 GMT"];
    for (manager, is_on, expected) in [
        (&loose, true, [Some(week), Some(year), None]),
        (&strict, true, [Some(week), Some(month), Some(month)]),
        (&strict, false, [None; 3]),
    ] {
        let api = Api::new().layer(|_| layers(manager, is_on)).run();
        for (key, expected) in [&soon, &late, &forever].into_iter().zip(expected) {
            let answer = api.answer(bearer(text(key))).await;
            let written = answer.headers.get(&name).map(|value| value.to_str().unwrap());
            assert_eq!((answer.status.as_u16(), written), (200, expected), "{:?}", key.record().name());
        }
        assert!(!api.answer(bearer(UNKNOWN)).await.headers.contains_key(&name), "a rejection");
    }
    let guarded = Api::new().layer(|_| layers(&loose, true)).guard(Require::permission("links", "read")).run();
    let forbidden = guarded.answer(bearer(text(&soon))).await;
    assert_eq!((forbidden.status.as_u16(), forbidden.headers.contains_key(&name)), (403, false));
}
