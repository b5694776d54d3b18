//! Keys in PostgreSQL, shared by any number of nodes.

#[cfg(feature = "cache")]
mod beat;
mod builder;
mod change_feed;
mod channel;
mod connection;
mod events;
#[cfg(feature = "cache")]
mod follow;
mod hosts;
#[cfg(feature = "limits")]
mod meters;
mod migrations;
mod notification;
mod pool;
mod query;
mod queues;
mod registry;
mod search;
mod session;
mod statements;
mod timeout;
mod transaction;
mod url;
mod watched;
#[cfg(feature = "webhooks")]
mod webhooks;

use std::{hint::black_box, io, ops::ControlFlow, panic, sync::Arc};

use sqlx::{Row, postgres::PgRow};

pub use builder::PostgresStoreBuilder;
pub use change_feed::PostgresChangeFeed;
use pool::{Permit, Pool, Purpose};
pub use transaction::PostgresTransaction;

use super::{KeyStore, Migration, row};
use crate::{key::KeyDigest, record::KeyRecord};

/// A registry in a PostgreSQL database that many nodes share. Clones share the connections.
///
/// A change is visible to the next lookup of every node; a lookup uses the index on the digest.
/// Locks in the database enforce limits across nodes, at any default isolation level. Times are
/// stored to the microsecond. Extensions are not stored. Text that contains NUL, which PostgreSQL
/// cannot store, is an error.
///
/// Lookups take one round trip each, or four behind a
/// [pooler in transaction mode](PostgresStoreBuilder::pooler); see
/// [`CachedStore`](crate::store::CachedStore) to avoid them.
///
/// ```no_run
/// use tower_api_key::{KeyFormat, KeyManager, store::PostgresStore};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let url = "postgres://keys:secret@db.example/keys?sslmode=verify-full&sslrootcert=/etc/ssl/db-ca.pem";
/// let store = PostgresStore::open(url).await?;
/// let manager = KeyManager::builder(store).format(KeyFormat::new("acme")?).build()?;
/// # Ok(())
/// # }
/// ```
///
/// # The URL
///
/// `postgres://user:password@host:port/database`, with settings after `?`. An unknown setting
/// (`channel_binding`) is an error, so that a typo in `sslmode` is not ignored:
///
/// | `sslmode`           | connection                                                                          |
/// |---------------------|-------------------------------------------------------------------------------------|
/// | `disable`, `allow`  | not encrypted                                                                       |
/// | `prefer` (default)  | encrypted if the server offers it; an attacker on the path can suppress the offer   |
/// | `require`           | encrypted, without authenticating the server                                        |
/// | `verify-ca`         | encrypted, to any server with a certificate of the CA                               |
/// | **`verify-full`**   | encrypted, to the server of that name: the only mode that authenticates the server  |
///
/// - `sslrootcert` is the file of the CA (default: the CAs of the system); `sslcert` and `sslkey`
///   are those of the client.
/// - `application_name` is `tower-api-key` by default. The session that listens for
///   [`PostgresStore::change_feed`] appends ` changes`.
/// - `options=-csearch_path%3Dkeys` puts the tables into a schema of their own.
/// - Several hosts, as [libpq] reads them: `postgres://keys@a:5432,b:5433/keys`, or
///   `?host=a,b&port=5432`, with one port for all hosts or one for each. A new connection tries the
///   host that worked last, then the others, each for an equal part of the time. It takes the first
///   that is no replica. `target_session_attrs` may be `read-write` or `primary`, which is what a
///   store always does; another value is an error.
///
/// [libpq]: https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-MULTIPLE-HOSTS
///
/// # Failures
///
/// A replica is rejected: it may be behind, so that a revoked key would still work. After a
/// failover between the hosts of the URL, new connections find the new primary. An operation that
/// exceeds [`operation_timeout`](PostgresStoreBuilder::operation_timeout) fails, and its connection
/// is closed; so no call takes longer, even if the network drops all packets.
///
/// # Timing
///
/// For an unknown key, the row of another key is read and decoded, so that its lookup does the same
/// work as that of a revoked key. Measured through the layer, with 200,000 samples each, a revoked
/// key took 0.2 µs longer than an unknown one. An expired key took 0.1 µs longer. Two unknown keys
/// differed by up to 0.3 µs. One lookup took about 95 µs. A much larger record takes longer.
#[derive(Clone, Debug)]
pub struct PostgresStore {
    pool: Arc<Pool>,
}

