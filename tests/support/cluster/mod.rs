//! Two nodes as processes, and their database, with a relay for each node.
#![allow(dead_code, unreachable_pub, reason = "every test file uses a part of it")]

pub mod caller;
pub mod kind;
pub mod node;
pub mod victim;

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use caller::Caller;
use kind::{Kind, ROLES, TABLES, tokens};
use node::Process;
use serde_json::Value;
use sqlx::{PgPool, postgres::PgPoolOptions};
use tower_api_key::{
    ApiKey, ApiKeyLayer, KeyFormat, KeyHasher, KeyManager, KeyRecord,
    store::{KeyRegistry, PostgresStore},
    token::NewToken,
};
use victim::Victim;

use crate::{
    database::{Postgres, Server},
    relay::Relay,
    support::until,
};

pub struct Cluster {
    pub nodes: [Node; 2],
    /// The primary.
    pub database: Arc<Mutex<Database>>,
    store: PostgresStore,
    primary: Postgres,
    standby: Option<Postgres>,
}

/// A database, as an administrator and the application change it.
#[derive(Clone)]
pub struct Database {
    pool: PgPool,
    manager: KeyManager,
}

/// A node, as a process of its own.
pub struct Node {
    pub process: Process,
    pub address: SocketAddr,
    pub relay: Relay,
}

const LISTENERS: &str = "select client_port from pg_stat_activity where application_name = 'tower-api-key changes'";

// === impl Cluster ===

impl Cluster {
    pub async fn start() -> Self {
        Self::over(Server::start(&[]).postgres, None).await
    }

    /// Starts a cluster with a synchronous standby.
    pub async fn with_standby() -> Self {
        let (primary, standby) = with_synchronous_standby().await;
        Self::over(primary, Some(standby)).await
    }

    async fn over(primary: Postgres, standby: Option<Postgres>) -> Self {
        let store = PostgresStore::open(primary.url()).await.unwrap();
        let database = Database::of(&primary, store.clone()).await;
        for table in [TABLES, ROLES] {
            sqlx::query(table).execute(&database.pool).await.unwrap();
        }
        let nodes = [Node::start(primary.port).await, Node::start(primary.port).await];
        for node in &nodes {
            until(async || node.cache().await["is_following"] == true).await;
        }
        Self { nodes, database: Arc::new(Mutex::new(database)), store, primary, standby }
    }

    /// Creates keys that may write the statistics.
    pub async fn keys(&self, kind: Kind, name: &str, count: usize) -> Vec<Arc<Victim>> {
        let format = KeyFormat::new("acme").unwrap();
        let mut keys = Vec::with_capacity(count);
        for number in 0..count {
            let key = format.generate().unwrap();
            let id = format!("{name}-{kind:?}-{number}");
            let record = KeyRecord::new(id.clone(), KeyHasher::sha256().digest(&key)).grant("stats", "write");
            let record = kind.prepare(record, &self.pool()).await;
            self.store.insert(record, None, None).await.unwrap().unwrap();
            let presented = if kind == Kind::TokenRevoked { self.token_of(&key).await } else { key };
            keys.push(Arc::new(Victim::new(kind, id, &presented)));
        }
        keys
    }

    async fn token_of(&self, key: &ApiKey) -> ApiKey {
        let layer = ApiKeyLayer::builder(self.store.clone()).build().unwrap();
        let request = http::Request::get("/").header("x-api-key", key.expose()).body(()).unwrap();
        let principal = layer.authenticate(&request).await.unwrap();
        let token = tokens().issue(&principal, NewToken::lasting(Duration::from_mins(50))).unwrap();
        token.text().clone()
    }

    pub fn kill_server(&mut self) {
        self.primary.kill();
    }

    pub fn resume_server(&mut self) {
        self.primary.resume();
    }

    /// Makes the standby the primary.
    pub async fn fail_over(&mut self) {
        self.primary.kill();
        let standby = self.standby.take().expect("a standby");
        standby.promote();
        for node in &self.nodes {
            node.relay.switch(standby.port);
        }
        let store = PostgresStore::connect(standby.url()).await.unwrap();
        *self.database.lock().unwrap() = Database::of(&standby, store).await;
        self.primary = standby;
    }

    /// Returns the port of the connection that node two's change feed uses.
    pub async fn listener(&self) -> i32 {
        let ports = self.nodes[1].relay.ports();
        let listeners: Vec<i32> = sqlx::query_scalar(LISTENERS).fetch_all(&self.pool()).await.unwrap();
        listeners.into_iter().find(|port| ports.contains(port)).expect("node two has no change feed")
    }

    fn pool(&self) -> PgPool {
        self.database.lock().unwrap().pool.clone()
    }

    /// Ends the server process of a connection.
    pub async fn terminate(&self, port: i32) {
        let terminate = "select pg_terminate_backend(pid) from pg_stat_activity where client_port = $1";
        assert!(sqlx::query_scalar::<_, bool>(terminate).bind(port).fetch_one(&self.pool()).await.unwrap());
    }
}

// === impl Database ===

impl Database {
    async fn of(postgres: &Postgres, store: PostgresStore) -> Self {
        let manager = KeyManager::builder(store).format(KeyFormat::new("acme").unwrap()).build().unwrap();
        Self { pool: connect(postgres).await, manager }
    }
}

// === impl Node ===

impl Node {
    async fn start(database: u16) -> Self {
        let relay = Relay::start(database).await;
        let (process, address) = Process::start(relay.url("postgres"));
        Self { process, address, relay }
    }

    /// Returns the state of its cache.
    pub async fn cache(&self) -> Value {
        let (status, body) = Caller::connect(self.address).await.get("/cache", "").await;
        assert_eq!(status, 200);
        serde_json::from_slice(&body).unwrap()
    }
}

/// Starts a primary, and a standby that has each commit before it is answered.
pub async fn with_synchronous_standby() -> (Postgres, Postgres) {
    let primary = Server::start(&[]).postgres;
    let standby = primary.standby(&[]);
    let database = connect(&primary).await;
    for setting in ["alter system set synchronous_standby_names = '*'", "select pg_reload_conf()"] {
        sqlx::query(setting).execute(&database).await.unwrap();
    }
    let synchronous = "select count(*) from pg_stat_replication where sync_state = 'sync'";
    until(async || sqlx::query_scalar::<_, i64>(synchronous).fetch_one(&database).await.unwrap() == 1).await;
    (primary, standby)
}

pub async fn connect(postgres: &Postgres) -> PgPool {
    let options = PgPoolOptions::new().max_connections(8).acquire_timeout(Duration::from_secs(2));
    options.connect(&postgres.url()).await.unwrap()
}
