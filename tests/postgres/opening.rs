//! Tests opening a database: roles, versions and settings.

use tower_api_key::{
    KeyRegistry, KeyStore,
    store::{ChangeFeed, KeyFilter, PostgresStore},
};

use crate::{
    database::{Postgres, Server, run, sql},
    of_alice, refused, server,
};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs postgres"]
async fn many_may_open_an_empty_database_at_once() {
    let (_server, database) = server().await;
    let opening = (0..8).map(|_| tokio::spawn(PostgresStore::builder(&database.url).connections(2).open()));
    for (byte, opened) in (0..).zip(opening.collect::<Vec<_>>()) {
        let store = opened.await.unwrap().unwrap();
        store.insert(of_alice(format!("k{byte}"), byte), None, None).await.unwrap().unwrap();
    }
    let filter = KeyFilter::organization("acme");
    assert_eq!(database.store().await.list(&filter).await.unwrap().len(), 8);
}

#[tokio::test]
#[ignore = "needs postgres"]
async fn a_role_that_may_make_no_tables_serves_those_that_are_there() {
    let (_server, database) = server().await;
    database.sql("create role app login; revoke create on schema public from public").await;
    let app = database.as_role("app");
    refused(PostgresStore::connect(&app).await, "run the migrations");
    let denied = PostgresStore::open(&app).await.unwrap_err();
    assert!(denied.to_string().contains("permission denied"), "{denied}");

    database.store().await.close().await;
    database
        .sql(
            "grant select, insert, update, delete on api_keys, api_key_usage, api_key_events to app;
             grant usage on sequence api_key_events_position to app; grant select on api_keys_schema to app;
             grant select, usage on sequence api_keys_beat to app",
        )
        .await;
    for store in [PostgresStore::connect(&app).await.unwrap(), PostgresStore::open(&app).await.unwrap()] {
        let mut changes = store.change_feed();
        changes.subscribe().await.unwrap();
        store.insert(of_alice("k", 1), None, None).await.unwrap().unwrap();
        assert!(store.find(&[1; 32].into()).await.unwrap().is_some());
        store.remove(&"k".into(), None).await.unwrap().unwrap();
        assert_eq!(changes.heartbeat().await.unwrap().len(), 2);
    }

    database.sql("delete from api_keys_schema").await;
    refused(PostgresStore::connect(&app).await, "run the migrations");
}

#[tokio::test]
#[ignore = "needs postgres"]
async fn a_role_that_may_only_read_looks_keys_up_and_follows_changes() {
    let (_server, database) = server().await;
    let owner = database.store().await;
    database.sql("create role reader login; grant select on api_keys, api_keys_schema to reader; grant select, usage on sequence api_keys_beat to reader").await;
    let store = PostgresStore::connect(database.as_role("reader")).await.unwrap();
    let mut changes = store.change_feed();
    changes.subscribe().await.unwrap();
    owner.insert(of_alice("k", 1), None, None).await.unwrap().unwrap();
    assert_eq!(changes.heartbeat().await.unwrap().len(), 1);
    assert!(store.find(&[1; 32].into()).await.unwrap().is_some());
    store.revoke(&"k".into(), None).await.unwrap_err();
}

#[tokio::test]
#[ignore = "needs postgres"]
async fn newer_tables_are_used_as_long_as_they_say_so() {
    let (_server, database) = server().await;
    let before = database.store().await;
    before.insert(of_alice("k", 1), None, None).await.unwrap().unwrap();
    assert!(before.find(&[1; 32].into()).await.unwrap().is_some());
    database.sql("alter table api_keys add column shade text; insert into api_keys_schema values (99, 1)").await;
    for store in [before, PostgresStore::connect(&database.url).await.unwrap(), database.store().await] {
        store.find(&[1; 32].into()).await.unwrap().unwrap();
        let record = store.get(&"k".into()).await.unwrap().unwrap();
        store.update(record.with_name("again"), None).await.unwrap().unwrap();
        store.insert(of_alice("new", 2), None, None).await.unwrap().unwrap();
        store.remove(&"new".into(), None).await.unwrap().unwrap();
    }
    database.sql("insert into api_keys_schema values (100, 50)").await;
    refused(PostgresStore::connect(&database.url).await, "newer version");
    refused(PostgresStore::open(&database.url).await, "newer version");
}

