//! S8: processes of different versions over one file.

use sqlx::{SqlitePool, sqlite::SqliteConnectOptions};
use tower_api_key::{
    KeyRegistry, KeyStore, Status,
    store::{KeyFilter, SqliteStore, UsageDelta},
};

use super::{File, add, hex, key, sql};
use crate::support::t0;

const FIRST_TABLES: &str = include_str!("../../../src/store/sqlite/1.sql");

/// A process that runs while a newer one adds a column, and one that starts then.
#[tokio::test]
async fn s08_an_old_process_works_over_a_newer_file() {
    let file = File::new();
    let old = file.open().await;
    let raw = file.raw().await;
    sql(&raw, "alter table api_keys add column later text not null default 'x'").await;
    sql(&raw, "insert into api_keys_schema (version, works_with) values (99, 1)").await;
    for (store, name) in [(old, "a"), (file.open().await, "b")] {
        let [first, second, third] = [1, 2, 3].map(|number| format!("{name}{number}"));
        let byte = name.as_bytes()[0];
        add(&store, key(&first, byte)).await;
        let renamed = store.get(&first.as_str().into()).await.unwrap().unwrap().with_name("renamed");
        sql(&raw, format!("update api_keys set later = 'kept' where id = '{first}'")).await;
        let renamed = store.update(renamed, None).await.unwrap().unwrap();
        let new = key(&second, byte + 10).with_replaces(first.as_str());
        store.replace(renamed.with_replaced_by(second.as_str()), new, None).await.unwrap().unwrap();
        let kept = sqlx::query_scalar::<_, String>("select later from api_keys where id = ?").bind(&first);
        assert_eq!(kept.fetch_one(&raw).await.unwrap(), "kept", "an update keeps an unknown column");
        let revoked = store.revoke(&second.as_str().into(), None).await.unwrap().unwrap();
        assert_eq!(store.find(revoked.digest()).await.unwrap().unwrap().status(), Status::Revoked);
        let uses = [UsageDelta::accepted(first.as_str(), 1, t0())];
        store.record_usage(&uses).await.unwrap();
        store.rehash(&first.as_str().into(), &[byte; 32].into(), &[byte + 20; 32].into(), None).await.unwrap().unwrap();
        add(&store, key(&third, byte + 30)).await;
        store.remove(&third.as_str().into(), None).await.unwrap().unwrap();
        store.remove_user(Some("acme"), "alice", None).await.unwrap().unwrap();
        assert!(!store.list(&KeyFilter::organization("acme").with_revoked()).await.unwrap().is_empty());
    }
}

/// The file determines which library versions may open it.
#[tokio::test]
async fn s08_a_newer_file_says_which_library_it_needs() {
    for (row, opens) in [("99, 1", true), ("99, 2", true), ("99, 98", false), ("99, 99", false), ("99, null", false)] {
        let file = File::new();
        file.open().await.close().await;
        sql(&file.raw().await, format!("insert into api_keys_schema (version, works_with) values ({row})")).await;
        let opened = SqliteStore::open(file.path()).await;
        match opened {
            Ok(_) => assert!(opens, "{row}"),
            Err(sqlx::Error::Configuration(error)) => {
                assert!(!opens && error.to_string().contains("newer version of tower-api-key"), "{row}: {error}");
            }
            Err(error) => panic!("{row}: {error}"),
        }
    }
}

/// Several processes concurrently open a file of the first version, with keys.
#[tokio::test(flavor = "multi_thread")]
async fn s08_a_file_of_the_first_version_is_brought_up_to_date_with_its_keys() {
    let file = File::new();
    let raw = SqlitePool::connect_with(SqliteConnectOptions::new().filename(file.path()).create_if_missing(true));
    let raw = raw.await.unwrap();
    sql(&raw, FIRST_TABLES).await;
    sql(&raw, "create table api_keys_schema (version integer not null) strict; insert into api_keys_schema values (1)")
        .await;
    for number in 0..100_u8 {
        let digest = hex(&[number; 32]);
        let status = if number % 2 == 0 { "active" } else { "revoked" };
        // A chain of replacements in each ten keys.
        let replaces = if number % 10 == 0 { "null".to_owned() } else { format!("'k{:03}'", number - 1) };
        let row = format!(
            "'k{number:03}', x'{digest}', 3, '{status}', 'user', 'alice', 'acme', 'live', 'old', null, '{{\"links\":[\"read\"]}}', 0,
            '[[\"plan\",\"pro\"],[\"n\",\"{number}\"]]', 1, null, null, {replaces}, null, 5, 7"
        );
        sql(&raw, format!("insert into api_keys values ({row})")).await;
    }
    raw.close().await;
    let opening = (0..6).map(|_| tokio::spawn(SqliteStore::open(file.path()))).collect::<Vec<_>>();
    for opened in opening {
        let store = opened.await.unwrap().unwrap();
        for number in 0..100_u8 {
            let found = store.find(&[number; 32].into()).await.unwrap().unwrap();
            assert_eq!((found.status() == Status::Active, found.version(), found.use_count()), (number % 2 == 0, 3, 7));
            assert!(found.permissions().allows("links", "read"));
            assert_eq!(found.lineage().as_str(), format!("k{:03}", number / 10 * 10));
            assert_eq!((found.plan(), found.limits().count(), found.meter()), (None, 0, found.lineage()));
            assert_eq!(found.metadata().get("n"), Some(&number.to_string()));
            assert_eq!(found.metadata().get("plan").map(String::as_str), Some("pro"));
        }
        assert_eq!(store.list(&KeyFilter::organization("acme").limit(1000)).await.unwrap().len(), 50);
    }
    let raw = file.raw().await;
    let objects = "select count(*) from api_keys where json_type(metadata) = 'object' and lineage is not null";
    assert_eq!(sqlx::query_scalar::<_, i64>(objects).fetch_one(&raw).await.unwrap(), 100);
}
