//! S6: the channel, its messages and its versions.

use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection, PgConnection, postgres::PgListener};
use tower_api_key::{
    KeyRecord, KeyRegistry,
    store::{ChangeFeed, Invalidation, PostgresStore},
};

use super::{channel, of_version_1};
use crate::postgres_server::{Server, run};

/// S6. A node of version 1 keeps working with the tables of version 2: its lookups succeed, and it
/// receives every change.
#[tokio::test]
#[ignore = "needs postgres"]
async fn s06_a_node_of_version_1_hears_what_nodes_of_version_2_change() {
    const LIST: &str = "select id from api_keys where organization = $1 and status <> 'revoked' order by organization desc, id desc limit 100";
    const TRIGGERS: &str =
        "select string_agg(trigger.oid::text, ' ' order by trigger.oid) from pg_catalog.pg_trigger as trigger
        join pg_catalog.pg_class as keys on keys.oid = trigger.tgrelid
        where keys.oid = to_regclass('api_keys') and not keys.relhassubclass and trigger.tgenabled = 'A'
        and trigger.tgname in ('api_keys_tell', 'api_keys_tell_change', 'api_keys_tell_all') having count(*) = 3";
    let server = Server::start(&[]);
    let database = server.database().await;
    of_version_1(&database).await;
    let mut old = PgListener::connect(&database.url).await.unwrap();
    old.listen("tower_api_key").await.unwrap();
    let triggers = sqlx::query_scalar::<_, String>(TRIGGERS);
    let mut session = database.session().await;
    let before = triggers.fetch_one(&mut session).await.unwrap();

    let store = database.store().await;
    let mut changes = store.change_feed();
    changes.subscribe().await.unwrap();
    assert_eq!(sqlx::query_scalar::<_, String>(TRIGGERS).fetch_one(&mut session).await.unwrap(), before);
    store.revoke(&"k".into(), None).await.unwrap().unwrap();
    let told = tokio::time::timeout(crate::support::bounds::NOTIFICATION, old.recv()).await.expect("a change").unwrap();
    assert_eq!(told.payload(), "0101");
    assert_eq!(changes.heartbeat().await.unwrap(), [Invalidation::DigestPrefix([1, 1])]);
    // The new node receives the changes of the old one.
    let listed: Vec<String> = sqlx::query_scalar(LIST).bind("acme").fetch_all(&mut session).await.unwrap();
    assert_eq!(listed, ["old"]);
    run(&mut session, "update api_keys set version = 1, status = 'revoked' where id = 'old'").await;
    assert_eq!(changes.heartbeat().await.unwrap(), [Invalidation::DigestPrefix([2, 2])]);
    let works_with = "select works_with from api_keys_schema order by version desc limit 1";
    assert_eq!(sqlx::query_scalar::<_, i64>(works_with).fetch_one(&mut session).await.unwrap(), 3);
}

/// S6.
#[tokio::test]
#[ignore = "needs postgres"]
async fn s06_a_role_that_may_only_connect_does_not_learn_the_channel() {
    let server = Server::start(&["log_statement=none"]);
    let database = server.database().await;
    let store = database.store().await;
    let mut changes = store.change_feed();
    changes.subscribe().await.unwrap();
    let channel = channel(&database).await;
    let nonce = channel.strip_prefix("tower_api_key_").unwrap();
    database.sql("create role stranger login").await;
    let mut stranger = PgConnection::connect(&database.as_role("stranger")).await.unwrap();
    // It sees what every role may see of sessions, functions, triggers and locks.
    for everything in [
        "select coalesce(string_agg(a::text, ' '), '') from pg_stat_activity as a",
        "select coalesce(string_agg(p.prosrc, ' '), '') from pg_proc as p where proname like 'api_keys%'",
        "select coalesce(string_agg(t::text, ' '), '') from pg_trigger as t",
        "select coalesce(string_agg(l::text, ' '), '') from pg_locks as l",
        "select coalesce(string_agg(s::text, ' '), '') from pg_stats as s where tablename like 'api_keys%'",
        "select coalesce(string_agg(c, ' '), '') from pg_listening_channels() as c",
    ] {
        let seen: String = sqlx::query_scalar(AssertSqlSafe(everything)).fetch_one(&mut stranger).await.unwrap();
        assert!(!seen.contains(nonce), "{everything}");
    }
    for forbidden in ["select nonce from api_keys_schema", "select 1 from api_keys"] {
        sqlx::raw_sql(forbidden).execute(&mut stranger).await.expect_err(forbidden);
    }
    // It may not call the trigger's function on its own table.
    database.sql("grant create on schema public to stranger").await;
    let own = "create table own (digest bytea);
        create trigger own after insert on own for each row execute function api_keys_tell()";
    let denied = sqlx::raw_sql(own).execute(&mut stranger).await.unwrap_err();
    assert!(denied.to_string().contains("permission denied for function"), "{denied}");
    run(&mut stranger, "notify tower_api_key, '*'; notify tower_api_key, '0101'; notify tower_api_key_, '*'").await;
    assert_eq!(changes.heartbeat().await.unwrap(), [], "notifications of other roles must not arrive");
}