// === impl PostgresStore ===

impl PostgresStore {
    /// The migrations of the tables, in order, for those who run them with a tool of their own: see
    /// [`Migration`].
    pub const MIGRATIONS: &'static [Migration] = &migrations::MIGRATIONS;

    /// Connects and migrates the tables, one node at a time.
    ///
    /// # Errors
    ///
    /// As [`PostgresStore::connect`]; also if the tables are out of date and the role may not
    /// create or alter them.
    pub async fn open(url: impl Into<String>) -> Result<Self, sqlx::Error> {
        Self::builder(url).open().await
    }

    /// Connects to tables that are up to date. The role needs only to read and write rows.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// use tower_api_key::store::PostgresStore;
    ///
    /// // Once, when a new version is rolled out:
    /// PostgresStore::open("postgres://owner@db.example/keys?sslmode=verify-full").await?.close().await;
    /// // In each node:
    /// let store = PostgresStore::connect("postgres://keys@db.example/keys?sslmode=verify-full").await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// The URL is invalid; the server cannot be reached in time, fails the check of `sslmode`, is a
    /// replica, or rejects the role; the tables are missing, too old, or too new for this library.
    pub async fn connect(url: impl Into<String>) -> Result<Self, sqlx::Error> {
        Self::builder(url).connect().await
    }

    /// Returns a builder, to change the settings.
    pub fn builder(url: impl Into<String>) -> PostgresStoreBuilder {
        PostgresStoreBuilder::new(url.into())
    }

    /// Returns a feed of every change to the keys, by any program. Its session that listens is no
    /// part of the pool.
    pub fn change_feed(&self) -> PostgresChangeFeed {
        PostgresChangeFeed::new(&self.pool)
    }

    /// Closes the connections. Connections in use are closed after their work; new work fails.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

impl KeyStore for PostgresStore {
    type Error = sqlx::Error;

    async fn find(&self, digest: &KeyDigest) -> Result<Option<KeyRecord>, sqlx::Error> {
        let deadline = self.pool.deadline();
        // A caller that is dropped while it waits here gives up its permit. Once it has a permit,
        // the lookup runs to its end even if the caller is dropped. Otherwise each dropped caller
        // would close a connection, and a client could close them all.
        let permit = self.pool.permit(Purpose::LookUp).await?;
        let (pool, digest) = (Arc::clone(&self.pool), *digest);
        let lookup = tokio::spawn(async move { pool.until(deadline, find(&pool, permit, &digest)).await });
        lookup.await.unwrap_or_else(|error| match error.try_into_panic() {
            Ok(panic) => panic::resume_unwind(panic),
            Err(error) => Err(io::Error::other(error).into()),
        })
    }
}

/// Returns whether a name contains NUL. PostgreSQL cannot store NUL, so no record has such a name,
/// and a search for it finds nothing without asking the database.
fn contains_nul(name: &str) -> bool {
    name.contains('\0')
}

async fn find(pool: &Arc<Pool>, mut permit: Permit, digest: &KeyDigest) -> Result<Option<KeyRecord>, sqlx::Error> {
    loop {
        let mut connection = pool.acquire(permit).await?;
        let query = pool.tables.query(statements::FIND).bind(&digest.as_bytes()[..]);
        let row = query.fetch_optional(&mut *connection).await;
        match connection.finish(row).await {
            ControlFlow::Continue(freed) => permit = freed,
            ControlFlow::Break(row) => {
                let Some(row) = row? else {
                    black_box(pool.decoy().map(|decoy| record_of(decoy, digest)));
                    return Ok(None);
                };
                return record_of(&row, digest);
            }
        }
    }
}

/// Returns the record of a row if it has this digest. The record of another key is decoded too, so
/// that both cases take the same time, and then dropped.
fn record_of(row: &PgRow, digest: &KeyDigest) -> Result<Option<KeyRecord>, sqlx::Error> {
    let record = row::record(row);
    let stored = KeyDigest::try_from(row.try_get::<Vec<u8>, _>("digest")?);
    if stored.is_ok_and(|stored| stored == *digest) {
        return record.map(Some);
    }
    drop(black_box(record));
    Ok(None)
}
