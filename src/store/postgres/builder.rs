//! The builder of a PostgreSQL store.

use std::{fmt, time::Duration};

use sqlx::{Connection, PgPool, postgres::PgConnectOptions};

use super::{
    PostgresStore,
    hosts::Hosts,
    migrations,
    pool::{Bounds, Pool, Purpose, prepare, within},
    url,
};
#[cfg(doc)]
use crate::store::TablesError;
use crate::store::tables::Tables;

/// Builds a [`PostgresStore`]. `Debug` omits the URL, which may contain a password.
///
/// ```no_run
/// use std::time::Duration;
/// use tower_api_key::store::PostgresStore;
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let store = PostgresStore::builder("postgres://keys@db.example/keys?sslmode=verify-full")
///     .connections(16)
///     .operation_timeout(Duration::from_secs(2))
///     .open()
///     .await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use]
pub struct PostgresStoreBuilder {
    server: Server,
    schema: Option<String>,
    table_prefix: Option<String>,
    create_schema: bool,
    pooler: Option<String>,
    bounds: Bounds,
}

/// How the caller gave the address of the server.
#[derive(Clone)]
enum Server {
    Url(String),
    Options(Box<PgConnectOptions>),
}

const NAME: &str = "tower-api-key";

// === impl PostgresStoreBuilder ===

impl PostgresStoreBuilder {
    pub(super) fn new(url: String) -> Self {
        Self::of(Server::Url(url))
    }

