//! Tests key events: which handlers receive a change, and when.

use std::{
    pin::pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
    time::Duration,
};

use crate::support::{
    Api, accepted, bearer,
    registry::{admin, id, reader, text, user},
    t0, until,
};
use tower_api_key::{
    Author, KeyFormat, KeyManager, KeyRegistry, Status,
    manage::{KeyEvent, KeyEventKind, NewKey, Rotation, UpdateKey},
    store::MemoryStore,
};

const HOUR: Duration = Duration::from_hours(1);

fn told() -> (Arc<Mutex<Vec<KeyEvent>>>, impl Fn(&KeyEvent) + Send + Sync + 'static) {
    let told = Arc::new(Mutex::new(Vec::new()));
    let hook = Arc::clone(&told);
    (told, move |change: &KeyEvent| hook.lock().unwrap().push(change.clone()))
}

/// Waits until the hook has seen this number of events: it is called in another task.
async fn wait_for(told: &Arc<Mutex<Vec<KeyEvent>>>, count: usize) {
    until(async || told.lock().unwrap().len() >= count).await;
    // An event too many would come now.
    tokio::task::yield_now().await;
}

#[tokio::test]
async fn a_hook_sees_every_change_who_what_which_and_when() {
    let (told, hook) = told();
    let (api, manager) = Api::managed(|builder| builder.on_event(hook));
    let alice = user("alice");
    let first = manager.issue(&alice, NewKey::user("first")).await.unwrap();
    let imported = manager.import_digest(&alice, [9; 32], NewKey::user("imported")).await.unwrap();
    api.clock.set(t0() + HOUR);
    manager.edit(&alice, id(&first), UpdateKey::new().name("renamed").enabled(false)).await.unwrap();
    manager.enable(&alice, id(&first)).await.unwrap();
    manager.enable(&alice, id(&first)).await.unwrap();
    let second = manager.rotate(&alice, id(&first), Rotation::grace_period(HOUR)).await.unwrap();
    let third = manager.regenerate(&alice, id(&second)).await.unwrap();
    manager.revoke(&alice, id(&third)).await.unwrap();
    manager.revoke(&alice, id(&third)).await.unwrap();
    let _ = manager.issue(&alice, NewKey::user("")).await;
    manager.remove_user_keys(&admin(), "alice").await.unwrap();

    wait_for(&told, 14).await;
    let told = told.lock().unwrap();
    let seen: Vec<_> =
        told.iter().map(|change| (change.kind(), change.key_id().as_str(), change.replacement())).collect();
    let (one, two, three) = (id(&first), id(&second), id(&third));
    assert_eq!(
        seen[..10],
        [
            (KeyEventKind::Issued, one, None),
            (KeyEventKind::Imported, imported.id().as_str(), None),
            (KeyEventKind::Disabled, one, None),
            (KeyEventKind::Enabled, one, None),
            (KeyEventKind::Rotated, one, Some(second.record().id())),
            (KeyEventKind::Issued, two, None),
            (KeyEventKind::Regenerated, two, Some(third.record().id())),
            // The key with a grace period that the change has ended.
            (KeyEventKind::Revoked, one, None),
            (KeyEventKind::Issued, three, None),
            (KeyEventKind::Revoked, three, None),
        ]
    );
    assert_eq!(seen[10..].len(), 4);
    assert!(seen[10..].iter().all(|(kind, ..)| *kind == KeyEventKind::Removed));
    assert_eq!((told[0].at(), told[2].at()), (t0(), t0() + HOUR));
    let versions: Vec<_> =
        told.iter().filter(|change| change.key_id().as_str() == one).map(KeyEvent::version).collect();
    assert_eq!(versions, [0, 1, 2, 3, 4, 4], "enabling an enabled key is not a change");
    assert_eq!(told[0].author(), &Author::User("alice".into()));
    assert_eq!((told[10].author(), told[10].organization()), (&Author::System, Some("acme")));
    let shown = format!("{told:?}");
    assert!([&first, &second, &third].into_iter().all(|issued| !shown.contains(text(issued))));
}

#[tokio::test]
async fn a_hook_is_told_after_the_change_is_durable_and_not_of_one_that_failed() {
    let (told, hook) = told();
    let (api, manager) = Api::managed(|builder| builder.on_event(hook));
    let store = api.store.clone();
    store.break_writes(true);
    manager.issue(&admin(), NewKey::service_account("x")).await.unwrap_err();
    assert!(told.lock().unwrap().is_empty());

    store.break_writes(false);

    let (versions, store) = (Arc::new(Mutex::new(Vec::new())), MemoryStore::new());
    let (seen, keys) = (Arc::clone(&versions), store.clone());
    // A memory store completes at the first poll.
    let manager = KeyManager::builder(store).format(KeyFormat::new("acme").unwrap()).on_event(move |change| {
        let mut stored = pin!(keys.get(change.key_id()));
        let stored = stored.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        let Poll::Ready(Ok(Some(stored))) = stored else { panic!("an event for a key that was not stored") };
        seen.lock().unwrap().push((stored.version(), stored.status(), change.version()));
    });
    let manager = manager.build().unwrap();
    let seen = async |count: usize| until(async || versions.lock().unwrap().len() >= count).await;
    let issued = reader(&manager).await;
    seen(1).await;
    manager.disable(&admin(), id(&issued)).await.unwrap();
    seen(2).await;
    manager.regenerate(&admin(), id(&issued)).await.unwrap();
    seen(4).await;
    let (active, disabled, revoked) = (Status::Active, Status::Disabled, Status::Revoked);
    assert_eq!(*versions.lock().unwrap(), [(0, active, 0), (1, disabled, 1), (2, revoked, 2), (0, disabled, 0)]);
}

#[tokio::test]
async fn a_change_stands_when_a_hook_panics() {
    let (told, hook) = told();
    let (api, manager) = Api::managed(|builder| builder.on_event(|_| panic!("intentionally")).on_event(hook));
    let issued = reader(&manager).await;
    assert_eq!(api.call(bearer(text(&issued))).await, accepted());
    wait_for(&told, 1).await;
    assert_eq!(told.lock().unwrap().len(), 1, "the next handler receives the event");
}

#[tokio::test]
async fn a_change_goes_on_when_its_caller_goes_away() {
    let (told, hook) = told();
    let (_, manager) = Api::managed(|builder| builder.on_event(hook));
    let old = reader(&manager).await;
    let actor = admin();
    let mut call = Box::pin(manager.regenerate(&actor, id(&old)));
    let waker = std::task::Waker::noop();
    assert!(call.as_mut().poll(&mut std::task::Context::from_waker(waker)).is_pending());
    drop(call);
    while told.lock().unwrap().len() < 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(told.lock().unwrap()[1].kind(), KeyEventKind::Regenerated);
}

#[tokio::test]
async fn an_edit_that_says_nothing_changes_nothing_and_is_told_to_nobody() {
    let (told, hook) = told();
    let (_, manager) = Api::managed(|builder| builder.on_event(hook));
    let issued = reader(&manager).await;
    assert_eq!(manager.edit(&admin(), id(&issued), UpdateKey::new()).await.unwrap().version(), 0);
    manager.disable(&admin(), id(&issued)).await.unwrap();
    wait_for(&told, 2).await;
    assert_eq!(told.lock().unwrap()[1].kind(), KeyEventKind::Disabled);
}
