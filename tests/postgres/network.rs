//! Tests a server that does not respond, or no longer responds.

use tokio::time::Instant;
use tower_api_key::{
    KeyRegistry, KeyStore, Status,
    store::{ChangeFeed, PostgresStore},
};

use crate::{
    database::{Database, run},
    of_alice,
    relay::Relay,
    server,
    support::{
        bounds::{OPERATION_TIMEOUT, SESSION_END},
        until_within,
    },
};

/// Returns a store behind a relay, with a key in it.
async fn behind_a_relay(port: u16, database: &Database, connections: u32) -> (Relay, PostgresStore) {
    let relay = Relay::start(port).await;
    let builder =
        PostgresStore::builder(relay.url(&database.name)).connections(connections).operation_timeout(OPERATION_TIMEOUT);
    let store = builder.open().await.unwrap();
    store.insert(of_alice("k", 1), None, None).await.unwrap().unwrap();
    (relay, store)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs postgres"]
async fn a_network_that_swallows_everything_holds_up_nothing_for_longer_than_its_patience() {
    let (server, database) = server().await;
    let (relay, store) = behind_a_relay(server.postgres.port, &database, 2).await;
    relay.cut_all();
    let start = Instant::now();
    let look_ups: Vec<_> = (0..6)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move { store.find(&[1; 32].into()).await })
        })
        .collect();
    tokio::time::sleep(OPERATION_TIMEOUT / 10).await;
    for (number, look_up) in look_ups.into_iter().enumerate() {
        // Some callers give up, others wait.
        if number % 2 == 0 {
            look_up.abort();
        } else {
            look_up.await.unwrap().unwrap_err();
        }
    }
    assert!(start.elapsed() < OPERATION_TIMEOUT * 2, "{:?}", start.elapsed());
    relay.renew();
    let start = Instant::now();
    for _ in 0..2 {
        store.find(&[1; 32].into()).await.unwrap().unwrap();
        store.get(&"k".into()).await.unwrap().unwrap();
    }
    assert!(start.elapsed() < OPERATION_TIMEOUT, "the connections are usable at once: {:?}", start.elapsed());
}

/// After one connection failed, the others are not tried one by one.
#[tokio::test]
#[ignore = "needs postgres"]
async fn one_silent_connection_is_enough_to_give_up_all_idle_ones() {
    let (server, database) = server().await;
    let (relay, store) = behind_a_relay(server.postgres.port, &database, 4).await;
    let digest = [1; 32].into();
    let (a, b, c) = tokio::join!(store.find(&digest), store.find(&digest), store.find(&digest));
    assert!(a.is_ok() && b.is_ok() && c.is_ok());
    relay.cut_all();
    store.find(&digest).await.unwrap_err();
    relay.renew();
    for _ in 0..4 {
        store.find(&digest).await.unwrap().unwrap();
    }
}

#[tokio::test]
#[ignore = "needs postgres"]
async fn a_dropped_change_gives_its_place_back_at_once() {
    let (server, database) = server().await;
    let (relay, store) = behind_a_relay(server.postgres.port, &database, 1).await;
    relay.cut_all();
    tokio::time::timeout(OPERATION_TIMEOUT / 10, store.revoke(&"k".into(), None)).await.unwrap_err();
    relay.renew();
    let start = Instant::now();
    store.revoke(&"k".into(), None).await.unwrap().unwrap();
    assert!(start.elapsed() < OPERATION_TIMEOUT / 2, "{:?}", start.elapsed());
}

#[tokio::test]
#[ignore = "needs postgres"]
async fn a_caller_that_goes_away_costs_no_connection() {
    let (_server, database) = server().await;
    let store = PostgresStore::builder(&database.url).connections(1).open().await.unwrap();
    let mut session = database.session().await;
    let mut process = async || {
        store.find(&[1; 32].into()).await.unwrap();
        let process = "select pid from pg_stat_activity where application_name = 'tower-api-key'";
        sqlx::query_scalar::<_, i32>(process).fetch_all(&mut session).await.unwrap()
    };
    let before = process().await;
    for _ in 0..50 {
        let digest = [1; 32].into();
        let mut find = Box::pin(store.find(&digest));
        let waker = std::task::Waker::noop();
        assert!(find.as_mut().poll(&mut std::task::Context::from_waker(waker)).is_pending());
        tokio::task::yield_now().await;
    }
    assert_eq!(process().await, before);
}

