//! Tests stores of meters, and the testkit for them.

#[path = "testkit/wrong_meters.rs"]
mod wrong_meters;

#[cfg(feature = "sqlite")]
mod sqlite {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tower_api_key::store::{SqliteStore, testkit};

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn meters_in_a_file_pass_the_testkit() {
        let folder = tempfile::tempdir().unwrap();
        let files = AtomicUsize::new(0);
        testkit::check_meters(async || {
            let file = format!("{}.db", files.fetch_add(1, Ordering::Relaxed));
            SqliteStore::builder(folder.path().join(file)).table_prefix("acme_").open().await.unwrap()
        })
        .await;
    }
}
