//! M5, M16, S1, S2, S4, S5, S8: faults of the SQLite store.

mod batches;
mod fairness;
mod files;
#[cfg(all(target_os = "linux", feature = "admin-api"))]
mod full_disk;
mod queries;
mod upgrades;

use std::{fs, path::PathBuf};

use sqlx::{AssertSqlSafe, SqlitePool, sqlite::SqliteConnectOptions};
use tempfile::TempDir;
use tower_api_key::{KeyRecord, KeyRegistry, Owner, store::SqliteStore};

/// A directory with a database in a subdirectory.
pub(super) struct File(TempDir);

impl File {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("keys")).unwrap();
        Self(folder)
    }

    fn other(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(super) fn path(&self) -> PathBuf {
        self.0.path().join("keys/keys.db")
    }

    fn beside(&self, ending: &str) -> PathBuf {
        self.0.path().join(format!("keys/keys.db{ending}"))
    }

    pub(super) async fn open(&self) -> SqliteStore {
        SqliteStore::open(self.path()).await.unwrap()
    }

    /// The file as another program sees it.
    pub(super) async fn raw(&self) -> SqlitePool {
        SqlitePool::connect_with(SqliteConnectOptions::new().filename(self.path())).await.unwrap()
    }
}

pub(super) async fn sql(pool: &SqlitePool, statement: impl Into<String>) {
    sqlx::raw_sql(AssertSqlSafe(statement.into())).execute(pool).await.unwrap();
}

fn key(id: &str, byte: u8) -> KeyRecord {
    KeyRecord::new(id, [byte; 32]).with_organization("acme").with_owner(Owner::ServiceAccount)
}

async fn add(store: &SqliteStore, record: KeyRecord) {
    store.insert(record, None, None).await.unwrap().unwrap();
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
