//! Tests the responses during failures: the rows of the table in the guide's chapter on deployment
//! that no other test covers.
#[path = "../support/database.rs"]
mod simulated;

use std::{
    convert::Infallible,
    env,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use http::{Request, Response};
use tokio::time::{Instant, sleep, timeout};
use tower::{Layer, ServiceExt, service_fn};
use tower_api_key::{
    ApiKey, ApiKeyLayer, KeyFormat, KeyHasher, KeyRecord, KeyRegistry, KeyStore, Status,
    store::{CachedStore, PostgresStore},
};

use self::simulated::Database;
use crate::{
    cluster::{Cluster, caller::Caller, kind::Kind},
    database::{self, run},
    support::{
        bounds::{DEADLINE, LEASE},
        until,
    },
};

/// An API over a cache.
struct Api<S> {
    cache: CachedStore<S>,
    layer: ApiKeyLayer,
}

/// The same over its own server, with keys in it.
struct Node {
    server: database::Server,
    database: database::Database,
    store: PostgresStore,
    api: Api<PostgresStore>,
    keys: Vec<ApiKey>,
}

// === a database under paused time ===

fn key() -> ApiKey {
    KeyFormat::new("acme").unwrap().generate().unwrap()
}

fn record(number: usize, key: &ApiKey) -> KeyRecord {
    KeyRecord::for_key(format!("k{number}"), key, &KeyHasher::sha256())
}

#[tokio::test(start_paused = true)]
async fn a_wall_clock_that_jumps_changes_neither_the_lease_nor_the_bound() {
    let (database, noon) = (Database::new(), SystemTime::UNIX_EPOCH + Duration::from_hours(500_000));
    let [plain, ending] = [key(), key()];
    database.commit(record(1, &plain));
    database.commit(record(2, &ending).with_expires_at(noon + Duration::from_mins(30)));
    let (clock, channel) = (Arc::new(Mutex::new(noon)), database.channel());
    let cache = CachedStore::builder(database.clone(), channel.clone()).build().unwrap();
    let now = Arc::clone(&clock);
    let layer = ApiKeyLayer::builder(cache.clone()).clock(move || *now.lock().unwrap()).build().unwrap();
    let api = Api { cache, layer };
    sleep(Duration::from_millis(1)).await;
    assert_eq!([api.status(&plain).await, api.status(&ending).await], [200, 200]);
    for (jump, of_ending) in [(noon + Duration::from_hours(1), 401), (noon - Duration::from_hours(1), 200)] {
        *clock.lock().unwrap() = jump;
        for _ in 0..20 {
            sleep(LEASE / 4).await;
            // The times of a key are wall-clock times.
            assert_eq!([api.status(&plain).await, api.status(&ending).await], [200, of_ending]);
        }
    }
    assert_eq!(database.lookups(), 2, "the cache keeps answering");
    channel.set_silent(true);
    database.commit(record(1, &plain).with_status(Status::Revoked));
    *clock.lock().unwrap() = noon - Duration::from_hours(1);
    sleep(LEASE).await;
    assert_eq!(api.status(&plain).await, 401);
}

#[tokio::test(start_paused = true)]
async fn in_a_cache_that_is_full_every_key_is_answered_rightly_and_memory_is_bounded() {
    let database = Database::new();
    let keys: Vec<ApiKey> = (0..1000).map(|_| key()).collect();
    for (number, key) in keys.iter().enumerate() {
        database.commit(record(number, key));
    }
    let api = Api::over(CachedStore::builder(database.clone(), database.channel()).entries(64).build().unwrap());
    sleep(Duration::from_millis(1)).await;
    for round in 0..3 {
        for (number, key) in keys.iter().enumerate() {
            // Every third key is revoked after the first round.
            let is_good = round == 0 || number % 3 > 0;
            assert_eq!(api.status(key).await, if is_good { 200 } else { 401 });
            assert_eq!(api.status(&self::key()).await, 401);
        }
        for (number, key) in keys.iter().enumerate().filter(|(number, _)| round == 0 && number % 3 == 0) {
            database.commit(record(number, key).with_status(Status::Revoked));
        }
        sleep(Duration::from_millis(1)).await;
    }
    let status = api.cache.status();
    assert!(status.entries <= 64 && status.negative_entries <= 64, "{status:?}");
    assert!((3000..=6000).contains(&status.lookups), "{status:?}");
}

#[tokio::test(start_paused = true)]
async fn heartbeats_that_take_longer_than_the_lease_leave_every_look_up_to_the_store() {
    let (database, key) = (Database::new(), key());
    database.commit(record(1, &key));
    let channel = database.channel();
    let api = Api::over(CachedStore::builder(database.clone(), channel.clone()).build().unwrap());
    sleep(Duration::from_millis(1)).await;
    assert_eq!(api.status(&key).await, 200);
    channel.set_lag(LEASE);
    sleep(LEASE * 2).await;
    for asked in 2..20 {
        assert_eq!(api.status(&key).await, 200);
        assert_eq!(database.lookups(), asked);
        sleep(LEASE).await;
    }
    database.commit(record(1, &key).with_status(Status::Revoked));
    assert_eq!(api.status(&key).await, 401, "at once");
}

// === PostgreSQL ===

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs postgres"]
async fn while_the_server_is_down_nobody_is_let_in_and_nothing_has_to_be_started_again() {
    let mut node = Node::start().await;
    let [known, other] = [node.keys[0].clone(), node.keys[1].clone()];
    let lenient = Api::over(node.api.cache.clone().stale_if_error(Duration::from_mins(5)));
    assert_eq!(node.api.status(&known).await, 200);
    node.server.postgres.kill();
    let down = Instant::now();
    until(async || node.api.status(&known).await == 503).await;
    assert!(down.elapsed() <= LEASE * 2, "{:?}", down.elapsed());
    for _ in 0..10 {
        assert_eq!([node.api.status(&known).await, node.api.status(&other).await], [503, 503]);
        assert_eq!([lenient.status(&known).await, lenient.status(&other).await], [200, 503]);
        assert_eq!(node.api.status(&key()).await, 503, "a key that may be new");
    }
    node.store.revoke(&"k1".into(), None).await.unwrap_err();
    node.server.postgres.resume();
    assert_eq!([node.api.status(&known).await, node.api.status(&other).await], [200, 200], "by a lookup");
    assert_eq!(node.api.status(&key()).await, 401);
    until(async || node.api.cache.status().is_following).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs postgres"]
async fn while_the_table_is_locked_known_keys_work_and_others_are_told_to_come_again() {
    let node = Node::start().await;
    let [known, other] = &node.keys[..2] else { unreachable!() };
    assert_eq!(node.api.status(known).await, 200);
    let mut session = node.database.session().await;
    run(&mut session, "begin; lock table api_keys in access exclusive mode").await;
    let start = Instant::now();
    assert_eq!([node.api.status(other).await, node.api.status(&key()).await], [503, 503]);
    assert!(start.elapsed() < DEADLINE * 3, "{:?}", start.elapsed());
    node.store.revoke(&"k0".into(), None).await.unwrap_err();
    // A node without CPU time for a lease may have failed a heartbeat.
    until(async || node.api.status(known).await == 200).await;
    assert!(start.elapsed() > LEASE * 2, "later than any heartbeat from before the lock");
    run(&mut session, "rollback").await;
    assert_eq!([node.api.status(known).await, node.api.status(other).await], [200, 200]);
    node.store.revoke(&"k0".into(), None).await.unwrap().unwrap();
    until(async || node.api.status(known).await == 401).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs postgres"]
async fn without_triggers_nothing_is_answered_from_memory() {
    let node = Node::start().await;
    let key = &node.keys[0];
    assert_eq!(node.api.status(key).await, 200);
    node.database.sql("alter table api_keys disable trigger all").await;
    until(async || !node.api.cache.status().is_following).await;
    for _ in 0..3 {
        let before = node.api.cache.status().lookups;
        assert_eq!(node.api.status(key).await, 200);
        assert_eq!(node.api.cache.status().lookups, before + 1);
        // Concurrent requests share a lookup.
        sleep(LEASE / 20).await;
    }
    node.database.sql("update api_keys set status = 'revoked' where id = 'k0'").await;
    assert_eq!(node.api.status(key).await, 401, "at once");
    for trigger in ["api_keys_tell", "api_keys_tell_change", "api_keys_tell_all"] {
        node.database.sql(&format!("alter table api_keys enable always trigger {trigger}")).await;
    }
    until(async || node.api.cache.status().is_following).await;
}

/// A commit that waits for its standby blocks all later notifications, including heartbeats.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs postgres"]
async fn while_a_revocation_waits_for_a_standby_that_is_gone_keys_are_looked_up() {
    let node = Node::start().await;
    let [waiting, other] = &node.keys[..2] else { unreachable!() };
    assert_eq!([node.api.status(waiting).await, node.api.status(other).await], [200, 200]);
    node.lose_standby().await;
    node.store.revoke(&"k0".into(), None).await.unwrap_err();
    until(async || !node.api.cache.status().is_following).await;
    let before = node.api.cache.status().lookups;
    assert_eq!([node.api.status(waiting).await, node.api.status(other).await], [200, 200], "not yet revoked");
    assert_eq!(node.api.cache.status().lookups, before + 2);
    node.database.sql("alter system reset synchronous_standby_names").await;
    node.database.sql("select pg_reload_conf()").await;
    until(async || node.api.status(waiting).await == 401).await;
    until(async || node.api.cache.status().is_following).await;
    assert_eq!(node.api.status(other).await, 200);
}

/// A session that waits in a commit does not notice that its client is gone.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs postgres"]
async fn heartbeats_that_wait_leave_no_sessions_behind() {
    let node = Node::start().await;
    node.lose_standby().await;
    node.store.revoke(&"k0".into(), None).await.unwrap_err();
    let sessions = "select count(*) from pg_stat_activity
        where application_name in ('tower-api-key', 'tower-api-key changes')";
    let start = Instant::now();
    while start.elapsed() < LEASE * 8 {
        let sessions =
            sqlx::query_scalar::<_, i64>(sessions).fetch_one(&mut node.database.session().await).await.unwrap();
        assert!(sessions <= 4, "{sessions} sessions of one channel, {:?} after", start.elapsed());
        sleep(LEASE / 4).await;
    }
}

/// Set `STOPPED_SECONDS=60` for a minute. A shorter time proves the same, since no timeout of a
/// node exceeds five seconds.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs postgres"]
async fn a_node_that_was_stopped_for_longer_than_every_timeout_comes_back_and_believes_nothing() {
    let seconds = env::var("STOPPED_SECONDS").ok().and_then(|seconds| seconds.parse().ok()).unwrap_or(6);
    let cluster = Cluster::start().await;
    let victims = cluster.keys(Kind::Revoked, "victim", 20).await;
    let good = cluster.keys(Kind::Revoked, "good", 1).await.remove(0);
    let node = &cluster.nodes[1];
    let mut callers = Vec::new();
    for victim in &victims {
        let mut caller = Caller::connect(node.address).await;
        assert_eq!(caller.get("/stats", &victim.key).await.0, 200);
        callers.push(caller);
    }
    let mut caller = Caller::connect(node.address).await;
    assert_eq!(caller.get("/stats", &good.key).await.0, 200);

    node.process.signal("-STOP");
    let database = cluster.database.lock().unwrap().clone();
    for victim in &victims {
        victim.change(&database).await.unwrap();
    }
    sleep(Duration::from_secs(seconds)).await;
    // These wait in the node's sockets, and are the first that it processes.
    let asking: Vec<_> = callers
        .into_iter()
        .zip(victims.clone())
        .map(|(mut caller, victim)| tokio::spawn(async move { caller.get("/stats", &victim.key).await.0 }))
        .collect();
    sleep(LEASE / 10).await;
    node.process.signal("-CONT");
    let resumed = Instant::now();
    until(async || Caller::connect(node.address).await.get("/stats", &good.key).await.0 == 200).await;
    println!("outages: stopped for {seconds} s, a good key works {:?} after", resumed.elapsed());
    for asked in asking {
        assert_ne!(asked.await.unwrap(), 200, "a key that was revoked {seconds} s ago");
    }
    for victim in &victims {
        assert_eq!(caller.get("/stats", &victim.key).await.0, 401);
    }
    until(async || node.cache().await["is_following"] == true).await;
}

// === impl Api, Node ===

impl<S: KeyStore> Api<S> {
    fn over(cache: CachedStore<S>) -> Self {
        let layer = ApiKeyLayer::builder(cache.clone()).deadline(DEADLINE).build().unwrap();
        Self { cache, layer }
    }

    async fn status(&self, key: &ApiKey) -> u16 {
        let request = Request::builder().header("x-api-key", key.expose()).body(()).unwrap();
        let inner = service_fn(async |_: Request<()>| Ok::<_, Infallible>(Response::new(())));
        self.layer.layer(inner).oneshot(request).await.unwrap().status().as_u16()
    }
}

impl Node {
    async fn start() -> Self {
        let server = database::Server::start(&[]);
        let database = server.database().await;
        let store =
            PostgresStore::builder(&database.url).connections(2).operation_timeout(DEADLINE).open().await.unwrap();
        let keys: Vec<ApiKey> = (0..3).map(|_| key()).collect();
        for (number, key) in keys.iter().enumerate() {
            store.insert(record(number, key), None, None).await.unwrap().unwrap();
        }
        let api = Api::over(CachedStore::builder(store.clone(), store.change_feed()).build().unwrap());
        until(async || api.cache.status().is_following).await;
        Self { server, database, store, api, keys }
    }

    /// From now on, a commit waits for a missing standby.
    async fn lose_standby(&self) {
        self.database.sql("alter system set synchronous_standby_names = 'gone'").await;
        self.database.sql("select pg_reload_conf()").await;
        // A server process applies it some time later.
        let probe = "select pg_logical_emit_message(true, 'probe', '')";
        until(async || timeout(Duration::from_millis(200), self.database.sql(probe)).await.is_err()).await;
    }
}
