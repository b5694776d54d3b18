//! The roles in a file: lists that other programs write, and files of earlier versions.

use std::collections::BTreeMap;

use tower_api_key::{Permissions, Status, manage::UpdateKey, roles::LiveRoles};

use super::*;

/// A manager that knows the roles of these tests.
fn manager(store: SqliteStore) -> KeyManager {
    let roles = BTreeMap::from(["viewer", "editor"].map(|role| (role.to_owned(), Permissions::new())));
    let builder = KeyManager::builder(store).format(KeyFormat::new("acme").unwrap());
    builder.roles(LiveRoles::cached(roles)).build().unwrap()
}

async fn sql(file: &File, statement: &str) {
    sqlx::raw_sql(AssertSqlSafe(statement)).execute(&file.raw().await).await.unwrap();
}

fn roles(record: &KeyRecord) -> Vec<&str> {
    record.roles().collect()
}

/// A row that was edited wrongly by hand gives its key nothing, and keeps no other from a list.
#[tokio::test]
async fn a_wrong_list_of_roles_grants_none_and_the_key_can_be_listed_and_mended() {
    let file = File::new();
    let store = file.open().await;
    let manager = manager(store.clone());
    let new = NewKey::service_account("x").roles(["viewer"]);
    let issued = manager.issue(&admin(), new).await.unwrap();
    let id = issued.record().id();
    for wrong in [
        "'viewer'",
        "'null'",
        "''",
        "'{}'",
        "'[\"viewer\", 7]'",
        "'[\"viewer\", null]'",
        "'\"viewer\"'",
        "'[\"viewer\"'",
    ] {
        sql(&file, &format!("update api_keys set roles = {wrong}")).await;
        let record = store.find(issued.record().digest()).await.unwrap().unwrap();
        assert_eq!((roles(&record), record.status()), (vec![], Status::Active), "{wrong}");
        let listed = manager.list(&admin(), KeyFilter::default()).await.unwrap();
        assert_eq!(listed.records.len(), 1, "{wrong}");
    }
    manager.edit(&admin(), id.clone(), UpdateKey::new().roles(["editor"])).await.unwrap();
    assert_eq!(roles(&store.get(id).await.unwrap().unwrap()), ["editor"]);
}

#[tokio::test]
async fn roles_that_another_program_sets_are_an_event_and_a_version() {
    let file = File::new();
    let store = file.open().await;
    let issued = manager(store.clone()).issue(&admin(), NewKey::service_account("x")).await.unwrap();
    let id = issued.record().id();
    let before = store.get(id).await.unwrap().unwrap();
    for (statement, expected, version) in [
        ("update api_keys set roles = '[\"viewer\", \"editor\", \"viewer\"]'", &["editor", "viewer"][..], 1),
        ("update api_keys set roles = '[\"viewer\", \"editor\", \"viewer\"]'", &["editor", "viewer"], 1),
        ("update api_keys set roles = '[\"viewer\"]', name = 'renamed'", &["viewer"], 2),
        ("update api_keys set roles = null", &[], 3),
        ("update api_keys set roles = '[\"admin\"]'", &["admin"], 4),
    ] {
        sql(&file, statement).await;
        let record = store.get(id).await.unwrap().unwrap();
        assert_eq!((roles(&record), record.version()), (expected.to_vec(), version), "{statement}");
    }
    let late = store.update(before.with_name("late"), None).await.unwrap();
    assert!(late.is_err(), "an edit of an earlier read does not undo the change: {late:?}");
    sql(&file, "delete from api_keys").await;
    let row = "insert into api_keys (id, digest, version, status, permissions, wildcards, metadata, use_count, roles)
        values ('k', zeroblob(32), 0, 'active', '{}', 0, '{}', 0, '[\"viewer\"]')";
    sql(&file, row).await;

    let events = store.events_since(EventCursor::START, 10).await.unwrap().unwrap();
    let list = |names: &[&str]| FieldValue::Roles(names.iter().map(ToString::to_string).collect());
    let seen: Vec<_> = events[1..]
        .iter()
        .map(|event| {
            let change = event.changes().iter().find(|change| change.field == KeyField::Roles).unwrap();
            (event.kind(), event.version(), change.before.clone(), change.after.clone())
        })
        .collect();
    let none = || FieldValue::Absent;
    assert_eq!(
        seen,
        [
            (KeyEventKind::Edited, 1, none(), list(&["editor", "viewer"])),
            (KeyEventKind::Edited, 2, list(&["editor", "viewer"]), list(&["viewer"])),
            (KeyEventKind::Edited, 3, list(&["viewer"]), none()),
            (KeyEventKind::Edited, 4, none(), list(&["admin"])),
            (KeyEventKind::Removed, 4, list(&["admin"]), none()),
            (KeyEventKind::Issued, 0, none(), list(&["viewer"])),
        ]
    );
}

/// A process of the version before names the columns that it knows.
#[tokio::test]
async fn the_keys_of_a_file_without_the_column_have_no_roles_and_older_statements_keep_them() {
    let file = File::new();
    let options = SqliteConnectOptions::new().filename(file.path()).create_if_missing(true);
    let raw = SqlitePool::connect_with(options).await.unwrap();
    for migration in SqliteStore::MIGRATIONS.iter().filter(|migration| migration.version < 14) {
        sqlx::raw_sql(AssertSqlSafe(migration.script(None, None).unwrap())).execute(&raw).await.unwrap();
    }
    let row = "insert into api_keys (id, digest, version, status, permissions, wildcards, metadata, use_count, lineage)
        values ('k1', zeroblob(32), 3, 'active', '{\"links\": [\"read\"]}', 0, '{}', 5, 'k1')";
    sqlx::raw_sql(row).execute(&raw).await.unwrap();
    raw.close().await;

    let store = file.open().await;
    let id = "k1".into();
    let record = store.get(&id).await.unwrap().unwrap();
    assert_eq!((roles(&record), record.version(), record.use_count()), (vec![], 3, 5));
    assert!(record.permissions().allows("links", "read"));
    let told = store.events_since(EventCursor::START, 10).await.unwrap().unwrap();
    assert_eq!(told.len(), 1, "the migration is no change of a key");
    store.update(record.with_roles(["viewer"]), None).await.unwrap().unwrap();
    sql(&file, "update api_keys set version = 5, name = 'renamed', allowed_addresses = '[]' where id = 'k1'").await;
    let record = store.get(&id).await.unwrap().unwrap();
    assert_eq!((roles(&record), record.name(), record.version()), (vec!["viewer"], Some("renamed"), 5));
}

#[cfg(feature = "cache")]
#[tokio::test]
async fn a_cache_notices_roles_that_another_program_has_changed() {
    use tower_api_key::store::CachedStore;

    let file = File::new();
    let store = file.open().await;
    let record = KeyRecord::new("k1", [1; 32]).with_roles(["admin"]);
    store.insert(record.clone(), None, None).await.unwrap().unwrap();
    let cache = CachedStore::builder(store.clone(), store.change_feed()).build().unwrap();
    let cached = async || cache.find(record.digest()).await.unwrap().unwrap();
    crate::support::until(async || roles(&cached().await) == ["admin"]).await;
    sql(&file, "update api_keys set roles = null").await;
    crate::support::until(async || roles(&cached().await).is_empty()).await;
}