    /// Builds a store that connects with these options, for a password from a file, a Unix socket
    /// or a certificate in memory.
    ///
    /// ```no_run
    /// use sqlx::postgres::{PgConnectOptions, PgSslMode};
    /// use tower_api_key::store::PostgresStoreBuilder;
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let options = PgConnectOptions::new()
    ///     .host("db.example")
    ///     .username("keys")
    ///     .password(&std::fs::read_to_string("/run/secrets/keys")?)
    ///     .ssl_mode(PgSslMode::VerifyFull);
    /// let store = PostgresStoreBuilder::from_options(options).open().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn from_options(options: PgConnectOptions) -> Self {
        Self::of(Server::Options(Box::new(options)))
    }

    /// Builds a store that connects as this pool does.
    ///
    /// The store takes the connect options of the pool, not its connections: it has connections of
    /// its own, up to [`connections`](Self::connections), so that a lookup never waits for a query
    /// of the application, and each operation ends in time. The limits and the hooks of the pool
    /// do not apply to them. To issue a key in a transaction of the pool, see
    /// [`KeyManager::prepare_issue`](crate::KeyManager::prepare_issue).
    ///
    /// ```no_run
    /// use tower_api_key::store::PostgresStoreBuilder;
    ///
    /// # async fn example(pool: sqlx::PgPool) -> Result<(), Box<dyn std::error::Error>> {
    /// let store = PostgresStoreBuilder::from_pool(&pool)
    ///     .schema("auth")
    ///     .create_schema(true)
    ///     .open()
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn from_pool(pool: &PgPool) -> Self {
        Self::from_options(PgConnectOptions::clone(&pool.connect_options()))
    }

    fn of(server: Server) -> Self {
        Self {
            server,
            schema: None,
            table_prefix: None,
            create_schema: false,
            pooler: None,
            bounds: Bounds {
                connections: 8,
                max_lifetime: Duration::from_secs(30 * 60),
                operation_timeout: Duration::from_secs(5),
            },
        }
    }

    /// Sets the most connections at a time (default 8, at least 1).
    ///
    /// One more is reserved for the statements of a [change feed](PostgresStore::change_feed), so
    /// that they wait for no lookup in this pool. Its session that listens is another one:
    /// `connections + 2` in all.
    pub fn connections(mut self, max: u32) -> Self {
        self.bounds.connections = max;
        self
    }

    /// Sets the greatest age of a connection (default 30 minutes): an older one is closed instead
    /// of used again, and no call waits for that.
    ///
    /// Each connection has up to 10 % more or less, so that many nodes do not reconnect at the same
    /// time. Use it to spread the connections again over the addresses of a name, or over
    /// poolers. It does not apply to the session that listens.
    pub fn max_lifetime(mut self, age: Duration) -> Self {
        self.bounds.max_lifetime = age;
        self
    }

    /// Sets the URL of a pooler in transaction mode, such as `PgBouncer` with
    /// `pool_mode = transaction`, in any version. A node opens up to `connections + 1` connections
    /// to it.
    ///
    /// Everything passes through the pooler, except for the migrations and the session of
    /// [`PostgresStore::change_feed`] that listens. These use the URL of the builder, which must
    /// lead to the server itself, or through a pooler in session mode.
    ///
    /// Each operation is a transaction of its own, which leaves no setting and no prepared
    /// statement in a session. So a lookup takes four round trips to the pooler. Use
    /// [`schema`](Self::schema) rather than `options` in the URL of the pooler: `PgBouncer` rejects
    /// `options` by default.
    ///
    /// ```no_run
    /// use tower_api_key::store::PostgresStore;
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let store = PostgresStore::builder("postgres://keys@db.example/keys?sslmode=verify-full")
    ///     .pooler("postgres://keys@pooler.example:6432/keys?sslmode=verify-full")
    ///     .open()
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn pooler(mut self, url: impl Into<String>) -> Self {
        self.pooler = Some(url.into());
        self
    }

    /// Sets how long a lookup or a change may take in total (default 5 s): the wait for a
    /// connection, a new connection if necessary, the statements and the commit.
    ///
    /// The server cancels a statement after 90 % of this time. After the same time without a
    /// statement in a transaction, it ends the session, so a client that is gone holds no locks.
    pub fn operation_timeout(mut self, timeout: Duration) -> Self {
        self.bounds.operation_timeout = timeout;
        self
    }

    /// Sets the schema of the tables. By default, it is the first one in the `search_path` of the
    /// connection in which the tables are, or may be created.
    ///
    /// The schema must exist, or [`create_schema`](Self::create_schema) must be set. Its name has 1
    /// to 31 characters of a-z, 0-9 and `_`, and does not begin with a digit; another name is an
    /// error of [`open`](Self::open) and [`connect`](Self::connect).
    pub fn schema(mut self, schema: impl Into<String>) -> Self {
        self.schema = Some(schema.into());
        self
    }

    /// Sets whether [`open`](Self::open) creates the [`schema`](Self::schema) if it does not exist
    /// (default: `false`, and a missing schema is [`TablesError::NoSchema`]). The role must then be
    /// allowed to create a schema in the database.
    pub fn create_schema(mut self, create: bool) -> Self {
        self.create_schema = create;
        self
    }

    /// Sets the prefix of the names of all tables, sequences, indexes, triggers and functions: with
    /// `acme_`, the keys are in the table `acme_api_keys`. Stores with different prefixes share
    /// nothing.
    ///
    /// The prefix has 1 to 20 characters of a-z, 0-9 and `_`, and does not begin with a digit,
    /// `pg_` or `sqlite_`; another prefix is an error of [`open`](Self::open) and
    /// [`connect`](Self::connect).
    pub fn table_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.table_prefix = Some(prefix.into());
        self
    }

    /// Connects to the database and runs the migrations, as [`PostgresStore::open`] does.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`PostgresStore::open`].
    pub async fn open(self) -> Result<PostgresStore, sqlx::Error> {
        let store = self.build()?;
        let (pool, timeout) = (&store.pool, self.bounds.operation_timeout);
        if self.pooler.is_some() {
            let mut connection = pool.within(pool.connect_directly()).await?;
            if !pool.within(migrations::is_up_to_date(&mut connection, &pool.tables)).await? {
                migrations::run(&mut connection, &pool.tables, self.create_schema).await?;
            }
            let _ = within(timeout, connection.close()).await;
            check(&store).await?;
            return Ok(store);
        }
        let work = async {
            let mut connection = pool.acquire_checked(Purpose::Change).await?;
            let is_up_to_date = migrations::is_up_to_date(&mut connection, &pool.tables).await?;
            Ok((connection, is_up_to_date))
        };
        let (mut connection, is_up_to_date) = pool.within(work).await?;
        if !is_up_to_date {
            // No timeout: migrations may be slow.
            migrations::run(&mut connection, &pool.tables, self.create_schema).await?;
            pool.within(prepare(&mut *connection, timeout)).await?;
        }
        connection.put_back();
        Ok(store)
    }

    /// Connects to the database without running migrations, as [`PostgresStore::connect`] does.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`PostgresStore::connect`].
    pub async fn connect(self) -> Result<PostgresStore, sqlx::Error> {
        let store = self.build()?;
        check(&store).await?;
        Ok(store)
    }

    fn build(&self) -> Result<PostgresStore, sqlx::Error> {
        let tables = Tables::new(self.schema.as_deref(), self.table_prefix.as_deref())?;
        let direct = match &self.server {
            Server::Url(url) => url::parse(url)?,
            Server::Options(options) => vec![PgConnectOptions::clone(options)],
        };
        let pooler = self.pooler.as_deref().map(url::parse).transpose()?;
        // PgBouncer rejects parameters that it does not know. `extra_float_digits` is one of them.
        let pooler = pooler.map(|hosts| hosts.into_iter().map(|host| host.extra_float_digits(None)).collect());
        let pool = Pool::new(named(direct), pooler.map(named), tables, self.bounds);
        Ok(PostgresStore { pool })
    }
}

/// Fails unless the tables are up to date.
async fn check(store: &PostgresStore) -> Result<(), sqlx::Error> {
    let work = async {
        let mut connection = store.pool.acquire_checked(Purpose::Change).await?;
        migrations::check(&mut connection, &store.pool.tables).await?;
        connection.release().await
    };
    store.pool.within(work).await
}

/// Sets the name of the sessions, unless they have one.
fn named(hosts: Vec<PgConnectOptions>) -> Hosts {
    let named = hosts.into_iter().map(|host| match host.get_application_name() {
        None => host.application_name(NAME),
        Some(_) => host,
    });
    Hosts::new(named.collect())
}

impl fmt::Debug for PostgresStoreBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStoreBuilder")
            .field("schema", &self.schema)
            .field("table_prefix", &self.table_prefix)
            .field("bounds", &self.bounds)
            .finish_non_exhaustive()
    }
}
