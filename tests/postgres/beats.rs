//! The heartbeat that the nodes share: who may send it, through which connections, and what it
//! proves.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use sqlx::{Connection, PgConnection, postgres::PgListener};
use tokio::time::{Instant, sleep};
use tower_api_key::{
    KeyRegistry, KeyStore,
    store::{CachedStore, ChangeFeed, PostgresStore},
};

use crate::{
    bouncer::Bouncer,
    cluster::with_synchronous_standby,
    database::{Database, run},
    of_alice, server,
    support::{
        bounds::{LEASE, OPERATION_TIMEOUT},
        until,
    },
};

type Cache = CachedStore<PostgresStore>;

fn cache(store: &PostgresStore) -> Cache {
    CachedStore::builder(store.clone(), store.change_feed()).build().unwrap()
}

async fn following(store: &PostgresStore) -> Cache {
    let cache = cache(store);
    until(async || cache.status().is_following).await;
    cache
}

async fn text(database: &Database, query: &'static str) -> String {
    sqlx::query_scalar(query).fetch_one(&mut database.session().await).await.unwrap()
}

async fn channel(database: &Database) -> String {
    text(database, "select 'tower_api_key_' || nonce from api_keys_schema where nonce is not null").await
}

fn hmac(key: &str, message: &str) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).unwrap();
    mac.update(message.as_bytes());
    mac.finalize().into_bytes().into()
}

/// Returns whether the cache follows most of the time, for three leases.
async fn keeps_following(cache: &Cache) -> bool {
    let end = Instant::now() + 3 * LEASE;
    let (mut looks, mut followed) = (0, 0);
    while Instant::now() < end {
        looks += 1;
        followed += i32::from(cache.status().is_following);
        sleep(LEASE / 50).await;
    }
    followed * 10 > looks * 5
}

/// Fails if a cache follows at any time in three leases.
async fn never_follows(store: &PostgresStore) {
    let (cache, end) = (cache(store), Instant::now() + 3 * LEASE);
    while Instant::now() < end {
        assert!(!cache.status().is_following);
        sleep(LEASE / 100).await;
    }
}

/// The node may read the sequence, but send no heartbeat of its own. Another session holds the lock,
/// and sends what it wants through the channel.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs postgres"]
async fn a_forged_heartbeat_is_ignored() {
    let (_server, database) = server().await;
    let owner = database.store().await;
    database
        .sql(
            "create role app login; grant select on api_keys, api_keys_schema to app;
            grant select on sequence api_keys_beat to app",
        )
        .await;
    let channel = channel(&database).await;
    let key = text(&database, "select beat_key::text from api_keys_schema where beat_key is not null").await;
    // What a real heartbeat says of the server and the triggers.
    let mut listener = PgListener::connect(&database.url).await.unwrap();
    listener.listen(&channel).await.unwrap();
    let mut changes = owner.change_feed();
    changes.subscribe().await.unwrap();
    changes.heartbeat().await.unwrap();
    let beat = listener.recv().await.unwrap().payload().to_owned();
    let [server, triggers] = [2, 3].map(|word| beat.split(' ').nth(word).unwrap());

    let mut session = database.session().await;
    let lock = i64::from_be_bytes(*hmac(&key, "holder").first_chunk().unwrap());
    sqlx::query("select pg_advisory_lock($1)").bind(lock).execute(&mut session).await.unwrap();
    let app = PostgresStore::connect(database.as_role("app")).await.unwrap();
    for (signed_with, is_proof) in [(key.as_str(), true), ("6a1d3f6e-2f0e-4a1e-9d5b-0c8f7e6d5c4b", false)] {
        let cache = cache(&app);
        let send = async {
            loop {
                let number: i64 =
                    sqlx::query_scalar("select nextval('api_keys_beat')").fetch_one(&mut session).await.unwrap();
                let message = format!("{number} {server} {triggers}");
                let payload = format!("beat {message} {}", URL_SAFE_NO_PAD.encode(hmac(signed_with, &message)));
                sqlx::query("select pg_notify($1, $2)")
                    .bind(&channel)
                    .bind(payload)
                    .execute(&mut session)
                    .await
                    .unwrap();
                sleep(LEASE / 20).await;
            }
        };
        let kept = tokio::select! {
            kept = keeps_following(&cache) => kept,
            () = send => unreachable!(),
        };
        assert_eq!(kept, is_proof, "signed with {signed_with}");
    }
}

