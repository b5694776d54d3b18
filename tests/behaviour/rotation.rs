//! Tests replacing a key, at once or with a grace period.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use crate::support::{
    Api, accepted, bearer, refused,
    registry::{admin, id, reader, text, user},
    t0,
};
use tower_api_key::{
    KeyFormat, KeyManager, Reason, Status,
    manage::{ManageError, NewKey, Rotation},
    store::{KeyFilter, RegistryError},
};

const HOUR: Duration = Duration::from_hours(1);

/// Returns the `Debug` form of a manager's error, which names the variant and its values.
fn refusal<T>(done: Result<T, ManageError>) -> String {
    format!("{:?}", done.err().expect("refused"))
}

#[tokio::test]
async fn a_regenerated_key_is_refused_on_the_very_next_request() {
    let (api, manager) = Api::managed(|builder| builder.keys_per_user(1));
    let api = api.run();
    let new = NewKey::user("laptop").grant("links", "read").expires_at(t0() + HOUR).metadata("team", "infra");
    let old = manager.issue(&user("alice"), new).await.unwrap();
    let new = manager.regenerate(&user("alice"), id(&old)).await.unwrap();
    assert_eq!(api.call(bearer(text(&old))).await, refused(Reason::Revoked, 401));
    assert_eq!(api.call(bearer(text(&new))).await, accepted());
    let (before, after) = (old.record(), new.record());
    assert_eq!((after.name(), after.owner(), after.expires_at()), (before.name(), before.owner(), before.expires_at()));
    assert_eq!((after.permissions(), after.metadata()), (before.permissions(), before.metadata()));
    assert_eq!(after.replaces(), Some(before.id()));
    let stored = manager.get(&admin(), id(&old)).await.unwrap();
    assert_eq!((stored.status(), stored.replaced_by()), (Status::Revoked, Some(after.id())));
    let again = manager.regenerate(&user("alice"), id(&old)).await;
    assert!(matches!(again, Err(ManageError::Registry(RegistryError::Revoked(_)))));
}

#[tokio::test]
async fn a_failing_store_leaves_the_old_key_as_it_was() {
    let (api, manager) = Api::managed(|builder| builder);
    let api = api.run();
    let old = reader(&manager).await;
    api.store.break_writes(true);
    for failed in [
        refusal(manager.regenerate(&admin(), id(&old)).await),
        refusal(manager.rotate(&admin(), id(&old), Rotation::grace_period(HOUR)).await),
        refusal(manager.revoke(&admin(), id(&old)).await),
        refusal(manager.disable(&admin(), id(&old)).await),
        refusal(manager.issue(&admin(), NewKey::service_account("second")).await),
    ] {
        assert_eq!(failed, "Store(\"the disk is full\")");
    }
    api.store.break_writes(false);
    assert_eq!(api.call(bearer(text(&old))).await, accepted());
    let listed = manager.list(&admin(), KeyFilter::default().with_revoked()).await.unwrap();
    assert_eq!(listed.records.len(), 1);
    assert_eq!(listed.records[0].version(), 0);
}

#[tokio::test]
async fn after_a_rotation_both_keys_work_until_the_grace_is_over() {
    let (api, manager) = Api::managed(|builder| builder);
    let api = api.run();
    let old = reader(&manager).await;
    let new = manager.rotate(&admin(), id(&old), Rotation::grace_period(HOUR)).await.unwrap();
    for (now, expected) in [
        (t0(), accepted()),
        (t0() + HOUR - Duration::from_nanos(1), accepted()),
        (t0() + HOUR, refused(Reason::Expired, 401)),
    ] {
        api.clock.set(now);
        assert_eq!(api.call(bearer(text(&old))).await, expected);
        assert_eq!(api.call(bearer(text(&new))).await, accepted());
    }
    let stored = manager.get(&admin(), id(&old)).await.unwrap();
    assert_eq!((stored.replaced_by(), new.record().replaces()), (Some(new.record().id()), Some(old.record().id())));
}

#[tokio::test]
async fn a_grace_never_extends_the_old_expiry() {
    for (expires_at, grace, ends_at, new_ends_at) in [
        (Some(t0() + HOUR), HOUR * 2, Some(t0() + HOUR), Some(t0() + HOUR)),
        (Some(t0() + HOUR * 3), HOUR * 2, Some(t0() + HOUR * 2), Some(t0() + HOUR * 3)),
        (None, HOUR * 2, Some(t0() + HOUR * 2), None),
        (None, Duration::ZERO, Some(t0()), None),
    ] {
        let (_, manager) = Api::managed(|builder| builder);
        let mut new = NewKey::service_account("job");
        if let Some(instant) = expires_at {
            new = new.expires_at(instant);
        }
        let old = manager.issue(&admin(), new).await.unwrap();
        let new = manager.rotate(&admin(), id(&old), Rotation::grace_period(grace)).await.unwrap();
        let stored = manager.get(&admin(), id(&old)).await.unwrap();
        assert_eq!(
            (stored.expires_at(), new.record().expires_at()),
            (ends_at, new_ends_at),
            "{expires_at:?} {grace:?}"
        );
    }
}

