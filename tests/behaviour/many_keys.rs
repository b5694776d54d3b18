//! Many keys are changed by a filter, over every store.

use std::{sync::Arc, time::Duration};

use tower_api_key::{
    KeyFormat, KeyManager, KeyRecord, KeyRegistry, Owner, Permissions, Status,
    manage::{Actor, BulkChange, BulkResult, ChangeMany, KeyEventKind, ManageError, NewKey},
    store::{KeyBatch, KeyFilter, MemoryStore},
};

use crate::support::{
    Api, TestClock,
    registry::{admin, everything, id, user},
    t0, until,
};

type Heard = Arc<std::sync::Mutex<Vec<(KeyEventKind, String)>>>;

fn manager(store: impl KeyRegistry) -> (KeyManager, TestClock, Heard) {
    let (clock, events) = (TestClock::new(), Arc::new(std::sync::Mutex::new(Vec::new())));
    let (now, heard) = (clock.clone(), Arc::clone(&events));
    let builder = KeyManager::builder(store)
        .format(KeyFormat::new("acme").unwrap())
        .environment("test", KeyFormat::new("acmetest").unwrap());
    let builder = builder.clock(move || now.get());
    let hook = move |event: &tower_api_key::manage::KeyEvent| {
        heard.lock().unwrap().push((event.kind(), event.key_id().to_string()));
    };
    (builder.on_event(hook).build().unwrap(), clock, events)
}

fn test_keys() -> KeyFilter {
    KeyFilter::default().environment("test")
}

async fn statuses(manager: &KeyManager) -> Vec<(String, Status)> {
    let page = manager.list(&admin(), KeyFilter::default().with_revoked().limit(1_000)).await.unwrap();
    page.records.iter().map(|record| (record.name().unwrap().to_owned(), record.status())).collect()
}

/// 230 keys of the environment `test`, so that a change has three batches, and one of each other
/// kind.
async fn fill(manager: &KeyManager) {
    for number in 0..230 {
        let new = NewKey::service_account(format!("test {number}")).environment("test");
        manager.issue(&admin(), new).await.unwrap();
    }
    manager.issue(&admin(), NewKey::service_account("other")).await.unwrap();
    manager.issue(&user("alice"), NewKey::user("of alice").environment("test")).await.unwrap();
    let elsewhere = admin().in_organization("globex");
    manager.issue(&elsewhere, NewKey::service_account("elsewhere").environment("test")).await.unwrap();
}

async fn every_key_that_matches_is_changed_once(store: impl KeyRegistry) {
    let (manager, clock, events) = manager(store);
    fill(&manager).await;
    let rehearsal = ChangeMany::new(BulkChange::Disable, test_keys()).dry_run();
    let counted = manager.change_many(&admin(), rehearsal).await.unwrap();
    assert_eq!((counted.matched, counted.changed, counted.ids.len()), (231, 0, 231));
    assert!(statuses(&manager).await.iter().all(|(_, status)| *status == Status::Active), "a dry run changes nothing");

    clock.set(t0() + Duration::from_mins(1));
    let because = admin().because("the test system is gone");
    for (change, status, kind) in [
        (BulkChange::Disable, Status::Disabled, KeyEventKind::Disabled),
        (BulkChange::Revoke, Status::Revoked, KeyEventKind::Revoked),
    ] {
        let done = manager.change_many(&because, ChangeMany::new(change, test_keys())).await.unwrap();
        assert_eq!((done.matched, done.changed), (231, 231), "{change:?}");
        for (name, is) in statuses(&manager).await {
            assert_eq!(is, if name == "other" { Status::Active } else { status }, "{name} after {change:?}");
        }
        // The hooks receive events in the background.
        let of_kind = || events.lock().unwrap().iter().filter(|(of, _)| *of == kind).cloned().collect::<Vec<_>>();
        until(async || of_kind().len() >= done.ids.len()).await;
        let mut heard = of_kind();
        heard.sort_by(|one, other| one.1.cmp(&other.1));
        let mut ids: Vec<_> = done.ids.iter().map(|id| (kind, id.to_string())).collect();
        ids.sort_by(|one, other| one.1.cmp(&other.1));
        assert_eq!(heard, ids, "one event for each key");
        let record = manager.get(&admin(), done.ids[0].clone()).await.unwrap();
        assert_eq!((record.reason(), record.updated_at()), (Some("the test system is gone"), Some(clock.get())));
        let again = manager.change_many(&because, ChangeMany::new(change, test_keys())).await.unwrap();
        assert_eq!(again, BulkResult::default(), "there is nothing left to change");
    }
    let revoked = ChangeMany::new(BulkChange::Remove, test_keys().with_revoked());
    assert_eq!(manager.change_many(&admin(), revoked).await.unwrap().changed, 231);
    assert_eq!(statuses(&manager).await, [("other".to_owned(), Status::Active)]);
    let elsewhere = manager.list(&admin().in_organization("globex"), KeyFilter::default()).await.unwrap();
    assert_eq!(elsewhere.records[0].status(), Status::Active, "another organization's keys are not seen");
}

#[tokio::test]
async fn every_key_that_matches_is_changed_once_in_memory() {
    every_key_that_matches_is_changed_once(MemoryStore::new()).await;
}

#[cfg(feature = "cache")]
#[tokio::test]
async fn every_key_that_matches_is_changed_once_behind_a_cache() {
    let store = MemoryStore::new();
    let cached = tower_api_key::store::CachedStore::builder(store.clone(), store.change_feed()).build().unwrap();
    every_key_that_matches_is_changed_once(cached).await;
}

