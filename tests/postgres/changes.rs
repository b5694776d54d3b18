//! Every change is reported, from any client, and a feed that may have missed one returns an error.

use std::time::Duration;

use tower_api_key::{
    KeyRecord, KeyRegistry, Status,
    store::{ChangeFeed, Invalidation, PostgresChangeFeed, PostgresStore, RegistryError, UsageDelta},
};

use crate::{
    database::{Database, run},
    of_alice, refused, server,
};

async fn following(store: &PostgresStore) -> PostgresChangeFeed {
    let mut changes = store.change_feed();
    changes.subscribe().await.unwrap();
    changes
}

fn key(byte: u8) -> Invalidation {
    Invalidation::DigestPrefix([byte; 2])
}

#[tokio::test]
#[ignore = "needs postgres"]
async fn what_the_store_changes_is_told_and_a_use_is_not() {
    let (_server, database) = server().await;
    let (store, other) = (database.store().await, database.store().await);
    let mut changes = following(&other).await;
    let id = || "k".into();
    store.insert(of_alice("k", 1), None, None).await.unwrap().unwrap();
    assert_eq!(changes.heartbeat().await.unwrap(), [key(1)]);
    let renamed = store.get(&id()).await.unwrap().unwrap().with_name("links");
    let renamed = store.update(renamed, None).await.unwrap().unwrap();
    assert_eq!(changes.heartbeat().await.unwrap(), [key(1)]);
    let used = UsageDelta::accepted(id(), 7, std::time::SystemTime::UNIX_EPOCH);
    store.record_usage(&[used]).await.unwrap();
    assert_eq!(changes.heartbeat().await.unwrap(), []);
    store.rehash(&id(), &[1; 32].into(), &[2; 32].into(), None).await.unwrap().unwrap();
    assert_eq!(changes.heartbeat().await.unwrap(), [key(1), key(2)]);
    let old = store.get(&id()).await.unwrap().unwrap().with_replaced_by("new");
    store.replace(old, of_alice("new", 3), None).await.unwrap().unwrap();
    assert_eq!(changes.heartbeat().await.unwrap(), [key(2), key(3)]);
    store.revoke(&id(), None).await.unwrap().unwrap();
    assert_eq!(changes.heartbeat().await.unwrap(), [key(2)]);
    store.update(renamed, None).await.unwrap().unwrap_err();
    store.revoke(&id(), None).await.unwrap().unwrap_err();
    assert_eq!(changes.heartbeat().await.unwrap(), []);
    store.remove(&id(), None).await.unwrap().unwrap();
    store.remove_user(Some("acme"), "alice", None).await.unwrap().unwrap();
    assert_eq!(changes.heartbeat().await.unwrap(), [key(2), key(3)]);
}

#[tokio::test]
#[ignore = "needs postgres"]
async fn a_change_by_hand_is_told_with_its_commit() {
    let (_server, database) = server().await;
    let store = database.store().await;
    let mut changes = following(&store).await;
    store.insert(of_alice("k", 1), None, None).await.unwrap().unwrap();
    store.insert(of_alice("other", 2), None, None).await.unwrap().unwrap();
    assert_eq!(changes.heartbeat().await.unwrap(), [key(1), key(2)]);
    let revoke = "update api_keys set status = 'revoked' where id = 'k'";
    let mut hand = database.session().await;
    run(&mut hand, "begin").await;
    run(&mut hand, revoke).await;
    assert_eq!(changes.heartbeat().await.unwrap(), [], "no change is reported before its commit");
    run(&mut hand, "rollback").await;
    assert_eq!(changes.heartbeat().await.unwrap(), [], "a rolled-back change must not be reported");
    for (session, statement, told) in [
        ("", revoke, &[key(1)][..]),
        // A session in which ordinary triggers do not fire.
        ("set session_replication_role = replica; ", "update api_keys set status = 'active'", &[key(1)]),
        ("set search_path = ''; ", "update public.api_keys set name = 'x' where id = 'k'", &[key(1)]),
        (
            "create schema odd; create function odd.encode(bytea, text) returns text language sql as $$ select 'wrong' $$;
             set search_path = odd, pg_catalog, public; ",
            revoke,
            &[key(1)],
        ),
        ("", revoke, &[]), // it is revoked
        ("", "update api_keys set use_count = 99, last_used_at = 0", &[]),
        ("", "update api_keys set expires_at = 0 where id = 'other'", &[key(2)]),
        ("", "delete from api_keys where id = 'k'", &[key(1)]),
        ("", "truncate api_keys", &[Invalidation::All]),
    ] {
        database.sql(&format!("{session}{statement}")).await;
        assert_eq!(changes.heartbeat().await.unwrap(), told, "{session}{statement}");
    }
}

/// An edit based on an earlier read must not overwrite a manual change.
#[tokio::test]
#[ignore = "needs postgres"]
async fn an_edit_does_not_undo_a_change_by_hand() {
    let (_server, database) = server().await;
    let store = database.store().await;
    store.insert(of_alice("k", 1), None, None).await.unwrap().unwrap();
    let read = store.get(&"k".into()).await.unwrap().unwrap();
    database.sql("update api_keys set status = 'disabled', permissions = '{}' where id = 'k'").await;
    let late = store.update(read.with_name("late"), None).await.unwrap();
    assert_eq!(late.err(), Some(RegistryError::VersionConflict("k".into())));
    let stored = store.get(&"k".into()).await.unwrap().unwrap();
    assert_eq!((stored.status(), stored.version(), stored.name()), (Status::Disabled, 1, None));
    database.sql("update api_keys set use_count = 7").await;
    assert_eq!(store.get(&"k".into()).await.unwrap().unwrap().version(), 1);
    assert_eq!(store.update(stored.with_name("in time"), None).await.unwrap().unwrap().version(), 2);
}

