//! Creates databases on a private server.
#![allow(dead_code, unreachable_pub, reason = "every test file uses a part of it")]

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

/// A new, empty database.
pub struct Database {
    pub name: String,
    pub url: String,
}

// === impl Server ===

impl Server {
    /// Without fsync: tests kill servers, but not the machine.
    pub fn start(settings: &[&str]) -> Self {
        let settings = [&["fsync=off", "max_connections=200"], settings].concat();
        Self { postgres: Postgres::start(&settings), databases: AtomicUsize::new(0) }
    }

    pub async fn database(&self) -> Database {
        let name = format!("keys{}", self.databases.fetch_add(1, Ordering::Relaxed));
        sql(&self.postgres.url(), &format!("create database {name}")).await;
        Database { url: self.url_of(&name), name }
    }

    pub fn url_of(&self, database: &str) -> String {
        let url = self.postgres.url();
        format!("{}{database}", url.strip_suffix("postgres").unwrap())
    }
}

// === impl Database ===

impl Database {
    pub async fn store(&self) -> PostgresStore {
        PostgresStore::open(&self.url).await.unwrap()
    }

    /// A session, as another program has it.
    pub async fn session(&self) -> PgConnection {
        PgConnection::connect(&self.url).await.unwrap()
    }

    /// Runs manual SQL in a new session.
    pub async fn sql(&self, statements: &str) {
        sql(&self.url, statements).await;
    }

    /// The same database with another role.
    pub fn as_role(&self, role: &str) -> String {
        self.url.replace("//postgres@", &format!("//{role}@"))
    }
}

pub async fn sql(url: &str, statements: &str) {
    let mut session = PgConnection::connect(url).await.unwrap();
    run(&mut session, statements).await;
    session.close().await.unwrap();
}

/// In this session.
pub async fn run(session: &mut PgConnection, statements: &str) {
    sqlx::raw_sql(AssertSqlSafe(statements.to_owned())).execute(session).await.unwrap();
}
