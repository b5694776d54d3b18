//! Two nodes as processes, and their database, with a relay for each node.
#![allow(dead_code, unreachable_pub, reason = "every test file uses a part of it")]

pub mod caller;
#[path = "../example.rs"]
mod example;
pub mod victim;

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use caller::Caller;
use example::Example;
use serde_json::Value;
use sqlx::{PgPool, postgres::PgPoolOptions};
use tower_api_key::{
    KeyFormat, KeyHasher, KeyRecord,
    store::{KeyRegistry, PostgresStore},
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
    pub database: Arc<Mutex<PgPool>>,
    store: PostgresStore,
    primary: Postgres,
    standby: Option<Postgres>,
}

/// The example `cluster` as one of its nodes.
pub struct Node {
    pub process: Example,
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
        let database = connect(&primary).await;
        let nodes = [Node::start(primary.port).await, Node::start(primary.port).await];
        for node in &nodes {
            until(async || node.cache().await["is_following"] == true).await;
        }
        Self { nodes, database: Arc::new(Mutex::new(database)), store, primary, standby }
    }

    /// Creates keys that may read the statistics.
    pub async fn keys(&self, name: &str, count: usize) -> Vec<Arc<Victim>> {
        let format = KeyFormat::new("acme").unwrap();
        let mut keys = Vec::with_capacity(count);
        for number in 0..count {
            let key = format.generate().unwrap();
            let victim = Victim::new(format!("{name}-{number}"), &key);
            let record = KeyRecord::new(victim.id.clone(), KeyHasher::sha256().digest(&key)).grant("stats", "read");
            self.store.insert(record, None, None).await.unwrap().unwrap();
            keys.push(Arc::new(victim));
        }
        keys
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
        *self.database.lock().unwrap() = connect(&standby).await;
        self.primary = standby;
    }

    /// Returns the port of the connection that node two's change feed uses.
    pub async fn listener(&self) -> i32 {
        let ports = self.nodes[1].relay.ports();
        let listeners: Vec<i32> = sqlx::query_scalar(LISTENERS).fetch_all(&self.pool()).await.unwrap();
        listeners.into_iter().find(|port| ports.contains(port)).expect("node two has no change feed")
    }

    fn pool(&self) -> PgPool {
        self.database.lock().unwrap().clone()
    }

    /// Ends the server process of a connection.
    pub async fn terminate(&self, port: i32) {
        let terminate = "select pg_terminate_backend(pid) from pg_stat_activity where client_port = $1";
        assert!(sqlx::query_scalar::<_, bool>(terminate).bind(port).fetch_one(&self.pool()).await.unwrap());
    }
}

// === impl Node ===

impl Node {
    async fn start(database: u16) -> Self {
        let relay = Relay::start(database).await;
        let url = relay.url("postgres");
        let folder = Arc::new(tempfile::tempdir().unwrap());
        let process = Example::start_with("cluster", folder, |command| command.arg("node").env("DATABASE_URL", url));
        let address = process.url.strip_prefix("http://").unwrap().parse().unwrap();
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
