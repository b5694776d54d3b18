//! The builder of a PostgreSQL store.

use std::{fmt, time::Duration};

use sqlx::{PgPool, postgres::PgConnectOptions};

use super::{
    PostgresStore, migrations,
    pool::{Pool, Purpose, prepare},
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
    connections: u32,
    operation_timeout: Duration,
}

/// How the caller gave the address of the server.
#[derive(Clone)]
enum Server {
    Url(String),
    Options(Box<PgConnectOptions>),
}

const NAME: &str = "tower-api-key";

/// The URL parameters that sqlx reads.
const SETTINGS: [&str; 18] = [
    "sslmode",
    "ssl-mode",
    "sslrootcert",
    "ssl-root-cert",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
    "statement-cache-capacity",
];

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
            connections: 8,
            operation_timeout: Duration::from_secs(5),
        }
    }

    /// Sets the most connections at a time (default 8, at least 1). The two connections of
    /// [`PostgresStore::change_feed`] are extra.
    pub fn connections(mut self, max: u32) -> Self {
        self.connections = max;
        self
    }

    /// Sets how long a lookup or a change may take in total (default 5 s): the wait for a
    /// connection, a new connection if necessary, the statements and the commit.
    ///
    /// The server cancels a statement after 90 % of this time. After the same time without a
    /// statement in a transaction, it ends the session, so a client that is gone holds no locks.
    pub fn operation_timeout(mut self, timeout: Duration) -> Self {
        self.operation_timeout = timeout;
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

    /// Sets the prefix of the names of all tables, indexes, triggers and functions: with `acme_`,
    /// the keys are in the table `acme_api_keys`. Stores with different prefixes share nothing.
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
        let work = async {
            let mut connection = store.pool.acquire_checked(Purpose::Change).await?;
            let is_up_to_date = migrations::is_up_to_date(&mut connection, &store.pool.tables).await?;
            Ok((connection, is_up_to_date))
        };
        let (mut connection, is_up_to_date) = store.pool.within(work).await?;
        if !is_up_to_date {
            // No timeout: migrations may be slow.
            migrations::run(&mut connection, &store.pool.tables, self.create_schema).await?;
            store.pool.within(prepare(&mut *connection, self.operation_timeout)).await?;
        }
        connection.release();
        Ok(store)
    }

    /// Connects to the database without running migrations, as [`PostgresStore::connect`] does.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`PostgresStore::connect`].
    pub async fn connect(self) -> Result<PostgresStore, sqlx::Error> {
        let store = self.build()?;
        let work = async {
            let mut connection = store.pool.acquire_checked(Purpose::Change).await?;
            migrations::check(&mut connection, &store.pool.tables).await?;
            connection.release();
            Ok(())
        };
        store.pool.within(work).await?;
        Ok(store)
    }

    fn build(&self) -> Result<PostgresStore, sqlx::Error> {
        let tables = Tables::new(self.schema.as_deref(), self.table_prefix.as_deref())?;
        let mut options = match &self.server {
            Server::Url(url) => {
                check_settings(url)?;
                url.parse()?
            }
            Server::Options(options) => PgConnectOptions::clone(options),
        };
        if options.get_application_name().is_none() {
            options = options.application_name(NAME);
        }
        Ok(PostgresStore { pool: Pool::new(options, tables, self.connections, self.operation_timeout) })
    }
}

/// Rejects unknown URL parameters. sqlx ignores them, so a typo in `sslmode` would leave the server
/// unverified.
fn check_settings(url: &str) -> Result<(), sqlx::Error> {
    let query = url.split_once('?').map_or("", |(_, query)| query.split('#').next().unwrap_or_default());
    let unknown = form_urlencoded::parse(query.as_bytes())
        .find(|(name, _)| !SETTINGS.contains(&&**name) && !name.starts_with("options["));
    match unknown {
        None => Ok(()),
        // The text before the `@` may be part of a password, so the error must not show it.
        Some(_) if query.contains('@') => {
            Err(sqlx::Error::Configuration("the URL has a `?` before its `@`: write it as %3F".into()))
        }
        Some((name, _)) => {
            Err(sqlx::Error::Configuration(format!("the URL has an unknown parameter: {name:?}").into()))
        }
    }
}

impl fmt::Debug for PostgresStoreBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStoreBuilder")
            .field("schema", &self.schema)
            .field("table_prefix", &self.table_prefix)
            .field("connections", &self.connections)
            .field("operation_timeout", &self.operation_timeout)
            .finish_non_exhaustive()
    }
}
