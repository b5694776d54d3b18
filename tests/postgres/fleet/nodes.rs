//! The nodes, their server, and the one that sends the heartbeats.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use sqlx::{PgPool, postgres::PgPoolOptions};
use tokio::{
    sync::Semaphore,
    task::JoinSet,
    time::{Instant, sleep},
};
use tower_api_key::{
    KeyDigest, KeyId, KeyRecord, KeyRegistry, KeyStore, Lookup, Status,
    store::{CachedStore, PostgresStore},
};

use crate::{
    cluster::{
        caller::Caller,
        kind::{ROLES, TABLES},
        node::Process,
    },
    database::{Database, Server},
    relay::Relay,
    support::{bounds::LEASE, until},
};

pub struct Fleet {
    pub server: Server,
    pub nodes: Vec<Arc<Node>>,
    pool: PgPool,
    store: PostgresStore,
}

/// A node as a task.
pub struct Node {
    pub cache: CachedStore<PostgresStore>,
}

/// The node that sends the heartbeats, as a process.
pub struct Sender {
    pub process: Process,
    pub relay: Relay,
    address: SocketAddr,
}

/// The holders of the lock: their port, and the lock.
const HOLDERS: &str = "select client_port, (classid::bigint << 32) | objid::bigint
    from pg_locks join pg_stat_activity using (pid)
    where locktype = 'advisory' and granted and application_name = 'tower-api-key changes'";
const TERMINATE: &str = "select pg_terminate_backend(pid, 5000) from pg_stat_activity where client_port = $1";
/// How many nodes use a key while it is revoked.
const USERS: usize = 4;
/// Between two revocations. Each change wakes a session for each node.
const PAUSE: Duration = Duration::from_millis(200);

// === impl Fleet ===

impl Fleet {
    /// Starts the sender first, so that it holds the lock, and then this many other nodes.
    pub async fn start(size: usize) -> (Self, Sender) {
        let server = Server::start(&["max_connections=3000", "shared_buffers=64MB"]);
        let database = server.database().await;
        let store = PostgresStore::builder(&database.url).open().await.unwrap();
        let pool = PgPoolOptions::new().max_connections(4).connect(&database.url).await.unwrap();
        for table in [TABLES, ROLES] {
            sqlx::query(table).execute(&pool).await.unwrap();
        }
        let sender = Sender::start(&server, &database).await;
        let (mut starting, at_once) = (JoinSet::new(), Arc::new(Semaphore::new(8)));
        for _ in 0..size {
            let (url, at_once) = (database.url.clone(), Arc::clone(&at_once));
            starting.spawn(async move {
                let _turn = at_once.acquire().await;
                let store =
                    PostgresStore::builder(url).connections(1).operation_timeout(30 * LEASE).connect().await.unwrap();
                let cache = CachedStore::builder(store.clone(), store.change_feed()).entries(2_000).build().unwrap();
                while !cache.status().is_following {
                    sleep(LEASE / 50).await;
                }
                Arc::new(Node { cache })
            });
        }
        let nodes = starting.join_all().await;
        let fleet = Self { server, nodes, pool, store };
        until(async || fleet.nodes.iter().all(|node| node.cache.status().is_following)).await;
        assert!(sender.is_holder(&fleet).await, "the first node holds the lock");
        (fleet, sender)
    }

    /// Returns the number of the newest beat.
    pub async fn beats(&self) -> i64 {
        sqlx::query_scalar("select last_value from api_keys_beat").fetch_one(&self.pool).await.unwrap()
    }

    /// Returns the port of the holder's session, and the number of the lock.
    pub async fn holder(&self) -> Option<(i32, i64)> {
        let holders: Vec<(i32, i64)> = sqlx::query_as(HOLDERS).fetch_all(&self.pool).await.unwrap();
        assert!(holders.len() <= 1, "{holders:?}");
        holders.first().copied()
    }

    /// Ends the session of the holder.
    pub async fn terminate_holder(&self) -> i64 {
        loop {
            if let Some((port, lock)) = self.holder().await {
                self.terminate(port).await;
                return lock;
            }
            sleep(LEASE / 50).await;
        }
    }

    async fn terminate(&self, port: i32) {
        sqlx::query(TERMINATE).bind(port).execute(&self.pool).await.unwrap();
    }

    /// Makes the sender the holder: a session of this test takes the lock from the present one. It
    /// gives the lock up just after a beat, when no other node is about to try, and makes the
    /// sender connect again, which tries at once.
    pub async fn make_holder(&self, sender: &Sender) {
        until(async || sender.listener(self).await.is_some()).await;
        // While the holder is asked, the node that sends in its place tries far more often.
        sleep(2 * LEASE).await;
        while !sender.is_holder(self).await {
            let mut session = self.pool.acquire().await.unwrap();
            let take = "select pg_try_advisory_lock($1)";
            let lock = loop {
                let lock = self.terminate_holder().await;
                // Otherwise another node was faster.
                if sqlx::query_scalar::<_, bool>(take).bind(lock).fetch_one(&mut *session).await.unwrap() {
                    break lock;
                }
            };
            let before = self.beats().await;
            until(async || self.beats().await > before).await;
            sqlx::query("select pg_advisory_unlock($1)").bind(lock).execute(&mut *session).await.unwrap();
            if let Some(port) = sender.listener(self).await {
                self.terminate(port).await;
            }
            until(async || self.holder().await.is_some()).await;
        }
        sleep(LEASE).await;
    }

