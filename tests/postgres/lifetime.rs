//! Tests the greatest age of a connection.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tower_api_key::{KeyStore, store::PostgresStore};

use crate::{database::Database, server, support::until};

const MAX_LIFETIME: Duration = Duration::from_millis(200);

/// Returns the process ids of the sessions of stores.
async fn sessions(database: &Database) -> Vec<i32> {
    let pids = "select pid from pg_stat_activity where application_name = 'tower-api-key'";
    sqlx::query_scalar(pids).fetch_all(&mut database.session().await).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs postgres"]
async fn a_connection_that_is_too_old_is_replaced_and_no_call_fails() {
    let (_server, database) = server().await;
    database.store().await.close().await;
    let builder = PostgresStore::builder(&database.url).connections(4).max_lifetime(MAX_LIFETIME);
    let store = builder.connect().await.unwrap();
    let unlimited = PostgresStore::builder(format!("{}?application_name=unlimited", database.url));
    let unlimited = unlimited.max_lifetime(Duration::MAX).connect().await.unwrap();
    let mut first = Vec::new();
    // On a busy machine, a connection may be too old after its first use.
    until(async || {
        store.find(&[1; 32].into()).await.unwrap();
        first = sessions(&database).await;
        !first.is_empty()
    })
    .await;
    let end = Instant::now() + MAX_LIFETIME * 3;
    let calls = (0..8).map(|_| {
        let store = store.clone();
        tokio::spawn(async move {
            while Instant::now() < end {
                store.find(&[1; 32].into()).await.unwrap();
            }
        })
    });
    for calls in calls.collect::<Vec<_>>() {
        calls.await.unwrap();
    }
    until(async || !sessions(&database).await.iter().any(|pid| first.contains(pid))).await;
    // Those that were idle all the time end too.
    let used = sessions(&database).await;
    sleep(MAX_LIFETIME * 2).await;
    store.find(&[1; 32].into()).await.unwrap();
    until(async || !sessions(&database).await.iter().any(|pid| used.contains(pid))).await;
    unlimited.find(&[1; 32].into()).await.unwrap();
}
