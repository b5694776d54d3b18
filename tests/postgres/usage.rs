//! Tests usage by day in PostgreSQL: several nodes, removals, roles.

use std::{sync::Arc, time::Duration};

use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::sync::Barrier;
use tower_api_key::{
    KeyRegistry,
    store::{ChangeFeed, DayUsage, PostgresStore, UsageDelta, UtcDay},
};

use crate::{
    database::{Database, Server},
    of_alice, server,
};

const FIRST: UtcDay = UtcDay::from_number(20_000);

/// Returns this many accepted requests, and one that was rejected, on the day with this number.
fn usage(id: &str, later: u32, accepted: u64) -> UsageDelta {
    let mut usage = DayUsage::new(UtcDay::from_number(FIRST.number() + later));
    (usage.accepted, usage.rejected) = (accepted, 1);
    UsageDelta::new(id, usage, Some(usage.day.start()))
}

async fn number(database: &Database, query: &str) -> i64 {
    let mut session = PgConnection::connect(&database.url).await.unwrap();
    sqlx::query_scalar(AssertSqlSafe(query.to_owned())).fetch_one(&mut session).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs postgres"]
async fn the_usage_of_several_nodes_adds_up_beside_removals() {
    let server = Server::start(&["deadlock_timeout=1ms"]);
    let database = server.database().await;
    let nodes: [PostgresStore; 4] =
        [database.store().await, database.store().await, database.store().await, database.store().await];
    let ids: Arc<Vec<String>> = Arc::new((0..40_u8).map(|key| format!("k{key:02}")).collect());
    for (byte, id) in (0..).zip(ids.iter()) {
        nodes[0].insert(of_alice(id.as_str(), byte), None, None).await.unwrap().unwrap();
    }
    let start = Arc::new(Barrier::new(nodes.len() + 1));
    let writers = nodes.clone().into_iter().enumerate().map(|(node, store)| {
        let (ids, start) = (Arc::clone(&ids), Arc::clone(&start));
        tokio::spawn(async move {
            start.wait().await;
            for round in 0..30 {
                // Each node has its own order. Two entries of a batch are for the same day.
                let mut batch: Vec<_> = ids.iter().flat_map(|id| [0, 1, 1].map(|later| usage(id, later, 1))).collect();
                batch.rotate_left(node * 17 + round);
                store.record_usage(&batch).await.unwrap();
            }
        })
    });
    let writers: Vec<_> = writers.collect();
    start.wait().await;
    for id in ids.iter().skip(1).step_by(2) {
        nodes[0].remove(&id.as_str().into(), None).await.unwrap().unwrap();
    }
    for writer in writers {
        writer.await.unwrap();
    }
    for (key, id) in ids.iter().enumerate() {
        let id = id.as_str().into();
        let kept = nodes[1].usage(&id, FIRST..=UtcDay::from_number(FIRST.number() + 1)).await.unwrap().unwrap();
        let counts: Vec<_> = kept.iter().map(|usage| (usage.accepted, usage.rejected)).collect();
        assert_eq!(counts, if key % 2 == 0 { vec![(120, 120), (240, 240)] } else { vec![] }, "{id}");
        let uses = nodes[1].get(&id).await.unwrap().map(|record| record.use_count());
        assert_eq!(uses, (key % 2 == 0).then_some(360));
    }
    let orphans = "select count(*) from api_key_usage where key_id not in (select id from api_keys)";
    assert_eq!(number(&database, orphans).await, 0);
}

#[tokio::test]
#[ignore = "needs postgres"]
async fn usage_is_no_change_of_a_key() {
    let (_server, database) = server().await;
    let store = database.store().await;
    store.insert(of_alice("k", 1), None, None).await.unwrap().unwrap();
    let mut changes = store.change_feed();
    changes.subscribe().await.unwrap();
    let mut rejected = usage("k", 0, 0);
    rejected.last_used_at = None;
    store.record_usage(&[usage("k", 0, 1), rejected, usage("gone", 0, 1)]).await.unwrap();
    assert_eq!(changes.heartbeat().await.unwrap(), []);
    let record = store.get(&"k".into()).await.unwrap().unwrap();
    assert_eq!((record.version(), record.use_count(), record.last_used_at()), (0, 1, Some(FIRST.start())));
    assert_eq!(number(&database, "select count(*) from api_key_usage").await, 1);
}

/// Neither waits for the rows that the other removes.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs postgres"]
async fn two_nodes_remove_old_days_at_once() {
    let (_server, database) = server().await;
    let nodes = [database.store().await, database.store().await];
    nodes[0].insert(of_alice("k", 1), None, None).await.unwrap().unwrap();
    let batch: Vec<_> = (0..3_500).map(|later| usage("k", later, 1)).collect();
    nodes[0].record_usage(&batch).await.unwrap();
    let pruning = nodes.clone().map(|store| {
        tokio::spawn(async move {
            let mut removed = 0;
            loop {
                match store.prune_usage(UtcDay::from_number(FIRST.number() + 3_000)).await.unwrap() {
                    0 => return removed,
                    some => removed += some,
                }
            }
        })
    });
    let mut removed = 0;
    for pruning in pruning {
        removed += pruning.await.unwrap();
    }
    assert_eq!(removed, 3_000);
    assert_eq!(number(&database, "select count(*) from api_key_usage").await, 500);
}

#[tokio::test]
#[ignore = "needs postgres"]
async fn roles_of_the_keys_have_the_same_rights_on_the_usage() {
    let (_server, database) = server().await;
    database.store().await.close().await;
    database.sql("create role app login; create role counter login; create role reader login").await;
    // As before the migration.
    database.sql("drop table api_key_usage; grant select, insert, update, delete on api_keys to app").await;
    database.sql("grant select, update on api_keys to counter; grant select on api_keys to reader").await;
    database.sql("grant select on api_keys_schema to app, counter, reader").await;
    database.sql("grant select, insert, update, delete on api_key_events to app").await;
    database.sql("grant usage on all sequences in schema public to app").await;
    database.sql(include_str!("../../src/store/postgres/5.sql")).await;
    let app = PostgresStore::connect(database.as_role("app")).await.unwrap();
    app.insert(of_alice("k", 1), None, None).await.unwrap().unwrap();
    let counter = PostgresStore::connect(database.as_role("counter")).await.unwrap();
    counter.record_usage(&[usage("k", 0, 1)]).await.unwrap();
    assert_eq!(counter.prune_usage(FIRST).await.unwrap(), 0);
    let reader = PostgresStore::connect(database.as_role("reader")).await.unwrap();
    assert_eq!(reader.usage(&"k".into(), FIRST..=FIRST).await.unwrap().unwrap().len(), 1);
    reader.record_usage(&[usage("k", 0, 1)]).await.unwrap_err();
    assert_eq!(app.prune_usage(UtcDay::from(FIRST.start() + Duration::from_hours(24))).await.unwrap(), 1);
    app.remove(&"k".into(), None).await.unwrap().unwrap();
}
