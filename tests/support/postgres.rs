//! New databases on a server of one's own.

#[path = "../../examples/cluster/postgres.rs"]
mod server;

use std::sync::atomic::{AtomicUsize, Ordering};

pub use server::Postgres;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tower_api_key::store::PostgresStore;

/// A server with any number of databases.
pub struct Server {
    pub postgres: Postgres,
    databases: AtomicUsize,
}

/// One of them, empty at first.
pub struct Database {
    pub name: String,
    pub url: String,
}

// === impl Server ===

impl Server {
    pub fn start(settings: &[&str]) -> Self {
        // Tests take power cuts by `kill`, and need no disk that survives one.
        let settings = [&["fsync=off", "max_connections=200"], settings].concat();
        Self { postgres: Postgres::start(&settings), databases: AtomicUsize::new(0) }
    }

    pub async fn database(&self) -> Database {
        let name = format!("keys{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let mut admin = PgConnection::connect(&self.postgres.url()).await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(format!("create database {name}"))).execute(&mut admin).await.unwrap();
        let url = self.postgres.url();
        Database { url: format!("{}{name}", url.strip_suffix("postgres").unwrap()), name }
    }
}

// === impl Database ===

impl Database {
    pub async fn store(&self) -> PostgresStore {
        PostgresStore::open(&self.url).await.unwrap()
    }
}
