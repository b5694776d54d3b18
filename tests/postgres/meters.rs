//! Tests meters over a database that nodes share.

use tower_api_key::store::{PostgresStore, testkit};

use crate::server;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs postgres"]
async fn meters_in_a_database_pass_the_testkit() {
    let (server, _database) = server().await;
    testkit::check_meters(async || server.database().await.store().await).await;
    testkit::check_meters(async || {
        let url = server.database().await.url;
        PostgresStore::builder(url).schema("auth").create_schema(true).table_prefix("acme_").open().await.unwrap()
    })
    .await;
}
