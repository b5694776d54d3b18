//! Tests the events of a database: their order, changes by hand, roles, and earlier versions.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use sqlx::Row;
use tower_api_key::{
    Author, KeyFormat, KeyManager, KeyRegistry, Owner, Permissions,
    manage::{Actor, EventCursor, FieldChange, FieldValue, KeyEvent, NewKey},
    store::{PostgresStore, PostgresStoreBuilder},
};

use crate::{
    database::{Database, run},
    of_alice, server,
};

/// Later than any test runs.
fn later() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(4_000_000_000)
}

async fn all(store: &PostgresStore) -> Vec<KeyEvent> {
    store.events_since(EventCursor::START, 999).await.unwrap().unwrap()
}

fn shown(events: &[KeyEvent]) -> Vec<String> {
    let fields = |event: &KeyEvent| -> Vec<_> {
        event.changes().iter().map(|FieldChange { field, .. }| field.as_str()).collect()
    };
    let line = |event: &KeyEvent| format!("{} {} {}", event.kind(), event.version(), fields(event).join(" "));
    events.iter().map(|event| line(event).trim_end().to_owned()).collect()
}

/// Changes the name of a key in an open transaction, as the library does: the event, then the row.
async fn begin_a_change(database: &Database, id: &str) -> sqlx::PgConnection {
    let mut session = database.session().await;
    run(&mut session, &format!("begin; update api_keys set name = 'new' where id = '{id}'")).await;
    session
}

