//! The change feed of SQLite, by `pragma data_version`.

use std::{sync::Arc, time::Duration};

use sqlx::{ConnectOptions, SqliteConnection, sqlite::SqliteConnectOptions};
use tokio::time::sleep;

use super::file::Files;
use crate::store::{ChangeFeed, Invalidation};

/// Reports the changes in the file of a [`SqliteStore`](crate::store::SqliteStore), by any process.
///
/// SQLite reports that the file was changed, but not how. So each change is an
/// [`Invalidation::All`], including a write of usage. The feed polls the file every 10 ms. Once the
/// file was replaced, moved or removed, every call fails, so a cache uses none of its entries.
///
/// ```
/// use tower_api_key::store::{ChangeFeed, SqliteStore};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let mut changes = SqliteStore::open("keys.db").await?.change_feed();
/// changes.subscribe().await?;
/// println!("{:?}", changes.next().await?);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct SqliteChangeFeed {
    options: SqliteConnectOptions,
    /// The files that the store reads. Changes in other files would prove nothing.
    files: Arc<Files>,
    /// A connection that only reads, with the `data_version` that it read last. Since it never
    /// writes, a new version always means a change by another connection.
    watch: Option<(SqliteConnection, i64)>,
}

const PAUSE: Duration = Duration::from_millis(10);

// === impl SqliteChangeFeed ===

impl SqliteChangeFeed {
    pub(super) fn new(options: &SqliteConnectOptions, files: Arc<Files>) -> Self {
        Self { options: options.clone(), files, watch: None }
    }

    async fn was_changed(&mut self) -> Result<bool, sqlx::Error> {
        let Some((connection, last)) = &mut self.watch else {
            return Err(sqlx::Error::PoolClosed);
        };
        self.files.check()?;
        let version = version(connection).await?;
        Ok(std::mem::replace(last, version) != version)
    }
}

impl ChangeFeed for SqliteChangeFeed {
    type Error = sqlx::Error;

    async fn subscribe(&mut self) -> Result<(), sqlx::Error> {
        self.files.check()?;
        let mut connection = self.options.connect().await?;
        let version = version(&mut connection).await?;
        self.files.check()?;
        self.watch = Some((connection, version));
        Ok(())
    }

    async fn next(&mut self) -> Result<Invalidation, sqlx::Error> {
        loop {
            sleep(PAUSE).await;
            if self.was_changed().await? {
                return Ok(Invalidation::All);
            }
        }
    }

    async fn heartbeat(&mut self) -> Result<Vec<Invalidation>, sqlx::Error> {
        Ok(if self.was_changed().await? { vec![Invalidation::All] } else { Vec::new() })
    }
}

async fn version(connection: &mut SqliteConnection) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("pragma data_version").fetch_one(connection).await
}
