//! A channel that passes heartbeats but drops changes must be detected.

use std::time::Duration;

use tokio::time::sleep;
use tower_api_key::{
    KeyRegistry,
    store::{ChangeFeed, Invalidation, PostgresStore},
};

use crate::{bouncer::Bouncer, database::Server, of_alice, refused, server};

#[tokio::test]
#[ignore = "needs postgres"]
async fn what_a_trigger_of_the_house_makes_of_a_use_is_told() {
    let (_server, database) = server().await;
    let store = database.store().await;
    store.insert(of_alice("k", 1), None, None).await.unwrap().unwrap();
    let worn_out = "create function worn_out() returns trigger language plpgsql as
            $$ begin if new.use_count > 9 then new.status := 'disabled'; end if; return new; end $$;
        create trigger worn_out before update on api_keys for each row execute function worn_out()";
    database.sql(worn_out).await;
    let mut changes = store.change_feed();
    changes.subscribe().await.unwrap();
    database.sql("update api_keys set use_count = 9").await;
    assert_eq!(changes.heartbeat().await.unwrap(), []);
    database.sql("update api_keys set use_count = 10").await;
    assert_eq!(changes.heartbeat().await.unwrap(), [Invalidation::DigestPrefix([1, 1])]);
}

#[tokio::test]
#[ignore = "needs postgres"]
async fn another_table_in_the_place_of_the_first_is_an_error() {
    const WATCHED: &str =
        "create trigger api_keys_tell after insert or delete on copy for each row execute function api_keys_tell();
        create trigger api_keys_tell_change after update on copy for each row execute function api_keys_tell();
        create trigger api_keys_tell_all after truncate on copy for each statement execute function api_keys_tell();
        alter table copy enable always trigger api_keys_tell;
        alter table copy enable always trigger api_keys_tell_change;
        alter table copy enable always trigger api_keys_tell_all";
    let server = Server::start(&[]);
    for (damage, is_mended_by_connecting) in [
        (
            format!(
                "create table copy (like api_keys including all); {WATCHED};
                begin; alter table api_keys rename to old; alter table copy rename to api_keys; commit"
            ),
            true,
        ),
        (
            format!(
                "begin; create table copy (like api_keys including all); drop table api_keys; {WATCHED};
                alter table copy rename to api_keys; commit"
            ),
            true,
        ),
        ("create table vip () inherits (api_keys)".to_owned(), false),
    ] {
        let database = server.database().await;
        let store = database.store().await;
        let mut changes = store.change_feed();
        changes.subscribe().await.unwrap();
        assert_eq!(changes.heartbeat().await.unwrap(), []);
        database.sql(&damage).await;
        refused(changes.heartbeat().await, "triggers");
        assert_eq!(changes.subscribe().await.is_ok(), is_mended_by_connecting, "{damage}");
    }
}

#[cfg(feature = "cache")]
#[tokio::test]
#[ignore = "needs postgres"]
async fn a_key_that_was_unknown_a_moment_ago_works_at_once_on_the_other_node() {
    use tower_api_key::{KeyStore, store::CachedStore};

    let (_server, database) = server().await;
    let (here, there) = (database.store().await, database.store().await);
    let there = CachedStore::builder(there.clone(), there.change_feed()).build().unwrap();
    crate::support::until(async || there.status().is_following).await;
    for byte in 0..100 {
        for _ in 0..2 {
            assert!(there.find(&[byte; 32].into()).await.unwrap().is_none());
        }
        here.insert(of_alice(format!("k{byte}"), byte), None, None).await.unwrap().unwrap();
        assert!(there.find(&[byte; 32].into()).await.unwrap().is_some(), "key {byte}");
    }
    assert_eq!(there.status().lookups, 200);
}

/// A session's own notifications return through the pooler; those of other sessions do not.
#[tokio::test]
#[ignore = "needs pgbouncer"]
async fn behind_a_pooler_that_lends_by_transaction_no_heartbeat_comes_back() {
    let server = Server::start(&[]);
    for (mode, passes) in [("session", true), ("transaction", false)] {
        let database = server.database().await;
        let direct = database.store().await;
        let mode_of_pool = format!("pool_mode = {mode}");
        let bouncer =
            Bouncer::start(server.postgres.port, &[&mode_of_pool, "ignore_startup_parameters = extra_float_digits"]);
        let builder = PostgresStore::builder(bouncer.url("postgres", &database.name));
        let pooled = builder.operation_timeout(Duration::from_secs(2)).connect().await.unwrap();
        let mut changes = pooled.change_feed();
        let connected = changes.subscribe().await;
        assert!(connected.is_ok() || !passes, "{mode}: {connected:?}");
        sleep(Duration::from_millis(50)).await; // the pooler takes its server back
        direct.insert(of_alice("k", 1), None, None).await.unwrap().unwrap();
        match changes.heartbeat().await {
            Ok(told) => assert!(passes && told == [Invalidation::DigestPrefix([1, 1])], "{mode}: {told:?}"),
            Err(error) => assert!(!passes, "{mode}: {error}"),
        }
    }
}
