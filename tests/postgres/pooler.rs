//! Tests a store behind the installed `PgBouncer` in transaction mode, with its default settings and
//! fewer sessions than the store has connections.

use sqlx::{ConnectOptions, PgConnection, postgres::PgConnectOptions};
use tower_api_key::{
    KeyFormat, KeyManager, KeyRegistry, KeyStore, Owner, Permissions,
    manage::{Actor, EventCursor, NewKey},
    store::{ChangeFeed, KeyFilter, PostgresStore, PostgresStoreBuilder, testkit},
};

use crate::{
    bouncer::Bouncer,
    database::{Database, Postgres, Server, run},
    of_alice, refused, server,
    support::{bounds::OPERATION_TIMEOUT, until},
};

const SETTINGS: [&str; 2] = ["pool_mode = transaction", "default_pool_size = 2"];

/// The settings that the pooler gives to a session for its clients.
const OF_THE_POOLER: [&str; 5] =
    ["application_name", "client_encoding", "DateStyle", "TimeZone", "standard_conforming_strings"];

async fn pooled() -> (Server, Database, Bouncer) {
    let (server, database) = server().await;
    let bouncer = Bouncer::start(server.postgres.port, &SETTINGS);
    (server, database, bouncer)
}

fn builder(database: &Database, bouncer: &Bouncer) -> PostgresStoreBuilder {
    PostgresStore::builder(&database.url).pooler(bouncer.url("postgres", &database.name)).connections(8)
}

/// Connects another client to the pooler.
async fn client(bouncer: &Bouncer, role: &str, database: &str) -> PgConnection {
    let options: PgConnectOptions = bouncer.url(role, database).parse().unwrap();
    options.extra_float_digits(None).statement_cache_capacity(0).connect().await.unwrap()
}

/// Checks that the sessions behind the pooler have nothing of a store. Each client holds one.
async fn assert_that_sessions_are_clean(bouncer: &Bouncer, role: &str, database: &str) {
    let mut clients = [client(bouncer, role, database).await, client(bouncer, role, database).await];
    for client in &mut clients {
        run(client, "begin").await;
    }
    let settings = format!(
        "select coalesce(string_agg(name || '=' || setting, ' '), '') from pg_settings
         where source = 'session' and name <> all('{{{}}}')",
        OF_THE_POOLER.join(",")
    );
    for (what, query) in [
        ("settings", settings.as_str()),
        ("statements", "select coalesce(string_agg(name, ' '), '') from pg_prepared_statements"),
        (
            "locks",
            "select coalesce(string_agg(objid::text, ' '), '') from pg_locks
             where locktype = 'advisory' and pid = pg_backend_pid()",
        ),
        ("timeout", "select replace(current_setting('statement_timeout'), '0', '')"),
    ] {
        for client in &mut clients {
            let query = sqlx::AssertSqlSafe(query);
            let left: String = sqlx::query_scalar(query).persistent(false).fetch_one(&mut *client).await.unwrap();
            assert_eq!(left, "", "{what}");
        }
    }
}