#[tokio::test]
async fn a_grace_has_an_end() {
    let (_, manager) = Api::managed(|builder| builder);
    let old = reader(&manager).await;
    let for_ever = manager.rotate(&admin(), id(&old), Rotation::grace_period(Duration::MAX)).await;
    assert!(matches!(for_ever, Err(ManageError::Expiry)));
}

#[tokio::test]
async fn a_lower_cap_does_not_keep_a_leaked_key_from_being_replaced() {
    let (api, manager) = Api::managed(|builder| builder);
    let issued = manager.issue(&user("alice"), NewKey::user("one")).await.unwrap();
    manager.issue(&user("alice"), NewKey::user("two")).await.unwrap();
    let stricter = KeyManager::builder(api.store.clone()).format(KeyFormat::new("acme").unwrap()).keys_per_user(1);
    stricter.build().unwrap().regenerate(&user("alice"), id(&issued)).await.unwrap();
}

#[tokio::test]
async fn a_rotation_may_give_the_new_key_an_expiry_of_its_own() {
    let (api, manager) = Api::managed(|builder| builder);
    let old = manager.issue(&admin(), NewKey::service_account("job").expires_at(t0() + HOUR)).await.unwrap();
    let expired = Rotation::grace_period(HOUR).expires_at(t0());
    assert_eq!(refusal(manager.rotate(&admin(), id(&old), expired).await), "Expiry");
    let later = Rotation::grace_period(HOUR).expires_at(t0() + HOUR * 48);
    let new = manager.rotate(&admin(), id(&old), later).await.unwrap();
    assert_eq!(new.record().expires_at(), Some(t0() + HOUR * 48));
    api.clock.set(t0() + HOUR);
    assert_eq!(
        refusal(manager.regenerate(&admin(), id(&old)).await),
        format!("Registry(Replaced({:?}))", old.record().id())
    );
}

#[tokio::test]
async fn a_key_is_replaced_once_and_not_after_its_end() {
    let (api, manager) = Api::managed(|builder| builder);
    let old = manager.issue(&admin(), NewKey::service_account("job").expires_at(t0() + HOUR)).await.unwrap();
    let other = manager.issue(&admin(), NewKey::service_account("other").expires_at(t0() + HOUR)).await.unwrap();
    manager.rotate(&admin(), id(&old), Rotation::grace_period(HOUR)).await.unwrap();
    let again = manager.rotate(&admin(), id(&old), Rotation::grace_period(HOUR)).await;
    assert!(matches!(again, Err(ManageError::Registry(RegistryError::Replaced(_)))));
    api.clock.set(t0() + HOUR);
    assert!(matches!(manager.regenerate(&admin(), id(&other)).await, Err(ManageError::Expired(_))));
}

#[tokio::test]
async fn of_two_that_regenerate_one_key_at_once_one_wins() {
    let (_, manager) = Api::managed(|builder| builder);
    let old = reader(&manager).await;
    let (admin, id) = (admin(), id(&old));
    let (a, b) = tokio::join!(manager.regenerate(&admin, id), manager.regenerate(&admin, id));
    assert_eq!(usize::from(a.is_ok()) + usize::from(b.is_ok()), 1);
    let listed = manager.list(&admin, KeyFilter::default()).await.unwrap();
    assert_eq!(listed.records.len(), 1, "one working key is left");
}

#[tokio::test]
async fn the_replacement_of_a_disabled_key_is_disabled() {
    let (api, manager) = Api::managed(|builder| builder);
    let api = api.run();
    let old = reader(&manager).await;
    manager.disable(&admin(), id(&old)).await.unwrap();
    let new = manager.regenerate(&admin(), id(&old)).await.unwrap();
    assert_eq!(api.call(bearer(text(&new))).await, refused(Reason::Disabled, 401));
}

/// One task regenerates a key as fast as it can. Three tasks call with the newest key that they
/// know to be replaced.
#[tokio::test(flavor = "multi_thread")]
async fn no_old_key_is_accepted_after_its_regenerate_was_answered_in_10_000_rounds() {
    let (api, manager) = Api::managed(|builder| builder);
    let api = api.run();
    let mut current = reader(&manager).await;
    let newest_old = Arc::new(Mutex::new(None::<String>));
    let done = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = (0..3)
        .map(|_| {
            let (app, old, done) = (api.app.clone(), Arc::clone(&newest_old), Arc::clone(&done));
            tokio::spawn(async move {
                let mut calls = 0_u32;
                loop {
                    tokio::task::yield_now().await;
                    if done.load(Ordering::Relaxed) {
                        return calls;
                    }
                    let Some(key) = old.lock().unwrap().clone() else { continue };
                    let response = tower::ServiceExt::oneshot(app.clone(), bearer(&key)).await.unwrap();
                    assert_eq!(response.status(), 401, "an old key was accepted");
                    calls += 1;
                }
            })
        })
        .collect();
    for _ in 0..10_000 {
        let next = manager.regenerate(&admin(), id(&current)).await.unwrap();
        *newest_old.lock().unwrap() = Some(text(&current).to_owned());
        current = next;
    }
    done.store(true, Ordering::Relaxed);
    for caller in callers {
        assert!(caller.await.unwrap() > 0, "no request was sent");
    }
    assert_eq!(api.call(bearer(text(&current))).await.outcome, tower_api_key::Outcome::Accepted);
}
