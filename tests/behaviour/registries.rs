//! Tests the library's registries with the suite that every registry must pass.
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

#[cfg(feature = "postgres")]
async fn check_postgres(settings: &[&str]) {
    let server = crate::postgres::Server::start(settings);
    testkit::check(async || server.database().await.store().await).await;
}

#[cfg(feature = "postgres")]
#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
#[ignore = "needs postgres"]
async fn postgres_is_a_registry() {
    check_postgres(&[]).await;
}

/// Changes are serialized under any default isolation level of the server.
#[cfg(feature = "postgres")]
#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
#[ignore = "needs postgres"]
async fn postgres_is_a_registry_under_every_default_isolation() {
    check_postgres(&["default_transaction_isolation='repeatable read'"]).await;
    check_postgres(&["default_transaction_isolation='serializable'"]).await;
}

#[cfg(feature = "cache")]
#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn a_registry_in_a_cache_is_one_still() {
    testkit::check(async || {
        let store = MemoryStore::new();
        tower_api_key::store::CachedStore::builder(store.clone(), store.change_feed()).build().unwrap()
    })
    .await;
}
