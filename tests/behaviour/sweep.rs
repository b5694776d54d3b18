//! The sweep disables what is not used and removes what ended long ago, over every store.

use std::{sync::Arc, time::Duration};

use tower_api_key::{
    KeyFormat, KeyManager, KeyRecord, KeyRegistry, Owner, Permissions, Status,
    manage::{Actor, ExpiryPolicy, ManageError, NewKey, SweepPolicy, SweepResult, UpdateKey},
    store::{KeyFilter, MemoryStore, UsageDelta},
};

use crate::support::{
    Api, TestClock,
    registry::{admin, everything, id, text, user},
    t0, x_api_key,
};

const DAY: Duration = Duration::from_hours(24);

fn result(disabled: u64, removed: u64) -> (u64, u64) {
    (disabled, removed)
}

fn counts(done: &SweepResult) -> (u64, u64) {
    (done.disabled, done.removed)
}

async fn status_of(manager: &KeyManager, id: &str) -> Option<Status> {
    match manager.get(&admin(), id).await {
        Ok(record) => Some(record.status()),
        Err(ManageError::NotFound(_)) => None,
        Err(error) => panic!("{error}"),
    }
}

async fn what_is_not_used_is_disabled_and_what_ended_is_removed(store: impl KeyRegistry) {
    let (store, clock) = (Arc::new(store), TestClock::new());
    let now = clock.clone();
    let builder = KeyManager::builder(Arc::clone(&store)).format(KeyFormat::new("acme").unwrap());
    let manager = builder.clock(move || now.get()).build().unwrap();
    let issue = async |name: &str| {
        manager.issue(&admin(), NewKey::service_account(name)).await.unwrap().record().id().to_string()
    };
    let mut never_used = Vec::new();
    for number in 0..120 {
        never_used.push(issue(&format!("never {number}")).await);
    }
    let (used, revoked, disabled) = (issue("used").await, issue("revoked").await, issue("disabled").await);
    let expiring = NewKey::service_account("expiring").expires_at(t0() + 10 * DAY);
    let expiring = manager.issue(&admin(), expiring).await.unwrap().record().id().to_string();
    let later = NewKey::service_account("later").not_before(t0() + 80 * DAY);
    let later = manager.issue(&admin(), later).await.unwrap().record().id().to_string();
    manager.revoke(&admin(), revoked.clone()).await.unwrap();
    manager.disable(&admin(), disabled.clone()).await.unwrap();
    let use_at = async |id: &str, days: u32| {
        let used = UsageDelta::accepted(id, 1, t0() + days * DAY);
        KeyRegistry::record_usage(&*store, &[used]).await.map_err(Into::into).unwrap();
    };
    use_at(&used, 50).await;
    clock.set(t0() + 60 * DAY);
    let new = issue("new").await;

    clock.set(t0() + 100 * DAY);
    let policy = SweepPolicy::new().disable_unused_for(90 * DAY).remove_ended_for(95 * DAY);
    assert_eq!(counts(&manager.sweep(&admin(), SweepPolicy::new()).await.unwrap()), result(0, 0));
    assert_eq!(counts(&manager.sweep(&admin(), policy.dry_run()).await.unwrap()), result(121, 1));
    assert_eq!(status_of(&manager, &never_used[0]).await, Some(Status::Active), "a dry run changes nothing");
    assert_eq!(counts(&manager.sweep(&admin(), policy).await.unwrap()), result(121, 1));
    for id in never_used.iter().chain([&expiring]) {
        let record = manager.get(&admin(), id.as_str()).await.unwrap();
        assert_eq!((record.status(), record.reason()), (Status::Disabled, Some("not used for 90 days")));
    }
    for id in [&used, &new, &later] {
        assert_eq!(status_of(&manager, id).await, Some(Status::Active));
    }
    assert_eq!(
        (status_of(&manager, &revoked).await, status_of(&manager, &disabled).await),
        (None, Some(Status::Disabled))
    );
    assert_eq!(counts(&manager.sweep(&admin(), policy).await.unwrap()), result(0, 0), "it is done");
    // The expired key ended 90 days ago at day 100, and a disabled one has not ended.
    clock.set(t0() + 110 * DAY);
    assert_eq!(counts(&manager.sweep(&admin(), policy).await.unwrap()), result(0, 1));
    assert_eq!(
        (status_of(&manager, &expiring).await, status_of(&manager, &disabled).await),
        (None, Some(Status::Disabled))
    );
}