/// Opens a store, and empties its tables: that takes less time than new tables.
async fn emptied(database: &Database, bouncer: &Bouncer) -> PostgresStore {
    let store = builder(database, bouncer).open().await.unwrap();
    database
        .sql(
            "truncate api_keys, api_key_usage, api_key_idempotency, api_key_events, api_key_meters, api_key_leases,
                api_key_top_ups cascade",
        )
        .await;
    store
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs pgbouncer"]
async fn a_pooled_store_is_a_registry() {
    let (_server, database, bouncer) = pooled().await;
    testkit::check(async || Box::pin(emptied(&database, &bouncer)).await).await;
    assert_that_sessions_are_clean(&bouncer, "postgres", &database.name).await;
}

#[cfg(feature = "limits")]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs pgbouncer"]
async fn meters_in_a_pooled_store_pass_the_testkit() {
    let (_server, database, bouncer) = pooled().await;
    testkit::check_meters(async || Box::pin(emptied(&database, &bouncer)).await).await;
    assert_that_sessions_are_clean(&bouncer, "postgres", &database.name).await;
}

/// Issues, finds, lists and revokes keys, and returns what went wrong.
async fn work(store: PostgresStore, user: String) {
    let manager = KeyManager::builder(store.clone()).format(KeyFormat::new("acme").unwrap()).build().unwrap();
    let all = Permissions::new().grant("apiKeys", "create").grant("apiKeys", "read").grant("apiKeys", "delete");
    let actor = Actor::trusted(Owner::User(user), all).in_organization("acme");
    for _ in 0..5 {
        let issued = manager.issue(&actor, NewKey::user("a")).await.unwrap();
        let id = issued.record().id().clone();
        assert!(manager.find_by_key(&trusted(), issued.key().expose()).await.unwrap().is_some());
        assert!(
            manager.list(&actor, KeyFilter::default()).await.unwrap().records.iter().any(|listed| *listed.id() == id)
        );
        manager.revoke(&actor, id.clone()).await.unwrap();
        assert!(store.get(&id).await.unwrap().unwrap().revoked_at().is_some());
    }
}

fn trusted() -> Actor {
    Actor::trusted(Owner::ServiceAccount, Permissions::new().grant("apiKeys", "read")).in_organization("acme")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs pgbouncer"]
async fn stores_of_two_roles_and_two_tables_share_a_pooler() {
    let (_server, database, bouncer) = pooled().await;
    database.sql("create role app login; create schema app authorization app").await;
    let own = builder(&database, &bouncer).open().await.unwrap();
    let beside = builder(&database, &bouncer).table_prefix("beside_").open().await.unwrap();
    let of_app = PostgresStore::builder(database.as_role("app")).pooler(bouncer.url("app", &database.name));
    let of_app = of_app.schema("app").open().await.unwrap();
    let mut changes = own.change_feed();
    changes.subscribe().await.unwrap();
    let working = [&own, &beside, &of_app].into_iter().flat_map(|store| {
        (0..8).map(|number| tokio::spawn(work(store.clone(), format!("user{number}")))).collect::<Vec<_>>()
    });
    for worker in working.collect::<Vec<_>>() {
        worker.await.unwrap();
    }
    assert!(!changes.heartbeat().await.unwrap().is_empty(), "the feed has a session");
    for role in ["postgres", "app"] {
        assert_that_sessions_are_clean(&bouncer, role, &database.name).await;
    }
    let store = PostgresStore::connect(&database.url).await.unwrap();
    let events = store.events_since(EventCursor::START, 1_000).await.unwrap().unwrap();
    assert_eq!(events.len(), 80, "40 keys were issued and revoked");
}

#[tokio::test]
#[ignore = "needs pgbouncer"]
async fn a_pooler_or_a_server_that_is_killed_and_started_again_costs_no_call() {
    let (mut server, database, mut bouncer) = pooled().await;
    let store = builder(&database, &bouncer).open().await.unwrap();
    store.insert(of_alice("k", 1), None, None).await.unwrap().unwrap();
    for round in 0..3 {
        bouncer.kill();
        store.find(&[1; 32].into()).await.unwrap_err();
        bouncer.resume();
        assert!(store.find(&[1; 32].into()).await.unwrap().is_some());
        bouncer.kill();
        bouncer.resume();
        let record = store.get(&"k".into()).await.unwrap().unwrap();
        store.update(record.with_name(format!("round {round}")), None).await.unwrap().unwrap();
    }
    server.postgres.kill();
    server.postgres.resume();
    until(async || store.find(&[1; 32].into()).await.is_ok()).await;
    store.revoke(&"k".into(), None).await.unwrap().unwrap();
}

#[tokio::test]
#[ignore = "needs pgbouncer"]
async fn a_replica_behind_a_pooler_is_refused_at_each_use() {
    let mut primary = Postgres::start(&[]);
    let bouncer = Bouncer::start(primary.port, &SETTINGS);
    let pooler = bouncer.url("postgres", "postgres");
    let store = PostgresStore::builder(primary.url()).pooler(&pooler).operation_timeout(OPERATION_TIMEOUT);
    let store = store.open().await.unwrap();
    store.find(&[1; 32].into()).await.unwrap();
    std::fs::write(primary.data().join("standby.signal"), "").unwrap();
    primary.kill();
    primary.resume();
    until(async || !matches!(store.find(&[1; 32].into()).await, Err(sqlx::Error::Io(_)))).await;
    for _ in 0..2 {
        refused(store.find(&[1; 32].into()).await, "replica");
        refused(store.revoke(&"k".into(), None).await, "replica");
    }
    refused(PostgresStore::builder(primary.url()).pooler(&pooler).connect().await, "replica");
}
