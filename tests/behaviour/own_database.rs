//! Tests a store in a file that also holds the tables of the application.

use std::fs;

use sqlx::{AssertSqlSafe, SqlitePool, sqlite::SqliteConnectOptions};
use tempfile::TempDir;
use tower_api_key::{
    KeyRecord, KeyRegistry, KeyStore,
    store::{ChangeFeed, SqliteStore, SqliteStoreBuilder, TablesError, testkit},
};

fn file() -> (TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.db");
    (folder, path)
}

async fn pool(path: &std::path::Path) -> SqlitePool {
    SqlitePool::connect_with(SqliteConnectOptions::new().filename(path).create_if_missing(true)).await.unwrap()
}

async fn run(pool: &SqlitePool, sql: &str) {
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(pool).await.unwrap();
}

#[track_caller]
fn tables_error<T: std::fmt::Debug>(refused: Result<T, sqlx::Error>) -> TablesError {
    let Err(sqlx::Error::Configuration(error)) = refused else { panic!("{refused:?}") };
    error.downcast_ref::<TablesError>().unwrap().clone()
}

#[tokio::test]
async fn two_prefixes_in_one_file_share_no_key() {
    let (_folder, path) = file();
    let app = pool(&path).await;
    run(&app, "create table customers (id integer primary key)").await;
    let builder = || SqliteStoreBuilder::from_pool(&app);
    let plain = builder().open().await.unwrap();
    let acme = builder().table_prefix("acme_").open().await.unwrap();
    let mut changes = acme.change_feed();
    changes.subscribe().await.unwrap();
    plain.insert(KeyRecord::new("k", [1; 32]), None, None).await.unwrap().unwrap();
    // SQLite reports a change of the file: one too many costs a lookup, one too few is a fault.
    assert_eq!(changes.heartbeat().await.unwrap().len(), 1);
    assert!(acme.find(&[1; 32].into()).await.unwrap().is_none());
    assert!(acme.get(&"k".into()).await.unwrap().is_none());
    acme.insert(KeyRecord::new("k", [1; 32]), None, None).await.unwrap().unwrap();
    plain.remove(&"k".into(), None).await.unwrap().unwrap();
    acme.close().await;
    let again = SqliteStore::builder(&path).table_prefix("acme_").connect().await.unwrap();
    assert!(again.find(&[1; 32].into()).await.unwrap().is_some());
    assert!(plain.find(&[1; 32].into()).await.unwrap().is_none());
    let names = "select count(*) from sqlite_master where name like 'acme\\_api\\_key%' escape '\\'";
    let ours: i64 = sqlx::query_scalar(names).fetch_one(&app).await.unwrap();
    assert!(ours >= 7, "indexes have the prefix too: {ours}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn the_testkit_passes_with_a_prefix() {
    let folder = tempfile::tempdir().unwrap();
    let opened = std::sync::atomic::AtomicUsize::new(0);
    testkit::check(async || {
        let number = opened.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let path = folder.path().join(format!("{number}.db"));
        SqliteStore::builder(path).table_prefix("acme_").open().await.unwrap()
    })
    .await;
}

#[tokio::test]
async fn the_store_sets_what_it_depends_on_and_keeps_other_options() {
    let (_folder, path) = file();
    let options = SqliteConnectOptions::new()
        .filename(&path)
        .pragma("user_version", "7")
        .locking_mode(sqlx::sqlite::SqliteLockingMode::Exclusive)
        .synchronous(sqlx::sqlite::SqliteSynchronous::Off)
        .read_only(true);
    let store = SqliteStoreBuilder::from_options(options).open().await.unwrap();
    store.insert(KeyRecord::new("k", [1; 32]), None, None).await.unwrap().unwrap();
    let app = pool(&path).await;
    let kept: i64 = sqlx::query_scalar("pragma user_version").fetch_one(&app).await.unwrap();
    let mode: String = sqlx::query_scalar("pragma journal_mode").fetch_one(&app).await.unwrap();
    assert_eq!((kept, mode.as_str()), (7, "wal"));
    for memory in ["sqlite::memory:", "sqlite://:memory:"] {
        let refused = SqliteStoreBuilder::from_options(memory.parse().unwrap()).open().await.unwrap_err();
        assert!(refused.to_string().contains("MemoryStore"), "{refused}");
    }
    let bad = SqliteStore::builder(&path).table_prefix("Acme").open().await;
    assert_eq!(tables_error(bad), TablesError::Prefix("Acme".into()));
}

#[tokio::test]
async fn a_table_of_another_program_is_refused_by_name_and_left_alone() {
    for (table, named) in [
        ("create table API_keys (id integer primary key, secret text)", "API_keys"),
        ("create table api_keys_schema (name text)", "api_keys_schema"),
        ("create table t (a); create view api_keys as select a from t", "api_keys"),
    ] {
        let (folder, path) = file();
        let app = pool(&path).await;
        run(&app, table).await;
        app.close().await;
        let before = fs::read(&path).unwrap();
        for refused in [SqliteStore::open(&path).await, SqliteStore::builder(&path).connect().await] {
            let error = tables_error(refused);
            assert_eq!(error, TablesError::Foreign(named.into()));
            assert!(error.to_string().contains("`table_prefix`"), "{error}");
        }
        assert_eq!(fs::read(&path).unwrap(), before, "{table}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no other file is left behind");
        let store = SqliteStore::builder(&path).table_prefix("auth_").open().await.unwrap();
        store.insert(KeyRecord::new("k", [1; 32]), None, None).await.unwrap().unwrap();
    }
}

/// As MIGRATIONS.md says.
#[tokio::test]
async fn tables_made_by_another_tool_are_opened_as_they_are() {
    let (_folder, path) = file();
    let missing = SqliteStore::builder(&path).connect().await;
    assert!(missing.is_err() && !path.exists(), "{missing:?}");
    for prefix in [None, Some("acme_")] {
        let app = pool(&path).await;
        let builder = || match prefix {
            Some(prefix) => SqliteStore::builder(&path).table_prefix(prefix),
            None => SqliteStore::builder(&path),
        };
        for migration in SqliteStore::MIGRATIONS {
            let early = builder().connect().await.unwrap_err();
            assert!(early.to_string().contains("run the migrations"), "{early}");
            let mut transaction = app.begin().await.unwrap();
            let script = migration.script(None, prefix).unwrap();
            sqlx::raw_sql(AssertSqlSafe(script)).execute(&mut *transaction).await.unwrap();
            transaction.commit().await.unwrap();
        }
        let schema = async || {
            let schema = "select group_concat(name || sql, ';') from (select * from sqlite_master order by name)";
            sqlx::query_scalar::<_, String>(schema).fetch_one(&app).await.unwrap()
        };
        let by_hand = schema().await;
        for store in [builder().connect().await.unwrap(), builder().open().await.unwrap()] {
            store.insert(KeyRecord::new("k", [1; 32]), None, None).await.unwrap().unwrap();
            store.remove(&"k".into(), None).await.unwrap().unwrap();
        }
        assert_eq!(schema().await, by_hand, "open has nothing left to do");
        app.close().await;
    }
}

/// Each migration, batches included, is written for the prefix.
#[tokio::test]
async fn a_file_with_a_prefix_is_migrated_with_its_keys() {
    let (_folder, path) = file();
    let app = pool(&path).await;
    for migration in &SqliteStore::MIGRATIONS[..2] {
        run(&app, &migration.script(None, Some("acme_")).unwrap()).await;
    }
    run(
        &app,
        "insert into acme_api_keys (id, digest, version, status, permissions, wildcards, metadata, use_count)
            values ('k', zeroblob(32), 0, 'active', '{}', 0, '[[\"team\",\"infra\"]]', 0)",
    )
    .await;
    let store = SqliteStore::builder(&path).table_prefix("acme_").open().await.unwrap();
    let record = store.find(&[0; 32].into()).await.unwrap().unwrap();
    assert_eq!((record.id().as_str(), record.metadata()["team"].as_str()), ("k", "infra"));
}
