//! Tests webhooks over the stores of one process.

use tower_api_key::store::{MemoryStore, SqliteStore};

use crate::support::webhooks::check;

#[tokio::test]
async fn events_reach_their_endpoints_from_memory() {
    Box::pin(check(MemoryStore::new())).await;
}

#[tokio::test]
async fn events_reach_their_endpoints_from_a_file() {
    let folder = tempfile::tempdir().unwrap();
    Box::pin(check(SqliteStore::open(folder.path().join("keys.db")).await.unwrap())).await;
}
