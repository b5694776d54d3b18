//! M2: an actor that is confined to its own keys reads no history of another one.

use tower_api_key::{
    KeyFormat, KeyManager, KeyRegistry,
    manage::{EventFilter, ImportKey, ManageError, NewKey},
    store::MemoryStore,
};

use crate::support::registry::{admin, id, user};

/// The id of a removed key can be imported again. Its events are those of the key before.
async fn an_id_that_was_anothers_opens_no_history(store: impl KeyRegistry) {
    let manager = KeyManager::builder(store).format(KeyFormat::new("acme").unwrap()).build().unwrap();
    let new = NewKey::user("of alice").metadata("salary", "12");
    let removed = manager.issue(&user("alice"), new).await.unwrap();
    manager.remove(&admin().because("left"), id(&removed)).await.unwrap();

    let mallory = user("mallory").own_keys_only();
    let import = ImportKey::digest([9; 32], NewKey::user("mine")).id(id(&removed));
    let taken = manager.import_many(&mallory, vec![import]).await.unwrap().remove(0);
    assert!(matches!(taken, Err(ManageError::OwnKeysOnly)), "{taken:?}");
    let history = manager.events(&mallory, EventFilter::default().key(id(&removed))).await;
    assert!(matches!(history, Err(ManageError::NotFound(_))), "{history:?}");
    let all = manager.events(&mallory, EventFilter::default()).await.unwrap();
    assert!(all.events.is_empty(), "{all:?}");
}

#[tokio::test]
async fn m02_an_id_that_was_anothers_opens_no_history_in_memory() {
    an_id_that_was_anothers_opens_no_history(MemoryStore::new()).await;
}

#[cfg(feature = "sqlite")]
#[tokio::test]
async fn m02_an_id_that_was_anothers_opens_no_history_in_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let store = tower_api_key::store::SqliteStore::open(folder.path().join("keys.db")).await.unwrap();
    an_id_that_was_anothers_opens_no_history(store).await;
}
