//! Tests how the hooks follow the events of the registry: changes of other nodes, expiries,
//! failures, a stored cursor, and the time for which events are kept.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use crate::support::{
    Api, TestClock,
    registry::{admin, id, reader},
    t0, until,
};
use tower_api_key::{
    KeyFormat, KeyManager, KeyRecord, KeyRegistry,
    manage::{EventCursor, EventFilter, KeyEvent, KeyEventKind, KeyManagerBuilder, NewKey},
    store::MemoryStore,
};

type Seen = Arc<Mutex<Vec<KeyEvent>>>;

const SHORT: Duration = Duration::from_millis(20);

/// A node over this store, with the events that its hook has seen.
fn node(store: &MemoryStore, edit: impl FnOnce(KeyManagerBuilder) -> KeyManagerBuilder) -> (KeyManager, Seen) {
    let seen = Seen::default();
    let hook = Arc::clone(&seen);
    let builder = KeyManager::builder(store.clone()).format(KeyFormat::new("acme").unwrap()).event_interval(SHORT);
    let builder = builder.on_event(move |event| hook.lock().unwrap().push(event.clone()));
    (edit(builder).build().unwrap(), seen)
}

fn kinds(seen: &Seen) -> Vec<KeyEventKind> {
    seen.lock().unwrap().iter().map(KeyEvent::kind).collect()
}

async fn wait_for(seen: &Seen, count: usize) {
    until(async || seen.lock().unwrap().len() >= count).await;
}

#[tokio::test]
async fn the_hooks_of_every_node_see_the_changes_of_every_node_once_and_in_order() {
    let store = MemoryStore::new();
    let nodes: Vec<_> = (0..3).map(|_| node(&store, |builder| builder)).collect();
    // The first call of a manager waits until its hooks follow. Others start in the background.
    for (manager, _) in &nodes {
        manager.list(&admin(), tower_api_key::store::KeyFilter::default()).await.unwrap();
    }
    for round in 0..20_u8 {
        let (manager, _) = &nodes[usize::from(round) % 3];
        let issued = reader(manager).await;
        nodes[usize::from(round + 1) % 3].0.revoke(&admin(), id(&issued)).await.unwrap();
    }
    store.insert(KeyRecord::new("by hand", [1; 32]), None, None).await.unwrap().unwrap();
    let events = store.events_since(EventCursor::START, 99).await.unwrap().unwrap();
    assert_eq!(events.len(), 41);
    for (_, seen) in &nodes {
        wait_for(seen, 41).await;
        tokio::time::sleep(SHORT * 2).await;
        assert_eq!(*seen.lock().unwrap(), events);
    }
}

#[tokio::test]
async fn a_hook_with_a_stored_cursor_sees_what_happened_in_between() {
    let store = MemoryStore::new();
    let (first, seen) = node(&store, |builder| builder);
    let issued = reader(&first).await;
    wait_for(&seen, 1).await;
    let stored = seen.lock().unwrap()[0].cursor().unwrap().to_string();
    drop(first);
    store.revoke(&id(&issued).into(), None).await.unwrap().unwrap();
    let (_second, seen) = node(&store, |builder| builder.events_from(stored.parse().unwrap()));
    wait_for(&seen, 1).await;
    assert_eq!(kinds(&seen), [KeyEventKind::Revoked]);
    let (third, seen) = node(&store, |builder| builder);
    reader(&third).await;
    wait_for(&seen, 1).await;
    assert_eq!(kinds(&seen), [KeyEventKind::Issued], "without a cursor, what happened before is not seen");
}

#[tokio::test]
async fn the_hooks_lose_nothing_while_the_registry_fails() {
    let seen = Seen::default();
    let hook = Arc::clone(&seen);
    let (api, manager) = Api::managed(|builder| {
        builder.event_interval(SHORT).on_event(move |event| hook.lock().unwrap().push(event.clone()))
    });
    let issued = reader(&manager).await;
    wait_for(&seen, 1).await;
    api.store.break_events(true);
    manager.disable(&admin(), id(&issued)).await.unwrap();
    manager.revoke(&admin(), id(&issued)).await.unwrap();
    tokio::time::sleep(SHORT * 5).await;
    assert_eq!(kinds(&seen), [KeyEventKind::Issued]);
    api.store.break_events(false);
    wait_for(&seen, 3).await;
    assert_eq!(kinds(&seen), [KeyEventKind::Issued, KeyEventKind::Disabled, KeyEventKind::Revoked]);
}

#[tokio::test]
async fn each_expiry_is_told_once_by_any_number_of_nodes() {
    let (store, clock) = (MemoryStore::new(), Api::new().clock);
    let at = |clock: &TestClock| {
        let clock = clock.clone();
        move || clock.get()
    };
    let (manager, _) = node(&store, |builder| builder.clock(at(&clock)));
    let new = NewKey::service_account("short").expires_at(t0() + Duration::from_mins(1));
    let issued = manager.issue(&admin(), new).await.unwrap();
    reader(&manager).await;
    clock.set(t0() + Duration::from_mins(1));
    // New nodes look for expired keys at their start.
    let nodes: Vec<_> = (0..3).map(|_| node(&store, |builder| builder.clock(at(&clock)))).collect();
    for (_, seen) in &nodes {
        wait_for(seen, 1).await;
        tokio::time::sleep(SHORT * 2).await;
        let seen = seen.lock().unwrap();
        assert_eq!((seen.len(), seen[0].kind(), seen[0].key_id().as_str()), (1, KeyEventKind::Expired, id(&issued)));
        assert_eq!((seen[0].at(), seen[0].organization()), (clock.get(), Some("acme")));
    }
}

#[tokio::test]
async fn old_events_are_deleted_after_the_time_that_is_set() {
    let (store, clock) = (MemoryStore::new(), Api::new().clock);
    let now = clock.clone();
    let (manager, seen) = node(&store, |builder| builder.clock(move || now.get()));
    reader(&manager).await;
    clock.set(t0() + Duration::from_hours(2));
    reader(&manager).await;
    wait_for(&seen, 2).await;
    let kept = async || store.events(&EventFilter::organization("acme")).await.unwrap().unwrap().len();
    assert_eq!(kept().await, 2, "90 days is the default");
    let now = clock.clone();
    let keeping = |builder: KeyManagerBuilder| builder.clock(move || now.get()).keep_events(Duration::from_hours(1));
    let (_other, _) = node(&store, keeping);
    until(async || kept().await == 1).await;
}