/// An older node sends `beat ` and a UUID, waits for it, and ignores every other payload that begins
/// with `beat `. Any other payload that it does not understand is a change of any key.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs postgres"]
async fn nodes_of_the_version_before_work_beside_new_ones() {
    let (_server, database) = server().await;
    let store = database.store().await;
    let nodes = [following(&store).await, following(&store).await];
    store.insert(of_alice("k", 1), None, None).await.unwrap().unwrap();
    for node in &nodes {
        assert!(node.find(&[1; 32].into()).await.unwrap().is_some());
    }
    let channel = channel(&database).await;
    // Each new node asks for heartbeats, which come for a second.
    sleep(LEASE + LEASE / 2).await;
    let mut old = PgListener::connect(&database.url).await.unwrap();
    old.listen(&channel).await.unwrap();
    let (mut session, end) = (database.session().await, Instant::now() + 2 * LEASE);
    let (mut own, mut shared) = (0, 0);
    while Instant::now() < end {
        let beat = "with beat as materialized (select 'beat ' || gen_random_uuid() as payload)
            select payload from beat, pg_notify($1, payload)";
        let sent: String = sqlx::query_scalar(beat).bind(&channel).fetch_one(&mut session).await.unwrap();
        loop {
            let heard = old.recv().await.unwrap();
            assert!(heard.payload().starts_with("beat "), "{}", heard.payload());
            if heard.payload() == sent {
                break;
            }
            shared += 1;
        }
        own += 1;
        sleep(LEASE / 40).await;
    }
    assert!(own > 20 && (5..30).contains(&shared), "{own} of its own and {shared} shared heartbeats");
    let before = nodes[0].status().lookups;
    for node in &nodes {
        assert!(node.status().is_following);
        assert!(node.find(&[1; 32].into()).await.unwrap().is_some());
    }
    assert_eq!(nodes[0].status().lookups, before, "its heartbeats are no changes");
    store.revoke(&"k".into(), None).await.unwrap().unwrap();
    loop {
        let heard = old.recv().await.unwrap();
        if !heard.payload().starts_with("beat ") {
            assert_eq!(heard.payload(), "0101");
            break;
        }
    }
}

#[tokio::test]
#[ignore = "needs postgres"]
async fn the_migration_lets_those_who_read_the_nonce_read_and_take_numbers() {
    let (_server, database) = server().await;
    let mut session = database.session().await;
    for migration in PostgresStore::MIGRATIONS.iter().filter(|migration| migration.version < 15) {
        run(&mut session, &migration.script(None, None).unwrap()).await;
    }
    run(&mut session, "create role node login; create role stranger login; grant select on api_keys_schema to node")
        .await;
    database.store().await;
    for (role, may) in [("node", true), ("stranger", false)] {
        let granted = "select has_sequence_privilege($1, 'api_keys_beat', 'usage')
            and has_sequence_privilege($1, 'api_keys_beat', 'select')";
        let granted: bool = sqlx::query_scalar(granted).bind(role).fetch_one(&mut session).await.unwrap();
        assert_eq!(granted, may, "{role}");
    }
}

/// The listener and the pool are connected to two primaries with the same content, as after a
/// failover with an old primary that still runs.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs postgres"]
async fn a_number_of_one_server_proves_nothing_about_another() {
    let (old, new) = with_synchronous_standby().await;
    let of_old = PostgresStore::open(old.url()).await.unwrap();
    let sender = following(&of_old).await;
    new.promote();
    until(async || PostgresStore::connect(new.url()).await.is_ok()).await;
    let mixed = PostgresStore::builder(old.url()).pooler(new.url()).operation_timeout(OPERATION_TIMEOUT);
    never_follows(&mixed.connect().await.unwrap()).await;
    drop(sender);
}

