//! The registries that come with the library, by the suite that every registry must pass.
#![cfg(feature = "testkit")]

use tower_api_key::store::{MemoryStore, testkit};

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn memory_is_a_registry() {
    testkit::check(async || MemoryStore::new()).await;
}

#[cfg(feature = "sqlite")]
#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn sqlite_is_a_registry() {
    let folder = tempfile::tempdir().unwrap();
    let opened = std::sync::atomic::AtomicUsize::new(0);
    testkit::check(async || {
        let number = opened.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        tower_api_key::store::SqliteStore::open(folder.path().join(format!("{number}.db"))).await.unwrap()
    })
    .await;
}