#[tokio::test]
#[ignore = "needs postgres"]
async fn a_replica_is_refused_until_it_is_promoted() {
    let primary = Postgres::start(&[]);
    let store = PostgresStore::open(primary.url()).await.unwrap();
    store.insert(of_alice("k", 1), None, None).await.unwrap().unwrap();
    let replica = primary.standby(&[]);
    refused(PostgresStore::open(replica.url()).await, "replica");
    refused(PostgresStore::connect(replica.url()).await, "replica");
    replica.promote();
    let promoted = PostgresStore::connect(replica.url()).await.unwrap();
    assert!(promoted.find(&[1; 32].into()).await.unwrap().is_some());
}

/// The address of a primary may later lead to a replica.
#[tokio::test]
#[ignore = "needs postgres"]
async fn a_server_that_becomes_a_replica_is_refused_at_once() {
    let mut primary = Postgres::start(&[]);
    let store = PostgresStore::open(primary.url()).await.unwrap();
    let mut changes = store.change_feed();
    changes.subscribe().await.unwrap();
    std::fs::write(primary.data().join("standby.signal"), "").unwrap();
    primary.kill();
    primary.resume();
    refused(store.find(&[1; 32].into()).await, "replica");
    refused(store.revoke(&"k".into(), None).await, "replica");
    changes.heartbeat().await.unwrap_err();
    refused(changes.subscribe().await, "replica");
}

#[tokio::test]
#[ignore = "needs postgres"]
async fn the_tables_may_stand_in_a_schema_of_their_own() {
    let (_server, database) = server().await;
    database.sql("create schema hidden").await;
    let url = format!("{}?options=-csearch_path%3Dhidden", database.url);
    let store = PostgresStore::open(&url).await.unwrap();
    let mut changes = store.change_feed();
    changes.subscribe().await.unwrap();
    store.insert(of_alice("k", 1), None, None).await.unwrap().unwrap();
    assert_eq!(changes.heartbeat().await.unwrap().len(), 1);
    refused(PostgresStore::connect(&database.url).await, "run the migrations");
}

#[tokio::test]
#[ignore = "needs postgres"]
async fn sessions_have_the_names_that_the_url_gives() {
    let (server, database) = server().await;
    for (setting, name) in [("", "tower-api-key"), ("?application_name=links", "links")] {
        let store = PostgresStore::open(format!("{}{setting}", database.url)).await.unwrap();
        let mut changes = store.change_feed();
        changes.subscribe().await.unwrap();
        let mut session = database.session().await;
        let names = "select application_name from pg_stat_activity where application_name <> '' order by 1";
        let names: Vec<String> = sqlx::query_scalar(names).fetch_all(&mut session).await.unwrap();
        assert_eq!(names, [name, &format!("{name} changes")]);
        sql(
            &server.postgres.url(),
            "select pg_terminate_backend(pid) from pg_stat_activity where application_name <> ''",
        )
        .await;
        run(&mut session, "select pg_sleep(0.1)").await;
    }
}

#[tokio::test]
#[ignore = "needs postgres"]
async fn no_debug_shows_the_password() {
    let server = Server::start(&[]);
    let url = server.postgres.url().replace("//postgres@", "//postgres:a-secret@");
    let store = PostgresStore::open(&url).await.unwrap();
    let mut changes = store.change_feed();
    changes.subscribe().await.unwrap();
    let shown = format!("{store:#?}{changes:#?}{:#?}", PostgresStore::builder(&url));
    assert!(shown.contains("127.0.0.1") && !shown.contains("secret"), "{shown}");
}

#[tokio::test]
async fn a_wrong_url_is_an_error_without_its_password() {
    for url in [
        "",
        "nonsense",
        "postgres://u:a-secret@host:port/x",
        "postgres://u:a-secret@h/x?sslmode=maybe",
        // sqlx would ignore it and leave the server unverified.
        "postgres://u:a-secret@h/x?sslmod=verify-full",
        "postgres://u:a?-secret@h/x",
        "postgres://u:?a-secret@h/x",
        "postgres://u:5#?a-secret=@h/x",
    ] {
        let error = PostgresStore::connect(url).await.unwrap_err();
        assert!(matches!(error, sqlx::Error::Configuration(_)), "{error}");
        assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
    }
}
