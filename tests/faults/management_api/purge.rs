//! M12: the documented purge of unused keys.

#[cfg(feature = "sqlite")]
use std::time::Duration;

/// The statement as documented.
#[cfg(feature = "sqlite")]
fn documented_purge() -> String {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/guide/src/runbooks.md")).unwrap();
    let statement =
        page.lines().find(|line| line.starts_with("delete from api_keys where status = 'revoked'")).unwrap();
    statement.split(';').next().unwrap().to_owned()
}

#[cfg(feature = "sqlite")]
const PURGED: [&str; 2] = ["never used", "used long ago"];

/// Keys of every kind; two of them are old enough to purge.
#[cfg(feature = "sqlite")]
fn some_keys() -> impl Iterator<Item = tower_api_key::KeyRecord> {
    use tower_api_key::{KeyRecord, Status};
    let day = |number: u64| std::time::SystemTime::UNIX_EPOCH + Duration::from_hours(24 * number);
    // 2026-01-01 is day 20454.
    let of = |id: &str, byte: u8| KeyRecord::new(id, [byte; 32]).with_created_at(day(20_000));
    [
        of("never used", 1).with_status(Status::Revoked),
        of("used long ago", 2).with_status(Status::Revoked).with_usage(1, day(20_100)),
        of("used lately", 3).with_status(Status::Revoked).with_usage(1, day(20_500)),
        of("made lately", 4).with_status(Status::Revoked).with_created_at(day(20_500)),
        of("works", 5),
        of("disabled", 6).with_status(Status::Disabled),
    ]
    .into_iter()
}

#[cfg(feature = "sqlite")]
#[tokio::test]
async fn m12_the_documented_purge_takes_keys_that_were_never_used_sqlite() {
    use sqlx::{Connection, SqliteConnection, sqlite::SqliteConnectOptions};
    use tower_api_key::{KeyRegistry, store::SqliteStore};
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.db");
    let store = SqliteStore::open(&path).await.unwrap();
    for record in some_keys() {
        store.insert(record, None, None).await.unwrap().unwrap();
    }
    let options = SqliteConnectOptions::new().filename(&path);
    let mut session = SqliteConnection::connect_with(&options).await.unwrap();
    sqlx::query(sqlx::AssertSqlSafe(documented_purge())).execute(&mut session).await.unwrap();
    for record in some_keys() {
        let is_there = store.get(record.id()).await.unwrap().is_some();
        assert_eq!(is_there, !PURGED.contains(&record.id().as_str()), "{}", record.id());
    }
}

#[cfg(all(feature = "sqlite", feature = "postgres"))]
#[tokio::test]
#[ignore = "needs postgres"]
async fn m12_the_documented_purge_takes_keys_that_were_never_used_postgres() {
    use tower_api_key::{KeyRegistry, store::PostgresStore};
    let server = crate::postgres_server::Server::start(&[]);
    let database = server.database().await;
    let store = PostgresStore::open(&database.url).await.unwrap();
    for record in some_keys() {
        store.insert(record, None, None).await.unwrap().unwrap();
    }
    sqlx::query(sqlx::AssertSqlSafe(documented_purge())).execute(&mut database.session().await).await.unwrap();
    for record in some_keys() {
        let is_there = store.get(record.id()).await.unwrap().is_some();
        assert_eq!(is_there, !PURGED.contains(&record.id().as_str()), "{}", record.id());
    }
}