#[tokio::test]
#[ignore = "needs postgres"]
async fn a_consumer_misses_no_change_that_commits_out_of_order() {
    let (_server, database) = server().await;
    let store = database.store().await;
    for (id, byte) in [("a", 1), ("b", 2), ("c", 3)] {
        store.insert(of_alice(id, byte), None, None).await.unwrap().unwrap();
    }
    let mut cursor = store.newest_event().await.unwrap().unwrap();
    let mut first = begin_a_change(&database, "a").await;
    let mut second = begin_a_change(&database, "b").await;
    let mut seen = Vec::new();
    let read = async |cursor: &mut EventCursor, seen: &mut Vec<String>| {
        for event in store.events_since(*cursor, 1).await.unwrap().unwrap() {
            *cursor = event.cursor().unwrap();
            seen.push(event.key_id().to_string());
        }
    };
    read(&mut cursor, &mut seen).await;
    assert!(seen.is_empty(), "no event is read before its commit");
    run(&mut second, "commit").await;
    store.revoke(&"c".into(), None).await.unwrap().unwrap();
    for _ in 0..3 {
        read(&mut cursor, &mut seen).await;
    }
    assert_eq!(seen, ["b", "c"]);
    assert_eq!(store.newest_event().await.unwrap().unwrap(), cursor);
    run(&mut first, "commit").await;
    read(&mut cursor, &mut seen).await;
    assert_eq!(seen, ["b", "c", "a"], "the change that was committed last has the last event");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs postgres"]
async fn an_open_transaction_keeps_no_other_change_and_no_consumer_waiting() {
    let (_server, database) = server().await;
    let store = database.store().await;
    let manager = KeyManager::builder(store.clone()).format(KeyFormat::new("acme").unwrap()).build().unwrap();
    let all_of = Permissions::new().grant("apiKeys", "create");
    let actor = Actor::trusted(Owner::User("bob".into()), all_of).in_organization("acme");
    let prepared = manager.prepare_issue(&actor, NewKey::user("joined")).await.unwrap();
    store.insert(of_alice("a", 1), None, None).await.unwrap().unwrap();
    let mut hand = begin_a_change(&database, "a").await;
    prepared.insert(&store, &mut hand).await.unwrap();
    store.insert(of_alice("b", 2), None, None).await.unwrap().unwrap();
    let quickly = tokio::time::timeout(Duration::from_secs(3), async {
        store.revoke(&"b".into(), None).await.unwrap().unwrap();
        assert_eq!(shown(&all(&store).await), ["issued 0 status", "issued 0 status", "revoked 1 status"]);
        assert_eq!(store.prune_events(SystemTime::UNIX_EPOCH, 9).await.unwrap(), 0);
        assert_eq!(store.record_expiries(later(), 9).await.unwrap(), 0);
    });
    quickly.await.expect("an open transaction blocks nothing");
    run(&mut hand, "commit").await;
    let events = all(&store).await;
    assert_eq!(shown(&events[3..]), ["edited 1 name", "issued 0 name status"]);
    assert_eq!(events[4].author(), &Author::User("bob".into()), "the joined change has one event, with its author");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
#[ignore = "needs postgres"]
async fn several_consumers_see_each_event_of_many_writers_once_and_each_key_in_order() {
    let (_server, database) = server().await;
    let store = database.store().await;
    let is_done = Arc::new(AtomicBool::new(false));
    let consumers: Vec<_> = (0..3)
        .map(|_| {
            let (store, is_done) = (store.clone(), Arc::clone(&is_done));
            tokio::spawn(async move {
                let (mut cursor, mut seen) = (EventCursor::START, Vec::new());
                loop {
                    let was_done = is_done.load(Ordering::Acquire);
                    let events = store.events_since(cursor, 7).await.unwrap().unwrap();
                    if events.is_empty() && was_done {
                        return seen;
                    }
                    cursor = events.last().and_then(KeyEvent::cursor).unwrap_or(cursor);
                    seen.extend(events);
                }
            })
        })
        .collect();
    let writers: Vec<_> = (0..8_u8)
        .map(|writer| {
            let store = store.clone();
            tokio::spawn(async move {
                let id = || format!("k{writer}").into();
                store.insert(of_alice(id(), writer), None, None).await.unwrap().unwrap();
                for round in 0..40 {
                    let read = store.get(&id()).await.unwrap().unwrap();
                    store.update(read.with_name(round.to_string()), None).await.unwrap().unwrap();
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    is_done.store(true, Ordering::Release);
    let mut seen = Vec::new();
    for consumer in consumers {
        seen.push(consumer.await.unwrap());
    }
    assert_eq!(seen[0].len(), 8 * 41);
    for writer in 0..8 {
        let id = format!("k{writer}");
        let versions = seen[0].iter().filter(|event| event.key_id().as_str() == id).map(KeyEvent::version);
        assert_eq!(versions.collect::<Vec<_>>(), (0..=40).collect::<Vec<_>>());
    }
    assert!(seen.iter().all(|events| *events == seen[0]), "all consumers see one order");
}

#[tokio::test]
#[ignore = "needs postgres"]
async fn a_change_by_hand_has_one_event_and_a_change_by_the_library_no_second_one() {
    let (_server, database) = server().await;
    let open = || {
        let builder = PostgresStoreBuilder::from_options(database.url.parse().unwrap());
        builder.schema("auth").table_prefix("acme_").create_schema(true).open()
    };
    let (store, _second_node) = (open().await.unwrap(), open().await.unwrap());
    store.insert(of_alice("a", 1), None, None).await.unwrap().unwrap();
    store.disable(&"a".into(), None).await.unwrap().unwrap();
    for statement in [
        "update auth.acme_api_keys set name = 'new'",
        "update auth.acme_api_keys set use_count = 7, last_used_at = 1, expiry_notified = 3",
        "set session_replication_role = replica; update auth.acme_api_keys set status = 'active'",
        "begin; update auth.acme_api_keys set name = 'never'; rollback",
        "set search_path = ''; update auth.acme_api_keys set permissions = '{\"links\": [\"read\"]}', not_before = 5, name = null",
        "update auth.acme_api_keys set digest = sha256('x')",
        "update auth.acme_api_keys set plan = 'pro', meter = 'm', limits = '{\"daily\": 5, \"burst\": \"unlimited\"}'",
        "update auth.acme_api_keys set limits = '{\"daily\": 7}', meter = null",
        "update auth.acme_api_keys set status = 'revoked', replaced_by = 'b'",
        "delete from auth.acme_api_keys",
        "insert into auth.acme_api_keys (id, digest, version, status, organization, permissions, wildcards, metadata, use_count)
            select 'h' || n, sha256(n::text::bytea), 4, 'active', 'acme', '{}', false, '{}', 0 from generate_series(1, 2) as n",
        "truncate auth.acme_api_keys",
    ] {
        database.sql(statement).await;
    }
    let events = all(&store).await;
    assert_eq!(
        shown(&events),
        [
            "issued 0 status",
            "disabled 1 status",
            "edited 2 name",
            "enabled 3 status",
            "edited 4 name permissions not_before",
            "rehashed 5",
            "edited 6 plan limits meter",
            "edited 7 limits meter",
            "regenerated 8 status replaced_by",
            "removed 8 status permissions not_before replaced_by plan limits",
            "issued 4 status",
            "issued 4 status",
            "removed 4 status",
            "removed 4 status",
        ]
    );
    assert!(events[2..].iter().all(|event| *event.author() == Author::System && event.organization() == Some("acme")));
    let limits = |number, change: &FieldChange| match &change.after {
        FieldValue::Limits(limits) => limits.get("daily") == Some(&Some(number)),
        _ => false,
    };
    assert!(limits(5, &events[6].changes()[1]) && limits(7, &events[7].changes()[0]), "{:?}", &events[6..8]);
    assert_eq!(events[8].replacement().map(tower_api_key::KeyId::as_str), Some("b"));
    let mut session = database.session().await;
    let text = "select string_agg(events::text, ' ') as text from auth.acme_api_key_events as events";
    let text: String = sqlx::query(text).fetch_one(&mut session).await.unwrap().get("text");
    assert!(!text.contains("digest") && !text.contains("0101010101"), "a digest is in an event: {text}");
}

#[tokio::test]
#[ignore = "needs postgres"]
async fn a_role_that_may_change_keys_writes_events_and_cannot_read_the_nonce() {
    let (_server, database) = server().await;
    let store = database.store().await;
    database
        .sql(
            "create role hand login; grant select, insert, update, delete on api_keys to hand;
             create role thief login",
        )
        .await;
    store.insert(of_alice("a", 1), None, None).await.unwrap().unwrap();
    crate::database::sql(&database.as_role("hand"), "update api_keys set name = 'by hand'").await;
    assert_eq!(shown(&all(&store).await), ["issued 0 status", "edited 1 name"]);
    let mut hand = <sqlx::PgConnection as sqlx::Connection>::connect(&database.as_role("hand")).await.unwrap();
    for forbidden in [
        "select nonce from api_keys_schema",
        "insert into api_key_events (at, kind, key_id, version, author) values (1, 'revoked', 'a', 1, 'system')",
    ] {
        sqlx::raw_sql(forbidden).execute(&mut hand).await.unwrap_err();
    }
    let mut thief = <sqlx::PgConnection as sqlx::Connection>::connect(&database.as_role("thief")).await.unwrap();
    for forbidden in [
        "select * from api_key_events",
        "create temporary table fake (id text); create trigger fake after insert on fake for each row execute function api_key_events_note()",
    ] {
        sqlx::raw_sql(forbidden).execute(&mut thief).await.unwrap_err();
    }
}

#[tokio::test]
#[ignore = "needs postgres"]
async fn roles_of_earlier_tables_write_events_and_what_had_expired_is_not_told() {
    let (_server, database) = server().await;
    let mut session = database.session().await;
    for migration in PostgresStore::MIGRATIONS.iter().filter(|migration| migration.version < 8) {
        run(&mut session, &migration.script(None, None).unwrap()).await;
    }
    run(
        &mut session,
        "create role node login; grant select, insert, update, delete on api_keys to node; grant select on api_keys_schema to node;
         insert into api_keys (id, digest, version, status, organization, permissions, wildcards, metadata, use_count, expires_at, lineage)
         select 'k' || n, sha256(n::text::bytea), 0, 'active', 'acme', '{}', false, '{}', 0, n * 1000, 'k' || n from generate_series(1, 1200) as n",
    )
    .await;
    database.store().await;
    let node = PostgresStore::connect(database.as_role("node")).await.unwrap();
    assert_eq!(node.record_expiries(later(), 99).await.unwrap(), 0, "expired before the migration");
    assert_eq!(all(&node).await.len(), 0, "a migration is no change");
    node.revoke(&"k1".into(), None).await.unwrap().unwrap();
    let changed = node.get(&"k2".into()).await.unwrap().unwrap().with_expires_at(later());
    node.update(changed, None).await.unwrap().unwrap();
    let (one, two) = tokio::join!(node.record_expiries(later(), 99), node.record_expiries(later(), 99));
    assert_eq!(one.unwrap() + two.unwrap(), 1);
    assert_eq!(shown(&all(&node).await), ["revoked 1 status", "edited 1 expires_at", "expired 1"]);
}
