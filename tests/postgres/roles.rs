//! The roles of keys: lists that other programs write, and tables of earlier versions.

use tower_api_key::{
    KeyRecord, KeyRegistry, KeyStore,
    manage::{EventCursor, FieldValue, KeyEventKind, KeyField},
    store::{ChangeFeed, Invalidation, KeyFilter, PostgresStore},
};

use crate::{database::run, of_alice, server};

fn roles(record: &KeyRecord) -> Vec<&str> {
    record.roles().collect()
}

/// A row that was edited wrongly by hand gives its key nothing, and keeps no other from a list.
#[tokio::test]
#[ignore = "needs postgres"]
async fn a_wrong_list_of_roles_grants_none_and_the_key_can_be_listed_and_mended() {
    let (_server, database) = server().await;
    let store = database.store().await;
    store.insert(of_alice("k", 1).with_roles(["viewer"]), None, None).await.unwrap().unwrap();
    store.insert(of_alice("other", 2).with_roles(["viewer"]), None, None).await.unwrap().unwrap();
    for wrong in
        ["'null'", "'{}'", "'7'", "'\"viewer\"'", "'[\"viewer\", 7]'", "'[\"viewer\", null]'", "'[[\"viewer\"]]'"]
    {
        database.sql(&format!("update api_keys set roles = {wrong} where id = 'k'")).await;
        let record = store.find(&[1; 32].into()).await.unwrap().unwrap();
        assert!(roles(&record).is_empty(), "{wrong}: {record:?}");
        let listed = store.list(&KeyFilter::organization("acme")).await.unwrap();
        assert_eq!(listed.iter().map(roles).collect::<Vec<_>>(), [vec!["viewer"], vec![]], "{wrong}");
    }
    let mended = store.get(&"k".into()).await.unwrap().unwrap().with_roles(["editor"]);
    store.update(mended, None).await.unwrap().unwrap();
    assert_eq!(roles(&store.get(&"k".into()).await.unwrap().unwrap()), ["editor"]);
}

#[tokio::test]
#[ignore = "needs postgres"]
async fn roles_that_another_program_sets_are_told_to_caches_and_are_an_event_and_a_version() {
    let (_server, database) = server().await;
    let store = database.store().await;
    store.insert(of_alice("k", 1), None, None).await.unwrap().unwrap();
    let mut changes = store.change_feed();
    changes.subscribe().await.unwrap();
    let told = [Invalidation::DigestPrefix([1; 2])];
    for (statement, is_told, expected, version) in [
        ("update api_keys set roles = '[\"viewer\", \"editor\", \"viewer\"]'", true, &["editor", "viewer"][..], 1),
        ("update api_keys set roles = '[\"viewer\", \"editor\", \"viewer\"]'", false, &["editor", "viewer"], 1),
        ("update api_keys set roles = '[\"viewer\"]', name = 'renamed'", true, &["viewer"], 2),
        ("set session_replication_role = replica; update api_keys set roles = null", true, &[], 3),
        ("set search_path = ''; update public.api_keys set roles = '[\"admin\"]'", true, &["admin"], 4),
    ] {
        database.sql(statement).await;
        let expected_told: &[_] = if is_told { &told } else { &[] };
        assert_eq!(changes.heartbeat().await.unwrap(), expected_told, "{statement}");
        let record = store.get(&"k".into()).await.unwrap().unwrap();
        assert_eq!((roles(&record), record.version()), (expected.to_vec(), version), "{statement}");
    }
    database.sql("delete from api_keys").await;
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
        ]
    );
}

/// A node of the version before names the columns that it knows, while a newer node migrates.
#[tokio::test]
#[ignore = "needs postgres"]
async fn the_keys_of_tables_without_the_column_have_no_roles_and_older_statements_keep_them() {
    let (_server, database) = server().await;
    let mut older = database.session().await;
    for migration in PostgresStore::MIGRATIONS.iter().filter(|migration| migration.version < 14) {
        run(&mut older, &migration.script(None, None).unwrap()).await;
    }
    let row = |id: &str, roles: &str, value: &str| {
        format!(
            "insert into api_keys (id, digest, version, status, organization, permissions, wildcards, metadata, use_count, lineage{roles})
                values ('{id}', sha256('{id}'), 3, 'active', 'acme', '{{\"links\": [\"read\"]}}', false, '{{}}', 5, '{id}'{value})"
        )
    };
    run(&mut older, &row("k1", "", "")).await;

    let store = database.store().await;
    let id = "k1".into();
    let record = store.get(&id).await.unwrap().unwrap();
    assert_eq!((roles(&record), record.version(), record.use_count()), (vec![], 3, 5));
    let events = store.events_since(EventCursor::START, 10).await.unwrap().unwrap();
    assert_eq!(events.len(), 1, "the migration is no change of a key");
    store.update(record.with_roles(["viewer"]), None).await.unwrap().unwrap();
    run(&mut older, "update api_keys set version = 5, name = 'renamed', allowed_addresses = '[]' where id = 'k1'")
        .await;
    let record = store.get(&id).await.unwrap().unwrap();
    assert_eq!((roles(&record), record.name(), record.version()), (vec!["viewer"], Some("renamed"), 5));
    run(&mut older, &row("k2", "", "")).await;
    run(&mut older, &row("k3", ", roles", ", '[\"viewer\"]'")).await;
    let [two, three] =
        [store.get(&"k2".into()).await, store.get(&"k3".into()).await].map(|read| read.unwrap().unwrap());
    assert_eq!((roles(&two), roles(&three)), (vec![], vec!["viewer"]));
}