#[tokio::test]
#[ignore = "needs postgres"]
async fn a_heartbeat_comes_behind_every_change_that_was_committed_before_it() {
    let (_server, database) = server().await;
    let mut changes = following(&database.store().await).await;
    let writers: Vec<_> = (0..4_u8)
        .map(|writer| {
            let url = database.url.clone();
            tokio::spawn(async move {
                let store = PostgresStore::connect(&url).await.unwrap();
                for byte in (writer..200).step_by(4) {
                    store.insert(of_alice(format!("k{byte}"), byte), None, None).await.unwrap().unwrap();
                }
            })
        })
        .collect();
    let (mut told, mut writing) = (Vec::new(), true);
    while writing {
        writing = writers.iter().any(|writer| !writer.is_finished());
        // Cancelled repeatedly, `next` loses no change.
        while let Ok(change) = tokio::time::timeout(Duration::from_micros(200), changes.next()).await {
            told.push(change.unwrap());
        }
        if !writing || told.len() % 3 == 0 {
            told.extend(changes.heartbeat().await.unwrap());
        }
    }
    for writer in writers {
        writer.await.unwrap();
    }
    let mut bytes: Vec<_> = told.iter().map(|change| (0..200).find(|byte| *change == key(*byte)).unwrap()).collect();
    bytes.sort_unstable();
    assert_eq!(bytes, (0..200).collect::<Vec<_>>());
}

#[tokio::test]
#[ignore = "needs postgres"]
async fn what_others_say_is_no_heartbeat_of_ours() {
    let (_server, database) = server().await;
    let store = database.store().await;
    let (mut here, mut there) = (following(&store).await, following(&store).await);
    assert_eq!(there.heartbeat().await.unwrap(), []);
    database.sql("notify tower_api_key, 'on the channel that everybody knows'; notify other, '0101'").await;
    assert_eq!(there.heartbeat().await.unwrap(), []);
    let something_new = "do $$ begin perform pg_notify('tower_api_key_' || nonce, 'something new') from api_keys_schema
        where nonce is not null; end $$";
    database.sql(something_new).await;
    assert_eq!(there.heartbeat().await.unwrap(), [Invalidation::All]);
    store.insert(of_alice("k", 1), None, None).await.unwrap().unwrap();
    assert_eq!(here.next().await.unwrap(), key(1), "heartbeats of the other feed are ignored");
    assert_eq!(here.heartbeat().await.unwrap(), [Invalidation::All], "with the heartbeat, and not before");
}

async fn end_listener(database: &Database) {
    let end =
        "select pg_terminate_backend(pid, 5000) from pg_stat_activity where application_name = 'tower-api-key changes'";
    database.sql(end).await;
}

#[tokio::test]
#[ignore = "needs postgres"]
async fn a_lost_connection_is_an_error_until_it_is_made_anew() {
    let (_server, database) = server().await;
    let store = database.store().await;
    let mut changes = store.change_feed();
    changes.next().await.unwrap_err();
    changes.heartbeat().await.unwrap_err();
    for heartbeat in [false, true] {
        changes.subscribe().await.unwrap();
        assert_eq!(changes.heartbeat().await.unwrap(), []);
        end_listener(&database).await;
        store
            .insert(KeyRecord::new(format!("k{heartbeat}"), [u8::from(heartbeat); 32]), None, None)
            .await
            .unwrap()
            .unwrap();
        if heartbeat {
            changes.heartbeat().await.unwrap_err();
        } else {
            let next = tokio::time::timeout(crate::support::bounds::NOTIFICATION, changes.next()).await;
            next.expect("it does not wait for a lost notification").unwrap_err();
        }
        // It missed the insert, so it must return an error.
        changes.next().await.unwrap_err();
        changes.heartbeat().await.unwrap_err();
    }
    changes.subscribe().await.unwrap();
    assert_eq!(changes.heartbeat().await.unwrap(), []);
}

#[tokio::test]
#[ignore = "needs postgres"]
async fn triggers_that_do_not_always_tell_are_an_error() {
    let (_server, database) = server().await;
    let store = database.store().await;
    for damage in [
        "alter table api_keys disable trigger all",
        "alter table api_keys enable trigger api_keys_tell",
        "alter table api_keys enable replica trigger api_keys_tell_all",
        "drop trigger api_keys_tell_all on api_keys",
    ] {
        let mut changes = following(&store).await;
        database.sql(damage).await;
        refused(changes.heartbeat().await, "triggers");
        refused(changes.subscribe().await, "triggers");
        if !damage.starts_with("drop") {
            let repair = "alter table api_keys enable always trigger api_keys_tell;
                alter table api_keys enable always trigger api_keys_tell_change;
                alter table api_keys enable always trigger api_keys_tell_all";
            database.sql(repair).await;
        }
    }
}

#[test]
#[ignore = "needs postgres"]
fn a_listener_may_outlive_its_runtime() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let ended = runtime();
    let (_server, _store, changes) = ended.block_on(async {
        let (server, database) = server().await;
        let store = database.store().await;
        let changes = following(&store).await;
        (server, store, changes)
    });
    drop(ended);
    drop(changes);
}
