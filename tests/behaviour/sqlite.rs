//! Tests the requirements of a file store beyond those of a registry.

mod roles;

use std::{fs, path::Path};

use crate::support::{
    bearer,
    registry::{admin, everything, reader, secrets_of_new_keys},
};
use sqlx::{AssertSqlSafe, SqlitePool, sqlite::SqliteConnectOptions};
use tempfile::TempDir;
use tower_api_key::{
    KeyFormat, KeyManager, KeyRecord, KeyRegistry, KeyStore, Permissions,
    manage::{EventCursor, FieldValue, KeyEventKind, KeyField, ManageError, NewKey},
    store::{KeyFilter, SqliteStore},
};

struct File {
    folder: TempDir,
}

impl File {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> std::path::PathBuf {
        self.folder.path().join("keys.db")
    }

    async fn open(&self) -> SqliteStore {
        SqliteStore::open(self.path()).await.unwrap()
    }

    /// The file as another program sees it.
    async fn raw(&self) -> SqlitePool {
        SqlitePool::connect_with(SqliteConnectOptions::new().filename(self.path())).await.unwrap()
    }
}

fn manager(store: SqliteStore) -> KeyManager {
    KeyManager::builder(store).format(KeyFormat::new("acme").unwrap()).build().unwrap()
}

/// A row that was edited wrongly by hand rejects its key, and keeps no other from a list.
#[tokio::test]
async fn a_wrong_list_of_addresses_allows_none_and_the_key_can_be_listed_and_mended() {
    let file = File::new();
    let store = file.open().await;
    let manager = manager(store.clone());
    let issued = reader(&manager).await;
    let id = issued.record().id();
    for wrong in ["'[\"10.0.0.1/8\"]'", "'null'", "''", "'{}'", "'10.0.0.0/8'", "'[7]'"] {
        let statement = format!("update api_keys set allowed_addresses = {wrong}");
        sqlx::query(AssertSqlSafe(statement)).execute(&file.raw().await).await.unwrap();
        let record = store.find(issued.record().digest()).await.unwrap().unwrap();
        assert_eq!(record.allowed_addresses(), Some(&[][..]), "{wrong}");
        let listed = manager.list(&admin(), KeyFilter::default()).await.unwrap();
        assert_eq!(listed.records.len(), 1);
    }
    let mended = tower_api_key::manage::UpdateKey::new().allowed_addresses(None);
    manager.edit(&admin(), id.clone(), mended).await.unwrap();
    assert_eq!(store.get(id).await.unwrap().unwrap().allowed_addresses(), None);
}

#[tokio::test]
async fn keys_survive_a_restart() {
    let file = File::new();
    let first = file.open().await;
    let issued = reader(&manager(first.clone())).await;
    first.close().await;
    let manager = manager(file.open().await);
    assert_eq!(manager.get(&admin(), issued.record().id().clone()).await.unwrap().name(), Some("reader"));
    let mut service = tower::Layer::layer(
        &manager.layer().build().unwrap(),
        tower::service_fn(async |_| {
            Ok::<_, std::convert::Infallible>(http::Response::new(crate::support::Body::default()))
        }),
    );
    let response = tower::Service::call(&mut service, bearer(issued.key().expose())).await.unwrap();
    assert_eq!(response.status(), 200);
}