    /// Returns so many new keys that one after the other can be revoked for this long. They exist before
    /// a node uses one, since each new key is a change, too.
    pub async fn new_keys(&self, duration: Duration) -> Vec<KeyDigest> {
        let count = duration.as_millis() / PAUSE.as_millis();
        let keys: Vec<[u8; 32]> = (0..count).map(|_| rand::random()).collect();
        for key in &keys {
            self.store.insert(KeyRecord::new(id_of(&(*key).into()), *key), None, None).await.unwrap().unwrap();
        }
        keys.into_iter().map(KeyDigest::from).collect()
    }

    /// Revokes one key after the other, while several nodes use it. Returns the times from the
    /// commits to the last requests that were accepted, in order.
    pub async fn revoke_keys(&self, keys: Vec<KeyDigest>) -> Vec<Duration> {
        let mut victims = JoinSet::new();
        for (number, key) in keys.into_iter().enumerate() {
            let (store, first) = (self.store.clone(), number * 7919);
            let users = (0..USERS).map(|user| first + user * (self.nodes.len() / USERS).max(1));
            let users: Vec<_> = users.map(|node| Arc::clone(&self.nodes[node % self.nodes.len()])).collect();
            victims.spawn(revoke_one(store, key, users));
            sleep(PAUSE).await;
        }
        let mut lags = victims.join_all().await;
        lags.sort();
        lags
    }
}

async fn revoke_one(store: PostgresStore, digest: KeyDigest, users: Vec<Arc<Node>>) -> Duration {
    let mut using = JoinSet::new();
    for user in users {
        assert!(user.accepts(&digest).await, "before the revocation");
        using.spawn(async move {
            let (mut last, mut refused) = (Instant::now(), 0);
            // A node that rejected the key once must not accept it again.
            while refused < 3 {
                let began = Instant::now();
                if user.accepts(&digest).await {
                    (last, refused) = (began, 0);
                } else {
                    refused += 1;
                }
                sleep(Duration::from_millis(2)).await;
            }
            last
        });
    }
    sleep(Duration::from_millis(10)).await;
    let sent = Instant::now();
    store.revoke(&id_of(&digest), None).await.unwrap().unwrap();
    let done = Instant::now();
    let last = using.join_all().await.into_iter().max().unwrap();
    assert!(last <= done + LEASE, "accepted {:?} after the commit", last - done);
    last.saturating_duration_since(sent)
}

fn id_of(digest: &KeyDigest) -> KeyId {
    format!("{:032x}", u128::from_be_bytes(*digest.as_bytes().first_chunk().unwrap())).into()
}

// === impl Node ===

impl Node {
    async fn accepts(&self, digest: &KeyDigest) -> bool {
        let found = match self.cache.try_find(digest) {
            Lookup::Found(record) => Some(record),
            Lookup::Absent => None,
            Lookup::Pending => self.cache.find(digest).await.unwrap(),
        };
        found.is_some_and(|record| record.status() == Status::Active)
    }

    /// Looks up four unknown keys, again and again. Returns the number of answers.
    pub async fn repeat_unknown_keys(self: Arc<Self>, duration: Duration) -> usize {
        let end = Instant::now() + duration;
        let mut callers = JoinSet::new();
        for caller in 0..4 {
            let node = Arc::clone(&self);
            callers.spawn(async move {
                let mut count = 0;
                while Instant::now() < end {
                    assert!(!node.accepts(&[caller; 32].into()).await);
                    count += 1;
                }
                count
            });
        }
        callers.join_all().await.into_iter().sum()
    }
}

// === impl Sender ===

impl Sender {
    async fn start(server: &Server, database: &Database) -> Self {
        let relay = Relay::start(server.postgres.port).await;
        let (process, address) = Process::start(relay.url(&database.name));
        let sender = Self { process, relay, address };
        until(async || sender.is_following().await).await;
        sender
    }

    pub async fn is_following(&self) -> bool {
        let (status, body) = Caller::connect(self.address).await.get("/cache", "").await;
        assert_eq!(status, 200);
        serde_json::from_slice::<serde_json::Value>(&body).unwrap()["is_following"] == true
    }

    async fn is_holder(&self, fleet: &Fleet) -> bool {
        fleet.holder().await.is_some_and(|(port, _)| self.relay.ports().contains(&port))
    }

    /// Returns the port of its listening session.
    async fn listener(&self, fleet: &Fleet) -> Option<i32> {
        let listeners = "select client_port from pg_stat_activity where application_name = 'tower-api-key changes'";
        let listeners: Vec<i32> = sqlx::query_scalar(listeners).fetch_all(&fleet.pool).await.unwrap();
        let ports = self.relay.ports();
        listeners.into_iter().find(|port| ports.contains(port))
    }
}