/// A tightened policy ends keys whose records have a later end, or none.
async fn what_a_policy_has_ended_is_removed(store: impl KeyRegistry) {
    let (store, clock) = (Arc::new(store), TestClock::new());
    let builder = || {
        let now = clock.clone();
        let builder = KeyManager::builder(Arc::clone(&store)).format(KeyFormat::new("acme").unwrap());
        builder.clock(move || now.get())
    };
    let before = builder().build().unwrap();
    let issue = async |new: NewKey| before.issue(&admin(), new).await.unwrap().record().id().to_string();
    let endless = issue(NewKey::service_account("endless")).await;
    let later = issue(NewKey::service_account("later").expires_at(t0() + 365 * DAY)).await;
    let live = issue(NewKey::service_account("live").environment("live")).await;
    let no_age = KeyRecord::new("no age", [7; 32]).with_organization("acme");
    KeyRegistry::insert(&*store, no_age, None, None).await.map_err(Into::into).unwrap().unwrap();
    clock.set(t0() + 50 * DAY);
    let young = issue(NewKey::service_account("young")).await;

    // The old keys end at day 30.
    let tightened = builder().expiry_policy(ExpiryPolicy::new().max_lifetime(30 * DAY));
    let manager = tightened.expiry_policy(ExpiryPolicy::new().in_environment("live")).build().unwrap();
    clock.set(t0() + 90 * DAY);
    let policy = SweepPolicy::new().remove_ended_for(60 * DAY);
    assert_eq!(counts(&manager.sweep(&admin(), policy).await.unwrap()), result(0, 0), "not before then");
    clock.set(t0() + 90 * DAY + Duration::from_micros(1));
    assert_eq!(counts(&before.sweep(&admin(), policy).await.unwrap()), result(0, 0), "this manager has no policy");
    assert_eq!(counts(&manager.sweep(&admin(), policy.dry_run()).await.unwrap()), result(0, 2));
    assert_eq!(counts(&manager.sweep(&admin(), policy).await.unwrap()), result(0, 2));
    assert_eq!((status_of(&manager, &endless).await, status_of(&manager, &later).await), (None, None));
    for id in [young.as_str(), &live, "no age"] {
        assert_eq!(status_of(&manager, id).await, Some(Status::Active), "{id}");
    }
}

#[tokio::test]
async fn a_sweep_in_memory() {
    what_is_not_used_is_disabled_and_what_ended_is_removed(MemoryStore::new()).await;
    what_a_policy_has_ended_is_removed(MemoryStore::new()).await;
}

#[cfg(feature = "sqlite")]
#[tokio::test]
async fn a_sweep_in_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let open = async |name| tower_api_key::store::SqliteStore::open(folder.path().join(name)).await.unwrap();
    what_is_not_used_is_disabled_and_what_ended_is_removed(open("keys.db").await).await;
    what_a_policy_has_ended_is_removed(open("policy.db").await).await;
}

#[cfg(all(feature = "testkit", feature = "postgres"))]
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs postgres"]
async fn a_sweep_in_postgres() {
    let server = crate::postgres::Server::start(&[]);
    what_is_not_used_is_disabled_and_what_ended_is_removed(server.database().await.store().await).await;
    what_a_policy_has_ended_is_removed(server.database().await.store().await).await;
}

#[tokio::test]
async fn a_use_that_is_not_written_yet_counts() {
    let (api, manager) = Api::managed(|builder| builder.usage_interval(1_000 * DAY));
    let issued = manager.issue(&admin(), NewKey::service_account("x").grant("links", "read")).await.unwrap();
    let api = api.run();
    api.clock.set(t0() + 100 * DAY);
    assert_eq!(api.call(x_api_key(text(&issued))).await.status, 200);
    let policy = SweepPolicy::new().disable_unused_for(DAY);
    assert_eq!(counts(&manager.sweep(&admin(), policy).await.unwrap()), result(0, 0));
    assert_eq!(status_of(&manager, id(&issued)).await, Some(Status::Active));
    api.clock.set(t0() + 102 * DAY);
    assert_eq!(counts(&manager.sweep(&admin(), policy).await.unwrap()), result(1, 0));
}

#[tokio::test]
async fn a_sweep_is_within_what_the_actor_sees_and_may() {
    let (api, manager) = Api::managed(|builder| builder);
    let all = NewKey::user("own").permissions(everything());
    let own = manager.issue(&user("alice"), all).await.unwrap();
    let other = manager.issue(&user("bob"), NewKey::user("x")).await.unwrap();
    let elsewhere = admin().in_organization("globex");
    let foreign = manager.issue(&elsewhere, NewKey::service_account("x")).await.unwrap();
    api.clock.set(t0() + 3 * DAY);
    let policy = SweepPolicy::new().disable_unused_for(DAY);
    let alice = manager.actor(own.record().id()).await.unwrap().unwrap();
    assert_eq!(counts(&manager.sweep(&alice.clone().own_keys_only(), policy).await.unwrap()), result(0, 0));
    assert_eq!(counts(&manager.sweep(&alice, policy).await.unwrap()), result(1, 0), "all but its own key");
    assert_eq!(status_of(&manager, id(&other)).await, Some(Status::Disabled));
    assert_eq!(manager.get(&elsewhere, id(&foreign)).await.unwrap().status(), Status::Active);
    let all = Actor::trusted(Owner::ServiceAccount, everything()).across_organizations();
    assert_eq!(counts(&manager.sweep(&all, policy.dry_run()).await.unwrap()), result(2, 0), "every organization");
    let reader = Permissions::new().grant("apiKeys", "read").grant("apiKeys", "delete");
    let reader = Actor::trusted(Owner::ServiceAccount, reader).in_organization("acme");
    let refused = manager.sweep(&reader, policy.dry_run()).await;
    assert!(matches!(refused, Err(ManageError::PermissionDenied(_))), "also in a dry run");
    assert!(manager.sweep(&reader, SweepPolicy::new().remove_ended_for(DAY)).await.is_ok());
    let enabled = manager.edit(&admin(), id(&other), UpdateKey::new().enabled(true)).await.unwrap();
    assert_eq!(enabled.status(), Status::Active);
    assert_eq!(manager.list(&admin(), KeyFilter::default()).await.unwrap().records.len(), 2);
}
