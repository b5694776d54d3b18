//! Tests that every store keeps where a key was found, and that each way to read events shows it.

use std::{
    sync::{Arc, Mutex},
    time::SystemTime,
};

use serde_json::{Value, json};
use tower_api_key::{
    Author, KeyFormat, KeyManager, KeyRegistry,
    manage::{EventView, KeyEvent, KeyEventKind, Leak, LeakAction, NewKey},
    store::MemoryStore,
};

use super::{URL, leak, registry::OwnRegistry, reports_of};
use crate::support::registry::{admin, id, text};

/// Reports keys at places with and without a URL, and reads the events back in each way.
async fn check(store: impl KeyRegistry) {
    let manager = KeyManager::builder(store).format(KeyFormat::new("acme").unwrap()).build().unwrap();
    for (place, action) in [
        (leak(), LeakAction::Revoke),
        (Leak::new("gist_comment"), LeakAction::Disable),
        (Leak::new("npm").with_url("http://a.example/\"%00\\?q='"), LeakAction::Notify),
    ] {
        let start = manager.newest_event().await.unwrap().unwrap();
        let issued = manager.issue(&admin(), NewKey::service_account("reported")).await.unwrap();
        manager.report_leak(issued.key(), place.clone(), action).await.unwrap();
        let listed = reports_of(&manager, &issued).await;
        let streamed = manager.events_since(start, 10).await.unwrap().unwrap();
        assert_eq!((listed[0].kind(), listed[0].leak()), (KeyEventKind::Leaked, Some(&place)));
        assert_eq!((listed.len(), streamed.len(), streamed[0].leak()), (1, 2, None));
        assert_eq!((listed[0].id(), listed[0].leak()), (streamed[1].id(), streamed[1].leak()));
        assert_eq!(listed[0].changes(), streamed[1].changes(), "where it was found is no field of the key");
        assert_eq!(listed[0].changes().len(), usize::from(action != LeakAction::Notify));
        let record = manager.get(&admin(), id(&issued)).await.unwrap();
        assert_eq!((record.version(), listed[0].version()), (1, 1));
        assert!(!format!("{listed:?} {record:?}").contains(text(&issued)));
    }
}

#[tokio::test]
async fn memory_keeps_where_a_key_was_found() {
    check(MemoryStore::new()).await;
}

#[cfg(feature = "sqlite")]
#[tokio::test]
async fn a_file_keeps_where_a_key_was_found() {
    let folder = tempfile::tempdir().unwrap();
    check(tower_api_key::store::SqliteStore::open(folder.path().join("keys.db")).await.unwrap()).await;
}

/// Another program may write a row, and an event is shown and sent as it is.
#[cfg(feature = "sqlite")]
#[tokio::test]
async fn a_row_that_another_program_has_written_wrongly_is_read_as_far_as_it_goes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.db");
    let store = tower_api_key::store::SqliteStore::open(&path).await.unwrap();
    let manager = KeyManager::builder(store).format(KeyFormat::new("acme").unwrap()).build().unwrap();
    let issued = manager.issue(&admin(), NewKey::service_account("reported")).await.unwrap();
    manager.report_leak(issued.key(), leak(), LeakAction::Notify).await.unwrap();
    let pool = sqlx::SqlitePool::connect(&format!("sqlite:{}", path.display())).await.unwrap();
    for (after, expected) in [
        ("{}", None),
        (r#"{"leak": 5}"#, None),
        (r#"{"leak": {}}"#, Some(Leak::new("unknown"))),
        (r#"{"leak": {"source": 7, "url": ["https://a.example"]}}"#, Some(Leak::new("unknown"))),
        (r#"{"leak": {"source": "a b", "url": "javascript:alert(1)"}}"#, Some(Leak::new("unknown"))),
        (r#"{"leak": {"source": "npm", "more": 1}}"#, Some(Leak::new("npm"))),
    ] {
        let update = sqlx::query("update api_key_events set after = ?1 where kind = 'leaked'").bind(after);
        update.execute(&pool).await.unwrap();
        assert_eq!(reports_of(&manager, &issued).await[0].leak(), expected.as_ref(), "{after}");
    }
}

#[cfg(all(feature = "cache", feature = "sqlite"))]
#[tokio::test]
async fn a_cache_does_not_hide_a_new_key_from_a_report() {
    use tower_api_key::store::{CachedStore, SqliteStore};
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path().join("keys.db")).await.unwrap();
    let cached = CachedStore::builder(store.clone(), store.change_feed()).build().unwrap();
    let cached = KeyManager::builder(cached).format(KeyFormat::new("acme").unwrap()).build().unwrap();
    let other = KeyManager::builder(store).format(KeyFormat::new("acme").unwrap()).build().unwrap();
    let key = KeyFormat::new("acme").unwrap().generate().unwrap();
    let unknown = cached.report_leak(&key, leak(), LeakAction::Revoke).await.unwrap();
    assert!(unknown.record().is_none());
    let imported = other.import(&admin(), &key, NewKey::service_account("new")).await.unwrap();
    let known = cached.report_leak(&key, leak(), LeakAction::Revoke).await.unwrap();
    assert_eq!(known.record().map(tower_api_key::KeyRecord::id), Some(imported.id()));
}

#[tokio::test]
async fn a_hook_receives_the_report_also_if_no_events_are_kept() {
    let told = Arc::new(Mutex::new(Vec::<KeyEvent>::new()));
    let hook = Arc::clone(&told);
    let builder = KeyManager::builder(OwnRegistry::default()).format(KeyFormat::new("acme").unwrap());
    let manager = builder.on_event(move |event| hook.lock().unwrap().push(event.clone())).build().unwrap();
    let issued = manager.issue(&admin(), NewKey::service_account("reported")).await.unwrap();
    for action in [LeakAction::Notify, LeakAction::Revoke, LeakAction::Revoke] {
        manager.report_leak(issued.key(), leak(), action).await.unwrap();
    }
    let told = told.lock().unwrap();
    let of =
        |event: &KeyEvent| (event.kind(), event.version(), event.reason().map(str::to_owned), event.leak().cloned());
    let expected = [(1, None), (2, Some("leaked: commit".to_owned()))];
    let expected = expected.map(|(version, reason)| (KeyEventKind::Leaked, version, reason, Some(leak())));
    assert_eq!(told[1..].iter().map(of).collect::<Vec<_>>(), expected);
    assert_eq!((told[1].organization(), told[1].author()), (Some("acme"), &Author::System));
}

#[test]
fn the_json_of_an_event_shows_where_a_key_was_found() {
    let event = KeyEvent::new(KeyEventKind::Leaked, "k1", 3, Author::System, SystemTime::UNIX_EPOCH);
    let shown = |event: &KeyEvent| serde_json::to_value(EventView::from(event)).unwrap();
    assert_eq!(shown(&event)["leak"], Value::Null);
    let event = event.with_leak(leak());
    assert_eq!(
        (&shown(&event)["kind"], &shown(&event)["leak"]),
        (&json!("leaked"), &json!({"source": "commit", "url": URL}))
    );
    assert_eq!(shown(&event.with_leak(Leak::new("npm")))["leak"], json!({"source": "npm", "url": null}));
}