#[cfg(feature = "sqlite")]
#[tokio::test]
async fn every_key_that_matches_is_changed_once_in_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let store = tower_api_key::store::SqliteStore::open(folder.path().join("keys.db")).await.unwrap();
    every_key_that_matches_is_changed_once(store).await;
}

#[cfg(all(feature = "testkit", feature = "postgres"))]
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs postgres"]
async fn every_key_that_matches_is_changed_once_in_postgres() {
    let server = crate::postgres::Server::start(&[]);
    every_key_that_matches_is_changed_once(server.database().await.store().await).await;
}

#[tokio::test]
async fn all_keys_are_changed_only_if_all_are_meant() {
    let (manager, ..) = manager(MemoryStore::new());
    let issued = manager.issue(&admin(), NewKey::service_account("a")).await.unwrap();
    for filter in [KeyFilter::default(), KeyFilter::organization("acme").with_revoked().limit(3).after("x")] {
        let many = ChangeMany::new(BulkChange::Remove, filter);
        assert!(matches!(manager.change_many(&admin(), many).await, Err(ManageError::EmptyFilter)));
    }
    let all = ChangeMany::new(BulkChange::Revoke, KeyFilter::default()).all();
    assert_eq!(manager.change_many(&admin(), all).await.unwrap().ids, [issued.record().id().clone()]);
}

#[tokio::test]
async fn an_actor_changes_what_it_sees_and_its_own_key_last_and_only_if_asked() {
    let (manager, ..) = manager(MemoryStore::new());
    fill(&manager).await;
    let new = NewKey::user("own").permissions(everything()).environment("test");
    let own = manager.issue(&user("alice"), new).await.unwrap();
    let alice = manager.actor(own.record().id()).await.unwrap().unwrap();
    let confined = alice.clone().own_keys_only();
    let counted =
        manager.change_many(&confined, ChangeMany::new(BulkChange::Revoke, test_keys()).dry_run()).await.unwrap();
    assert_eq!(counted.matched, 1, "the other key of alice");
    let many = ChangeMany::new(BulkChange::Revoke, test_keys());
    let done = manager.change_many(&alice, many.clone()).await.unwrap();
    assert_eq!((done.changed, done.ids.contains(own.record().id())), (231, false), "all but its own");
    let more = manager.issue(&admin(), NewKey::service_account("last").environment("test")).await.unwrap();
    let done = manager.change_many(&alice, many.clone().with_own_key()).await.unwrap();
    assert_eq!(done.ids, [more.record().id().clone(), own.record().id().clone()]);
    assert!(matches!(manager.change_many(&alice, many).await, Err(ManageError::ActorInvalid)));
}

#[tokio::test]
async fn each_change_needs_its_permission_also_in_a_dry_run() {
    let (manager, ..) = manager(MemoryStore::new());
    let with = |actions: &[&str]| {
        let grant = |permissions: Permissions, action: &&str| permissions.grant("apiKeys", *action);
        Actor::trusted(Owner::ServiceAccount, actions.iter().fold(Permissions::new(), grant)).in_organization("acme")
    };
    for (change, needed) in
        [(BulkChange::Revoke, "delete"), (BulkChange::Remove, "delete"), (BulkChange::Disable, "update")]
    {
        for dry_run in [true, false] {
            let many = ChangeMany::new(change, test_keys());
            let many = if dry_run { many.dry_run() } else { many };
            let all = ["read", "create", "update", "delete"];
            let but = |left_out: &str| all.into_iter().filter(|one| *one != left_out).collect::<Vec<_>>();
            for left_out in [needed, "read"] {
                let done = manager.change_many(&with(&but(left_out)), many.clone()).await;
                assert!(matches!(done, Err(ManageError::PermissionDenied(_))), "{change:?} without {left_out}");
            }
            assert!(manager.change_many(&with(&["read", needed]), many).await.is_ok());
        }
    }
}

/// The batch reads the keys again in its transaction.
#[tokio::test]
async fn a_key_that_left_the_filter_meanwhile_is_not_changed() {
    let store = MemoryStore::new();
    let record = KeyRecord::new("k1", [7; 32]).with_created_at(t0());
    store.add(record.clone()).unwrap();
    let long_ago =
        KeyBatch::new(BulkChange::Disable, ["k1".into(), "k2".into()]).unused_since(t0() + Duration::from_secs(1));
    assert!(long_ago.applies_to(&record), "it applies to the record that was read");
    let used = tower_api_key::store::UsageDelta::accepted("k1", 1, t0() + Duration::from_secs(1));
    KeyRegistry::record_usage(&store, &[used]).await.unwrap();
    assert!(store.change_batch(&long_ago, None).await.unwrap().unwrap().is_empty());
    assert_eq!(KeyRegistry::get(&store, &"k1".into()).await.unwrap().unwrap().status(), Status::Active);
}

#[tokio::test]
async fn a_store_that_fails_is_an_error_and_a_repeated_change_does_the_rest() {
    let (api, manager) = Api::managed(|builder| builder);
    let issued = manager.issue(&user("alice"), NewKey::user("a")).await.unwrap();
    let of_alice = KeyFilter::default().owner(Owner::User("alice".into()));
    let many = ChangeMany::new(BulkChange::Revoke, of_alice);
    api.store.break_writes(true);
    assert!(matches!(manager.change_many(&admin(), many.clone()).await, Err(ManageError::Store(_))));
    api.store.break_writes(false);
    assert_eq!(manager.get(&admin(), id(&issued)).await.unwrap().status(), Status::Active);
    assert_eq!(manager.change_many(&admin(), many).await.unwrap().changed, 1);
}
