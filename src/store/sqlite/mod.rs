//! Keys in an `SQLite` file.

mod builder;
mod change_feed;
mod connections;
mod events;
mod fault;
mod file;
#[cfg(feature = "limits")]
mod meters;
mod migrations;
mod registry;
mod reserve;
mod search;
mod statements;
mod transaction;
#[cfg(feature = "webhooks")]
mod webhooks;

use std::{hint::black_box, path::Path, sync::Arc};

use sqlx::Row;

pub use builder::SqliteStoreBuilder;
pub use change_feed::SqliteChangeFeed;
use connections::Connections;
pub use fault::SqliteFault;
pub use transaction::SqliteTransaction;

use super::{KeyStore, Migration, row};
use crate::{key::KeyDigest, record::KeyRecord};

/// A registry in an `SQLite` file. Clones share its connections.
///
/// Opening creates the file if needed and migrates its tables. Several processes can use one file:
/// each sees the changes of the others at its next lookup, which uses the index on the digest. A
/// change is on disk before it returns (write-ahead log, `synchronous = full`). Times are stored to
/// the microsecond. Extensions are not stored.
///
/// - **Connections.** Lookups, reads of single keys, lists and changes have separate connections,
///   so none waits for another kind. Lists run one at a time; at most one list of each organization
///   waits for the connection. Changes that add something wait for each other before they wait for
///   the connection, so revoking, disabling and removing wait for at most one of them. A call fails
///   after 5 s in one queue.
/// - **Files.** A new file has the mode 0600, and so have the files `-wal`, `-shm` and `-reserve`
///   next to it. The mode of an existing file is kept.
/// - **A replaced file.** On Unix each call compares the device and inode of the file, its `-wal`
///   and its `-shm` with those that were opened. Once one differs, every call returns
///   [`SqliteFault::Replaced`] until the store is opened again. Elsewhere a call notices only that
///   a file is missing; Windows does not let an open database be moved. A file that is overwritten
///   in place keeps its inode and is not noticed: stop every process before you restore a backup.
/// - **A full disk.** The file `-reserve` takes 2 MiB. On a full disk, revoking, disabling and
///   removing a key delete this file and use its space, so they still work. While the file is
///   missing and the disk has no space for it, adding or editing a key returns
///   [`SqliteFault::DiskFull`]. An edit that only takes all permissions away uses the space too.
/// - **Timing.** For an unknown key the row of another key is read and decoded, so a lookup of an
///   unknown key does the work of a known one.
///
/// ```
/// use tower_api_key::{KeyFormat, KeyManager, store::SqliteStore};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let store = SqliteStore::open("keys.db").await?;
/// let manager = KeyManager::builder(store).format(KeyFormat::new("acme")?).build()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct SqliteStore(Arc<Connections>);

// === impl SqliteStore ===

impl SqliteStore {
    /// The migrations of the tables, in order, for those who run them with a tool of their own: see
    /// [`Migration`].
    pub const MIGRATIONS: &'static [Migration] = &migrations::MIGRATIONS;

    /// Opens the file at `path`, and creates it if it does not exist.
    ///
    /// # Errors
    ///
    /// The file cannot be opened or written, is not a database, or belongs to a newer version of
    /// this crate that this version cannot work with; or another program has a table `api_keys` in
    /// it ([`TablesError::Foreign`](super::TablesError::Foreign)).
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, sqlx::Error> {
        Self::builder(path).open().await
    }

    /// Returns a builder, to change the settings.
    pub fn builder(path: impl AsRef<Path>) -> SqliteStoreBuilder {
        SqliteStoreBuilder::new(path.as_ref())
    }

    /// Returns a feed of the changes that any process makes, for a `CachedStore`.
    pub fn change_feed(&self) -> SqliteChangeFeed {
        SqliteChangeFeed::new(&self.0.lookups.connect_options(), Arc::clone(&self.0.files))
    }

    /// Closes the file. Every change that has returned is in it.
    pub async fn close(&self) {
        self.0.close().await;
    }
}

impl KeyStore for SqliteStore {
    type Error = sqlx::Error;

    async fn find(&self, digest: &KeyDigest) -> Result<Option<KeyRecord>, sqlx::Error> {
        let query = sqlx::query(self.0.tables.sql(statements::FIND)).bind(digest.as_bytes().to_vec());
        let Some(row) = self.0.reading(query.fetch_optional(&self.0.lookups)).await? else { return Ok(None) };
        // An unknown key takes as long as a rejected one: the row of another key is decoded and
        // dropped.
        let record = row::record(&row);
        if row.try_get::<&[u8], _>("digest")? == digest.as_bytes() {
            return record.map(Some);
        }
        drop(black_box(record));
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use sqlx::{AssertSqlSafe, SqlitePool, sqlite::SqliteConnectOptions};

    use super::*;

    /// Statements, with the indexes that they use. The searches are tested in `search.rs`.
    const PLANS: [(&str, &[&str]); 3] = [
        (statements::EXPIRING, &["api_keys_by_expiry_everywhere (expires_at>? AND expires_at<?)"]),
        (statements::FIND, &["sqlite_autoindex_api_keys_2 (digest>?)", "sqlite_autoindex_api_keys_2"]),
        (
            statements::COUNT,
            &[
                "api_keys_that_count (organization=? AND owner_type=? AND user=? AND expires_at=?)",
                "api_keys_that_count (organization=? AND owner_type=? AND user=? AND expires_at>?)",
            ],
        ),
    ];

    /// Checks an empty table, then a table of revoked keys of one organization, then the same after
    /// `analyze`.
    #[tokio::test]
    async fn s02_every_look_up_list_and_count_goes_through_an_index_and_sorts_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.db");
        let store = SqliteStore::open(&path).await.unwrap();
        let raw = SqlitePool::connect_with(SqliteConnectOptions::new().filename(path)).await.unwrap();
        let searches = search::plans();
        let searches = searches.iter().map(|(query, indexes)| (query.as_str(), indexes.as_slice()));
        let plans: Vec<_> = PLANS.into_iter().chain(searches).collect();
        for prepare in ["select 1", FILL, "analyze"] {
            sqlx::query(prepare).execute(&raw).await.unwrap();
            for &(query, indexes) in &plans {
                let plan = sqlx::query(AssertSqlSafe(format!("explain query plan {query}")));
                let plan = plan.fetch_all(&raw).await.unwrap();
                let plan: Vec<String> = plan.iter().map(|row| row.get("detail")).collect();
                assert!(!plan.iter().any(|step| step.contains("TEMP B-TREE")), "{query}: {plan:?}");
                let reads = plan.iter().filter(|step| step.contains("api_keys"));
                let reads: Vec<_> = reads.map(|step| step.split(" INDEX ").last().unwrap()).collect();
                assert_eq!(reads, indexes, "{prepare}: {query}: {plan:?}");
            }
        }
        store.close().await;
    }

    const FILL: &str = "insert into api_keys (id, digest, version, status, owner_type, organization, environment, permissions, wildcards,
            metadata, use_count)
        with recursive numbers (n) as (select 1 union all select n + 1 from numbers where n < 2000)
        select printf('k%d', n), randomblob(32), 1, 'revoked', 'bot', 'acme', 'live', '{}', 0, '[]', 0 from numbers";
}