#[tokio::test]
#[ignore = "needs postgres"]
async fn a_listener_that_hears_nothing_is_an_error_within_its_patience() {
    let (server, database) = server().await;
    let (relay, store) = behind_a_relay(server.postgres.port, &database, 1).await;
    let mut changes = store.change_feed();
    changes.subscribe().await.unwrap();
    relay.cut_all();
    let start = Instant::now();
    changes.heartbeat().await.unwrap_err();
    changes.next().await.unwrap_err();
    changes.subscribe().await.unwrap_err();
    assert!(start.elapsed() < OPERATION_TIMEOUT * 3, "{:?}", start.elapsed());
    relay.renew();
    changes.subscribe().await.unwrap();
    assert_eq!(changes.heartbeat().await.unwrap(), []);
    relay.cut_all();
    let start = Instant::now();
    drop(changes);
    drop(store);
    assert!(start.elapsed() < OPERATION_TIMEOUT, "{:?}", start.elapsed());
}

#[tokio::test]
#[ignore = "needs postgres"]
async fn a_change_that_waits_too_long_for_another_changes_nothing() {
    let (_server, database) = server().await;
    let store = PostgresStore::builder(&database.url).operation_timeout(OPERATION_TIMEOUT).open().await.unwrap();
    store.insert(of_alice("k", 1), None, None).await.unwrap().unwrap();
    let mut other = database.session().await;
    run(&mut other, "begin; select from api_keys where id = 'k' for update").await;
    let start = Instant::now();
    store.revoke(&"k".into(), None).await.unwrap_err();
    assert!(start.elapsed() < OPERATION_TIMEOUT * 2, "{:?}", start.elapsed());
    // Lookups wait for no other operation.
    assert_eq!(store.find(&[1; 32].into()).await.unwrap().unwrap().status(), Status::Active);
    tokio::time::sleep(OPERATION_TIMEOUT / 2).await;
    let waiting = "select count(*) from pg_stat_activity where wait_event_type = 'Lock'";
    let waiting: i64 = sqlx::query_scalar(waiting).fetch_one(&mut other).await.unwrap();
    assert_eq!(waiting, 0, "the server has given up too");
    run(&mut other, "rollback").await;
    assert_eq!(store.get(&"k".into()).await.unwrap().unwrap().version(), 0);
    store.revoke(&"k".into(), None).await.unwrap().unwrap();
}

/// A client that is disconnected during a change blocks no other client.
#[tokio::test]
#[ignore = "needs postgres"]
async fn the_locks_of_a_vanished_node_are_released() {
    let (server, database) = server().await;
    let (relay, store) = behind_a_relay(server.postgres.port, &database, 1).await;
    let mut other = database.session().await;
    run(&mut other, "begin; select from api_keys where id = 'k' for update").await;
    let revoking = tokio::spawn(async move { store.revoke(&"k".into(), None).await });
    tokio::time::sleep(OPERATION_TIMEOUT / 5).await;
    relay.cut_all();
    // The other node holds the lock now, in a transaction that does not proceed.
    run(&mut other, "rollback").await;
    revoking.await.unwrap().unwrap_err();
    let start = Instant::now();
    database.store().await.revoke(&"k".into(), None).await.unwrap().unwrap();
    assert!(start.elapsed() < OPERATION_TIMEOUT * 4, "{:?}", start.elapsed());
}

#[tokio::test]
#[ignore = "needs postgres"]
async fn a_restarted_server_costs_no_look_up_and_no_change() {
    let (mut server, database) = server().await;
    let store = database.store().await;
    store.insert(of_alice("k", 1), None, None).await.unwrap().unwrap();
    for round in 0..4 {
        // Several idle connections, all of which will be closed.
        let look_ups: Vec<_> = (0..8)
            .map(|_| {
                let store = store.clone();
                tokio::spawn(async move { store.find(&[1; 32].into()).await })
            })
            .collect();
        for look_up in look_ups {
            look_up.await.unwrap().unwrap().unwrap();
        }
        if round < 2 {
            server.postgres.kill();
            server.postgres.resume();
        } else {
            database
                .sql("select pg_terminate_backend(pid, 5000) from pg_stat_activity where application_name = 'tower-api-key'")
                .await;
        }
        if round % 2 == 0 {
            assert!(store.find(&[1; 32].into()).await.unwrap().is_some());
        } else {
            let record = store.get(&"k".into()).await.unwrap().unwrap();
            store.update(record.with_name("again"), None).await.unwrap().unwrap();
        }
    }
}

#[tokio::test]
#[ignore = "needs postgres"]
async fn a_closed_store_refuses_work_and_leaves_no_session() {
    let (_server, database) = server().await;
    let store = database.store().await;
    store.find(&[1; 32].into()).await.unwrap();
    store.close().await;
    assert!(matches!(store.find(&[1; 32].into()).await, Err(sqlx::Error::PoolClosed)));
    let sessions = "select count(*) from pg_stat_activity where application_name = 'tower-api-key'";
    let mut session = database.session().await;
    let mut left = async || sqlx::query_scalar::<_, i64>(sessions).fetch_one(&mut session).await.unwrap();
    until_within(SESSION_END, async || left().await == 0).await;
}
