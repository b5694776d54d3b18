//! The builder of a SQLite store.

use std::{path::Path, sync::Arc};

use sqlx::{SqlitePool, sqlite::SqliteConnectOptions};

use super::{SqliteStore, connections::Connections};
use crate::store::tables::Tables;

/// Builds a [`SqliteStore`].
///
/// ```
/// use tower_api_key::store::SqliteStore;
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let store = SqliteStore::builder("app.db").table_prefix("acme_").open().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct SqliteStoreBuilder {
    options: SqliteConnectOptions,
    table_prefix: Option<String>,
}

// === impl SqliteStoreBuilder ===

impl SqliteStoreBuilder {
    pub(super) fn new(path: &Path) -> Self {
        Self::from_options(SqliteConnectOptions::new().filename(path))
    }

    /// Builds a store over the file of these options, for settings such as an extension, a
    /// collation or the key of an encrypted file.
    ///
    /// The store sets what it depends on: a write-ahead log, `synchronous = full`, the busy timeout
    /// and the locking mode. The store is a file that it writes, so a database in memory is an
    /// error, and `read_only`, `immutable` and `shared_cache` do not apply.
    ///
    /// ```
    /// use sqlx::sqlite::SqliteConnectOptions;
    /// use tower_api_key::store::SqliteStoreBuilder;
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let options = SqliteConnectOptions::new().filename("app.db").pragma("mmap_size", "268435456");
    /// let store = SqliteStoreBuilder::from_options(options).open().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn from_options(options: SqliteConnectOptions) -> Self {
        Self { options, table_prefix: None }
    }

    /// Builds a store over the file of this pool.
    ///
    /// The store takes the connect options of the pool, not its connections: it has connections of
    /// its own, so that a lookup never waits for a query of the application. The file gets a
    /// write-ahead log, also for the pool. To issue a key in a transaction of the pool, see
    /// [`KeyManager::prepare_issue`](crate::KeyManager::prepare_issue).
    ///
    /// ```
    /// use tower_api_key::store::SqliteStoreBuilder;
    ///
    /// # async fn example(pool: sqlx::SqlitePool) -> Result<(), Box<dyn std::error::Error>> {
    /// let store = SqliteStoreBuilder::from_pool(&pool).open().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn from_pool(pool: &SqlitePool) -> Self {
        Self::from_options(SqliteConnectOptions::clone(&pool.connect_options()))
    }

    /// Sets the prefix of the names of all tables and indexes: with `acme_`, the keys are in the
    /// table `acme_api_keys`. Stores with different prefixes share no key. Each change in the file
    /// reaches the change feeds of all its stores.
    ///
    /// The prefix has 1 to 20 characters of a-z, 0-9 and `_`, and does not begin with a digit,
    /// `pg_` or `sqlite_`; another prefix is an error of [`open`](Self::open) and
    /// [`connect`](Self::connect).
    pub fn table_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.table_prefix = Some(prefix.into());
        self
    }

    /// Opens the file, creates it if it does not exist, and runs the migrations.
    ///
    /// # Errors
    ///
    /// The errors of [`SqliteStore::open`].
    pub async fn open(self) -> Result<SqliteStore, sqlx::Error> {
        self.opened(true).await
    }

    /// Opens a file with tables that are up to date, and runs no migration: another tool runs them,
    /// as [MIGRATIONS.md] says.
    ///
    /// # Errors
    ///
    /// The errors of [`SqliteStore::open`]; also if there is no such file, or if the tables are
    /// missing or too old.
    ///
    /// [MIGRATIONS.md]: https://github.com/tower-api-key/tower-api-key/blob/main/MIGRATIONS.md
    pub async fn connect(self) -> Result<SqliteStore, sqlx::Error> {
        self.opened(false).await
    }

    async fn opened(self, migrates: bool) -> Result<SqliteStore, sqlx::Error> {
        let tables = Tables::new(None, self.table_prefix.as_deref())?;
        let name = self.options.get_filename();
        if name == Path::new(":memory:") || name.to_str().is_some_and(|name| name.starts_with("file:sqlx-in-memory")) {
            return Err(sqlx::Error::Configuration("this store is a file: use MemoryStore for keys in memory".into()));
        }
        Ok(SqliteStore(Arc::new(Connections::open(self.options, tables, migrates).await?)))
    }
}