/// Every file that SQLite has created, and a dump.
async fn everything_written(file: &File) -> Vec<u8> {
    let mut bytes = Vec::new();
    for entry in fs::read_dir(file.folder.path()).unwrap() {
        bytes.extend(fs::read(entry.unwrap().path()).unwrap());
    }
    let columns = "select group_concat('quote(' || name || ')', ' || ') from pragma_table_info('api_keys')";
    let columns: String = sqlx::query_scalar(columns).fetch_one(&file.raw().await).await.unwrap();
    let dump = sqlx::query_scalar::<_, String>(AssertSqlSafe(format!("select {columns} from api_keys")));
    for row in dump.fetch_all(&file.raw().await).await.unwrap() {
        bytes.extend(row.into_bytes());
    }
    bytes
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

#[tokio::test]
async fn no_plain_text_of_a_key_is_in_the_file_its_log_or_a_dump() {
    let file = File::new();
    let store = file.open().await;
    let manager = manager(store.clone());
    let secrets = secrets_of_new_keys(&manager).await;
    let check = async |when: &str| {
        let written = everything_written(&file).await;
        assert!(holds(&written, "a name to be found"), "the search finds what is there");
        assert!(fs::read_dir(file.folder.path()).unwrap().count() > 1 || when == "closed", "the log file exists");
        for secret in &secrets {
            assert!(!holds(&written, secret), "plain text of a key, {when}");
        }
    };
    check("open").await;
    store.close().await;
    check("closed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_may_open_a_new_file_at_once() {
    let file = File::new();
    let opening = (0..8).map(|_| tokio::spawn(SqliteStore::open(file.path())));
    for (number, opened) in opening.collect::<Vec<_>>().into_iter().enumerate() {
        let store = opened.await.unwrap().unwrap();
        let byte = u8::try_from(number).unwrap();
        store.insert(KeyRecord::new(format!("k{number}"), [byte; 32]), None, None).await.unwrap().unwrap();
    }
    let listed = file.open().await.list(&KeyFilter::default()).await.unwrap();
    assert_eq!(listed.len(), 8);
}

#[tokio::test]
async fn a_file_of_a_newer_version_is_refused_and_left_alone() {
    let file = File::new();
    file.open().await.close().await;
    sqlx::query("insert into api_keys_schema (version, works_with) values (99, 99)")
        .execute(&file.raw().await)
        .await
        .unwrap();
    let refused = SqliteStore::open(file.path()).await;
    assert!(matches!(refused, Err(sqlx::Error::Configuration(_))), "{refused:?}");
    let in_memory = SqliteStore::open(":memory:").await;
    assert!(matches!(in_memory, Err(sqlx::Error::Configuration(_))), "{in_memory:?}");
    let missing = SqliteStore::open(Path::new("/nowhere/keys.db")).await;
    assert!(matches!(missing, Err(sqlx::Error::Database(_))));
    fs::write(file.folder.path().join("text.db"), "this is not a database, but it is as long as one".repeat(20))
        .unwrap();
    SqliteStore::open(file.folder.path().join("text.db")).await.unwrap_err();
}

#[tokio::test]
async fn what_one_process_changes_another_sees_at_its_next_look_up() {
    let file = File::new();
    let (here, there) = (file.open().await, file.open().await);
    let manager = manager(here);
    let issued = reader(&manager).await;
    let digest = *issued.record().digest();
    let status = async || there.find(&digest).await.unwrap().map(|record| record.status());
    assert_eq!(status().await, Some(tower_api_key::Status::Active));
    manager.disable(&admin(), issued.record().id().clone()).await.unwrap();
    assert_eq!(status().await, Some(tower_api_key::Status::Disabled));
    manager.remove(&admin(), issued.record().id().clone()).await.unwrap();
    assert_eq!(status().await, None);
}

#[tokio::test]
async fn a_change_that_fails_in_the_middle_leaves_the_old_state() {
    let file = File::new();
    let store = file.open().await;
    let manager = manager(store.clone());
    let issued = reader(&manager).await;
    let id = issued.record().id().clone();
    let raw = file.raw().await;
    for trigger in [
        "create trigger broken after insert on api_keys begin select raise(abort, 'the disk is full'); end",
        "create trigger broken after insert on api_keys when new.replaces is not null begin select raise(rollback, 'x'); end",
    ] {
        sqlx::query(trigger).execute(&raw).await.unwrap();
        let regenerated = manager.regenerate(&admin(), id.clone()).await;
        assert!(matches!(regenerated, Err(ManageError::Store(_))));
        sqlx::query("drop trigger broken").execute(&raw).await.unwrap();
        let now = store.get(&id).await.unwrap().unwrap();
        assert_eq!((now.version(), now.status(), now.replaced_by()), (0, tower_api_key::Status::Active, None));
        assert_eq!(store.list(&KeyFilter::organization("acme").with_revoked()).await.unwrap().len(), 1);
    }
    manager.regenerate(&admin(), id).await.unwrap();
}

#[tokio::test]
async fn a_row_that_is_no_record_is_an_error_and_lets_nobody_in() {
    let file = File::new();
    let store = file.open().await;
    let issued = reader(&manager(store.clone())).await;
    for damage in [
        "permissions = '[]'",
        "permissions = '{\"links\": 7}'",
        "metadata = 'x'",
        "permissions = ''",
        "limits = ''",
        "limits = '[]'",
        "limits = '{\"daily\": -1}'",
        "limits = '{\"daily\": null}'",
        "limits = '{\"daily\": \"none\"}'",
    ] {
        let damaged = AssertSqlSafe(format!("update api_keys set {damage}"));
        sqlx::query(damaged).execute(&file.raw().await).await.unwrap();
        let found = store.find(issued.record().digest()).await;
        assert!(matches!(found, Err(sqlx::Error::Decode(_))), "{damage}: {found:?}");
        sqlx::query("update api_keys set permissions = '{}', metadata = '[]', limits = null")
            .execute(&file.raw().await)
            .await
            .unwrap();
    }
    assert!(store.find(issued.record().digest()).await.unwrap().unwrap().permissions().is_empty());
}

#[tokio::test]
async fn limits_that_another_program_sets_are_an_event_and_a_version() {
    let file = File::new();
    let store = file.open().await;
    let issued = reader(&manager(store.clone())).await;
    let id = issued.record().id();
    for statement in [
        "update api_keys set plan = 'pro', meter = 'shared', limits = '{\"daily\": 5, \"burst\": \"unlimited\"}'",
        "update api_keys set limits = '{\"daily\": 7}'",
        "delete from api_keys",
    ] {
        sqlx::query(statement).execute(&file.raw().await).await.unwrap();
        let Some(record) = store.get(id).await.unwrap() else { continue };
        assert_eq!((record.plan(), record.meter().as_str()), (Some("pro"), "shared"));
    }
    let events = store.events_since(EventCursor::START, 10).await.unwrap().unwrap();
    let seen = events.iter().map(|event| {
        let changes =
            event.changes().iter().filter(|change| matches!(change.field.as_str(), "plan" | "limits" | "meter"));
        let changes = changes.map(|change| (change.field, change.before.clone(), change.after.clone()));
        (event.kind(), event.version(), changes.collect::<Vec<_>>())
    });
    let limits = |limits: &[(&str, Option<u64>)]| {
        FieldValue::Limits(limits.iter().map(|(name, number)| ((*name).to_owned(), *number)).collect())
    };
    let (text, none) = (|text: &str| FieldValue::Text(text.to_owned()), FieldValue::Absent);
    let (first, second) = (limits(&[("burst", None), ("daily", Some(5))]), limits(&[("daily", Some(7))]));
    let [plan, numbers, meter] = [KeyField::Plan, KeyField::Limits, KeyField::Meter];
    assert_eq!(
        seen.skip(1).collect::<Vec<_>>(),
        [
            (
                KeyEventKind::Edited,
                1,
                vec![
                    (plan, none.clone(), text("pro")),
                    (numbers, none.clone(), first.clone()),
                    (meter, none.clone(), text("shared"))
                ]
            ),
            (KeyEventKind::Edited, 2, vec![(numbers, first, second.clone())]),
            (
                KeyEventKind::Removed,
                2,
                vec![(plan, text("pro"), none.clone()), (numbers, second, none.clone()), (meter, text("shared"), none)]
            ),
        ]
    );
}

#[tokio::test]
async fn a_wildcard_is_kept_as_what_it_was() {
    let file = File::new();
    let manager = manager(file.open().await);
    let literal = Permissions::new().grant("*", "read");
    let all = tower_api_key::manage::Actor::trusted(
        tower_api_key::Owner::ServiceAccount,
        everything().grant("*", "*").grant("*", "read").with_wildcards(),
    );
    for (permissions, allowed) in [(literal.clone(), false), (literal.with_wildcards(), true)] {
        let issued = manager.issue(&all, NewKey::service_account("x").permissions(permissions)).await.unwrap();
        let kept = manager.get(&all, issued.record().id().clone()).await.unwrap();
        assert_eq!(kept.permissions().allows("stats", "read"), allowed);
    }
}

#[tokio::test]
async fn a_dropped_change_frees_the_file() {
    let file = File::new();
    let store = file.open().await;
    for number in 0..20_u8 {
        let mut insert = Box::pin(store.insert(KeyRecord::new(format!("k{number}"), [number; 32]), None, None));
        for _ in 0..number % 5 {
            let waker = std::task::Waker::noop();
            if insert.as_mut().poll(&mut std::task::Context::from_waker(waker)).is_ready() {
                break;
            }
            tokio::task::yield_now().await;
        }
    }
    store.insert(KeyRecord::new("last", [255; 32]), None, None).await.unwrap().unwrap();
}

#[cfg(feature = "cache")]
#[tokio::test]
async fn a_cache_notices_what_another_has_changed_in_the_file() {
    use tower_api_key::{Lookup, Status, store::CachedStore};

    let file = File::new();
    let (here, elsewhere) = (file.open().await, file.open().await);
    let (kept, unknown) = (KeyRecord::new("k1", [1; 32]), KeyRecord::new("k2", [2; 32]));
    elsewhere.insert(kept.clone(), None, None).await.unwrap().unwrap();
    let cache = CachedStore::builder(here.clone(), here.change_feed()).build().unwrap();
    let is_kept = || matches!(cache.try_find(kept.digest()), Lookup::Found(_));
    crate::support::until(async || cache.find(kept.digest()).await.unwrap().is_some() && is_kept()).await;

    assert!(cache.find(unknown.digest()).await.unwrap().is_none());
    elsewhere.insert(unknown.clone(), None, None).await.unwrap().unwrap();
    assert!(cache.find(unknown.digest()).await.unwrap().is_some(), "a new key works at once");

    elsewhere.revoke(kept.id(), None).await.unwrap().unwrap();
    crate::support::until(async || !is_kept()).await;
    assert_eq!(cache.find(kept.digest()).await.unwrap().unwrap().status(), Status::Revoked);

    // By manual SQL, too.
    sqlx::query("delete from api_keys where id = 'k2'").execute(&file.raw().await).await.unwrap();
    crate::support::until(async || cache.find(unknown.digest()).await.unwrap().is_none()).await;
}
