//! Tests a store in a database that also holds other tables: a schema, a prefix, a table of the
//! same name.

use tower_api_key::{
    KeyRegistry, KeyStore,
    store::{ChangeFeed, PostgresStore, TablesError, testkit},
};

use crate::{database::Database, of_alice, server};

/// The stores of one database: as it is, with a schema, with a prefix, and with both.
async fn four_stores(database: &Database) -> [PostgresStore; 4] {
    database.sql("create schema auth").await;
    let builder = || PostgresStore::builder(&database.url).connections(4);
    [
        builder().open().await.unwrap(),
        builder().schema("auth").open().await.unwrap(),
        builder().table_prefix("acme_").open().await.unwrap(),
        builder().schema("auth").table_prefix("acme_").open().await.unwrap(),
    ]
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs postgres"]
async fn a_store_with_a_schema_or_a_prefix_has_its_own_keys_and_its_own_changes() {
    let (_server, database) = server().await;
    let stores = four_stores(&database).await;
    let mut feeds = stores.each_ref().map(PostgresStore::change_feed);
    for feed in &mut feeds {
        feed.subscribe().await.unwrap();
    }
    for (number, store) in (0..).zip(&stores) {
        store.insert(of_alice("k", number), None, None).await.unwrap().unwrap();
        for (other, feed) in (0..).zip(&mut feeds) {
            assert_eq!(feed.heartbeat().await.unwrap().len(), usize::from(number == other), "{number} {other}");
        }
    }
    for (number, store) in (0..).zip(&stores) {
        for digest in 0..4 {
            assert_eq!(store.find(&[digest; 32].into()).await.unwrap().is_some(), digest == number);
        }
    }
    stores[3].remove(&"k".into(), None).await.unwrap().unwrap();
    assert!(stores[2].get(&"k".into()).await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs postgres"]
async fn the_testkit_passes_in_a_schema_with_a_prefix() {
    let (server, _database) = server().await;
    testkit::check(async || {
        let database = server.database().await;
        // Nothing may depend on the search path.
        database.sql("create schema \"user\"; create schema other").await;
        let url = format!("{}?options=-csearch_path%3Dother", database.url);
        PostgresStore::builder(url).schema("user").table_prefix("acme_").open().await.unwrap()
    })
    .await;
}

#[tokio::test]
async fn a_schema_or_prefix_that_is_no_plain_name_is_refused() {
    let builder = || PostgresStore::builder("postgres://nobody@localhost:1/none");
    for (refused, expected) in [
        (builder().schema("Auth\"").connect().await, TablesError::Schema("Auth\"".into())),
        (builder().table_prefix("a-").open().await, TablesError::Prefix("a-".into())),
    ] {
        let Err(sqlx::Error::Configuration(error)) = refused else { panic!("{refused:?}") };
        assert_eq!(error.downcast_ref(), Some(&expected));
    }
}
