//! Tests edits of keys: times, metadata, versions, and what a record says of them.

use tower_api_key::store::MemoryStore;

use crate::support::edits::check_all;

#[tokio::test(flavor = "multi_thread")]
async fn keys_in_memory_are_edited_within_the_bounds_of_the_actor() {
    check_all(MemoryStore::new()).await;
}

#[cfg(feature = "sqlite")]
#[tokio::test(flavor = "multi_thread")]
async fn keys_in_sqlite_are_edited_within_the_bounds_of_the_actor() {
    let folder = tempfile::tempdir().unwrap();
    let store = tower_api_key::store::SqliteStore::open(folder.path().join("keys.db")).await.unwrap();
    check_all(store.clone()).await;
    store.close().await;
}
