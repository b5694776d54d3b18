//! Tests tables of earlier versions, with keys.

use std::{sync::Arc, time::Duration};

use sqlx::Row;
use tower_api_key::{KeyRegistry, KeyStore, store::PostgresStore};

use crate::server;

const VERSION_2: [&str; 2] =
    [include_str!("../../src/store/postgres/1.sql"), include_str!("../../src/store/postgres/2.sql")];

/// The rows of the version before: metadata is an array of pairs, and there is no lineage. In each
/// ten keys, each key has replaced the one before.
const ROWS: &str = "insert into api_keys
    select 'k' || lpad(n::text, 6, '0'), sha256(n::text::bytea), 3, 'active', 'user', 'alice', 'acme', 'live', 'old', null,
        '{\"links\": [\"read\"]}', false, jsonb_build_array(jsonb_build_array('n', n::text)), 1, null, null,
        case when n % 10 > 0 then 'k' || lpad((n - 1)::text, 6, '0') end, null, 5, 7
    from generate_series(0, 2999) as n";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs postgres"]
async fn tables_of_version_2_are_migrated_in_batches_with_their_keys() {
    let (_server, database) = server().await;
    database.sql("create table api_keys_schema (version bigint primary key, works_with bigint not null)").await;
    database.sql(VERSION_2[0]).await;
    database.sql("insert into api_keys_schema values (1, 1)").await;
    database.sql(VERSION_2[1]).await;
    database.sql("insert into api_keys_schema values (2, 1)").await;
    database.sql(ROWS).await;
    let mut session = database.session().await;

    let url = Arc::new(database.url.clone());
    let opening: Vec<_> = (0..3)
        .map(|_| {
            tokio::spawn({
                let url = Arc::clone(&url);
                async move { PostgresStore::open(&*url).await }
            })
        })
        .collect();
    for opened in opening {
        let store = opened.await.unwrap().unwrap();
        for number in [0, 1, 9, 10, 555, 2999] {
            let record = store.get(&format!("k{number:06}").as_str().into()).await.unwrap().unwrap();
            assert!(store.find(record.digest()).await.unwrap().is_some());
            assert_eq!(record.lineage().as_str(), format!("k{:06}", number / 10 * 10));
            assert_eq!(record.metadata().get("n"), Some(&number.to_string()));
            assert_eq!((record.plan(), record.limits().count(), record.meter()), (None, 0, record.lineage()));
            assert_eq!(record.version(), 3, "the migration is not a change of the key");
        }
    }
    let left = "select count(*) as count from api_keys where lineage is null or jsonb_typeof(metadata) <> 'object'";
    let left: i64 = sqlx::query(left).fetch_one(&mut session).await.unwrap().get("count");
    assert_eq!(left, 0);
    // No transaction has changed, and locked, more rows than one batch has.
    let most = "select max(rows) as most from (select count(*) as rows from api_keys group by xmin::text) as batches";
    let most: i64 = sqlx::query(most).fetch_one(&mut session).await.unwrap().get("most");
    assert!(most <= 25, "one transaction has changed {most} rows");
    // A change by hand still notifies.
    database.sql("update api_keys set metadata = '{}' where id = 'k000001'").await;
    let mut listener = sqlx::postgres::PgListener::connect(&database.url).await.unwrap();
    listener.listen("tower_api_key").await.unwrap();
    database.sql("update api_keys set use_count = 8, expiry_notified = 5 where id = 'k000001'").await;
    assert!(tokio::time::timeout(Duration::from_millis(300), listener.recv()).await.is_err(), "no cache needs this");
    database.sql("update api_keys set metadata = '{\"a\": \"b\"}' where id = 'k000001'").await;
    assert_eq!(listener.recv().await.unwrap().payload().len(), 4);
    let version =
        sqlx::query("select version from api_keys where id = 'k000001'").fetch_one(&mut session).await.unwrap();
    assert_eq!(version.get::<i64, _>("version"), 5);
}

/// Times 4,000 batches of migration 4 among 1,000,000 rows, as `open` runs them, and 4,000 of a
/// single row, which show the stalls of the disk.
#[tokio::test]
#[ignore = "needs postgres"]
async fn figures_of_the_batches_of_migration_4() {
    let server = crate::database::Server::start(&["shared_buffers=512MB", "max_wal_size=8GB"]);
    let database = server.database().await;
    database.sql("create table api_keys_schema (version bigint primary key, works_with bigint not null)").await;
    database.sql(VERSION_2[0]).await;
    database.sql("insert into api_keys_schema values (1, 1)").await;
    database.sql(VERSION_2[1]).await;
    database.sql("insert into api_keys_schema values (2, 1)").await;
    for index in PostgresStore::MIGRATIONS[1].indexes {
        database.sql(&index.concurrently(None, None).unwrap()).await;
    }
    database.sql("alter table api_keys disable trigger all").await;
    database.sql(&ROWS.replace("2999", "999999")).await;
    for trigger in ["api_keys_tell", "api_keys_tell_change", "api_keys_tell_all", "api_keys_version"] {
        database.sql(&format!("alter table api_keys enable always trigger {trigger}")).await;
    }
    database.sql("vacuum analyze api_keys").await;
    let started = tokio::time::Instant::now();
    database.sql(&PostgresStore::MIGRATIONS[2].script(None, None).unwrap()).await;
    println!("migration 3: {:?}", started.elapsed());
    let batch = PostgresStore::MIGRATIONS[3].batch.unwrap();
    let mut session = database.session().await;
    // One row after the other from the middle of the table on, then batches from its beginning.
    for (rows, first) in [(1, 500_000), (25, 0)] {
        let mut times = Vec::new();
        for number in 0..4_000 {
            let started = tokio::time::Instant::now();
            let begin = first + number * rows;
            let after = if begin == 0 { String::new() } else { format!("k{:06}", begin - 1) };
            let query = sqlx::query(batch).bind(after).bind(format!("k{:06}", begin + rows - 1));
            assert_eq!(query.execute(&mut session).await.unwrap().rows_affected(), rows);
            times.push(started.elapsed());
        }
        times.sort();
        let [median, slow, longest] = [2000, 3960, 3999].map(|number| times[number]);
        println!("4,000 batches of {rows} rows: median {median:?}, p99 {slow:?}, longest {longest:?}");
    }
}
