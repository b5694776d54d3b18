//! Tests the announcement of keys that expire soon.

use std::time::Duration;

use tower_api_key::{
    KeyManager,
    manage::{Issued, ManageError, NewKey, Rotation, UpdateKey},
    store::MemoryStore,
};

use crate::support::{
    Api,
    edits::manager_of,
    registry::{admin, id},
    t0,
};

pub(super) const DAY: Duration = Duration::from_hours(24);

fn names(keys: &[tower_api_key::KeyRecord]) -> Vec<&str> {
    keys.iter().map(|key| key.name().unwrap()).collect()
}

/// Issues a key with this number of days to live.
pub(super) async fn until(manager: &KeyManager, name: &str, days: u32) -> Issued {
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