/// S6. A role that may read the table is trusted with the channel, and even then can only do this
/// much.
#[tokio::test]
#[ignore = "needs postgres"]
async fn s06_what_is_not_understood_is_any_change_once_a_heartbeat() {
    let server = Server::start(&[]);
    let database = server.database().await;
    let store = database.store().await;
    let mut changes = store.change_feed();
    changes.subscribe().await.unwrap();
    let channel = channel(&database).await;
    for payload in ["*", "something new", "beat 1", "00f", "''; --", "", &"x".repeat(7000)] {
        let quoted = payload.replace('\'', "''");
        let flood = format!("select pg_notify('{channel}', '{quoted}' || case when n > 0 and length('{quoted}') < 5000 then repeat(' ', n) else '' end)
            from generate_series(0, 500) as n");
        database.sql(&flood).await;
        let next = tokio::time::timeout(Duration::from_millis(200), changes.next()).await;
        assert!(next.is_err(), "{payload:?}: {next:?}");
        let told = changes.heartbeat().await.unwrap();
        assert!(
            if payload.starts_with("beat") { told.is_empty() } else { told == [Invalidation::All] },
            "{payload:?}: {told:?}"
        );
        assert_eq!(changes.heartbeat().await.unwrap(), []);
    }
    store.insert(KeyRecord::new("k", [1; 32]), None, None).await.unwrap().unwrap();
    assert_eq!(changes.next().await.unwrap(), Invalidation::DigestPrefix([1, 1]), "the feed continues");
}

/// S6. The same result as without the triggers.
#[tokio::test]
#[ignore = "needs postgres"]
async fn s06_another_nonce_or_none_is_an_error() {
    let server = Server::start(&[]);
    for (damage, is_mended_by_connecting) in [
        ("update api_keys_schema set nonce = gen_random_uuid() where nonce is not null", true),
        ("update api_keys_schema set nonce = null", false),
        (
            "create schema other; create table other.api_keys_schema as select * from api_keys_schema;
          alter role postgres set search_path = other, public",
            false,
        ),
    ] {
        let database = server.database().await;
        let store = database.store().await;
        let mut changes = store.change_feed();
        changes.subscribe().await.unwrap();
        assert_eq!(changes.heartbeat().await.unwrap(), []);
        database.sql(damage).await;
        if !damage.contains("search_path") {
            changes.heartbeat().await.unwrap_err();
        }
        if damage.contains("search_path") {
            // The setting of a role is for new sessions.
            changes = PostgresStore::connect(&database.url).await.unwrap().change_feed();
        }
        let again = changes.subscribe().await;
        assert_eq!(again.is_ok(), is_mended_by_connecting, "{damage}: {again:?}");
        if again.is_ok() {
            store.insert(KeyRecord::new("k", [1; 32]), None, None).await.unwrap().unwrap();
            assert_eq!(changes.heartbeat().await.unwrap(), [Invalidation::DigestPrefix([1, 1])]);
        }
        database.sql("alter role postgres reset search_path").await;
    }
}