/// The listening session goes on: there is no gap, and no storm of new connections.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs postgres"]
async fn reads_that_fail_for_a_while_leave_the_listening_session_open() {
    let (_server, database) = server().await;
    let sender = following(&database.store().await).await;
    database.sql("create role app login; grant select on api_keys, api_keys_schema, api_keys_beat to app").await;
    let cache = following(&PostgresStore::connect(database.as_role("app")).await.unwrap()).await;
    let listener = "select pid::text from pg_stat_activity
        where usename = 'app' and application_name = 'tower-api-key changes'";
    let before = text(&database, listener).await;
    database.sql("revoke select on api_keys_beat from app").await;
    until(async || !cache.status().is_following).await;
    // The lookups do not wait for a proof.
    assert!(cache.find(&[1; 32].into()).await.unwrap().is_none());
    database.sql("grant select on api_keys_beat to app").await;
    until(async || cache.status().is_following).await;
    assert_eq!(text(&database, listener).await, before);
    drop(sender);
}

/// A copy on the same server has the same triggers and keys, and the same start time.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs postgres"]
async fn a_number_of_one_database_proves_nothing_about_its_copy() {
    let (server, database) = server().await;
    database.store().await.close().await;
    let postgres = server.postgres.url();
    let mut session = PgConnection::connect(&postgres).await.unwrap();
    run(&mut session, &format!("create database copy template {}", database.name)).await;
    let copy = database.url.replace(&database.name, "copy");
    let sender = following(&PostgresStore::connect(&database.url).await.unwrap()).await;
    let mixed = PostgresStore::builder(&database.url).pooler(copy).operation_timeout(OPERATION_TIMEOUT);
    never_follows(&mixed.connect().await.unwrap()).await;
    drop(sender);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs postgres"]
async fn a_cache_follows_the_primary_among_several_hosts() {
    let (mut old, new) = with_synchronous_standby().await;
    let hosts = format!("postgres://postgres@127.0.0.1:{},127.0.0.1:{}/postgres", new.port, old.port);
    let store = PostgresStore::builder(hosts).operation_timeout(2 * OPERATION_TIMEOUT).open().await.unwrap();
    let cache = following(&store).await;
    store.insert(of_alice("k", 1), None, None).await.unwrap().unwrap();
    assert!(cache.find(&[1; 32].into()).await.unwrap().is_some());
    old.kill();
    new.promote();
    until(async || store.revoke(&"k".into(), None).await.is_ok_and(|revoked| revoked.is_ok())).await;
    sleep(LEASE).await;
    let found = cache.find(&[1; 32].into()).await.unwrap().unwrap();
    assert_eq!(found.status(), tower_api_key::Status::Revoked);
    until(async || cache.status().is_following).await;
}

/// Only the session that listens is a direct one: everything else is a transaction of the pooler.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs pgbouncer"]
async fn a_cache_behind_a_transaction_pooler_has_one_direct_session() {
    let (server, database) = server().await;
    database.store().await.close().await;
    let bouncer = Bouncer::start(server.postgres.port, &["pool_mode = transaction", "default_pool_size = 2"]);
    let pooled = PostgresStore::builder(&database.url).pooler(bouncer.url("postgres", &database.name));
    let stores = [pooled.clone().connect().await.unwrap(), pooled.connect().await.unwrap()];
    let caches = [following(&stores[0]).await, following(&stores[1]).await];
    for byte in 0..20 {
        stores[0].insert(of_alice(format!("k{byte}"), byte), None, None).await.unwrap().unwrap();
        for cache in &caches {
            assert!(cache.find(&[byte; 32].into()).await.unwrap().is_some());
        }
        let before = caches[1].status().lookups;
        stores[0].revoke(&format!("k{byte}").into(), None).await.unwrap().unwrap();
        until(async || {
            let found = caches[1].find(&[byte; 32].into()).await.unwrap().unwrap();
            found.status() == tower_api_key::Status::Revoked
        })
        .await;
        assert!(caches[1].status().lookups - before <= 2, "it is looked up after the change, not for each request");
    }
    let direct = "select count(*)::text from pg_stat_activity where application_name = 'tower-api-key changes'";
    assert_eq!(text(&database, direct).await, "2");
    let sessions = "select count(*)::text from pg_stat_activity where datname = current_database()
        and pid <> pg_backend_pid() and backend_type = 'client backend'";
    // Two listeners, and the two sessions of the pooler. A session that has migrated the tables ends
    // a moment after its connection does.
    until(async || text(&database, sessions).await == "4").await;
}
