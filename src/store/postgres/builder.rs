//! Where the database is, and how long it may take.

use std::{fmt, time::Duration};

use sqlx::postgres::PgConnectOptions;

use super::{
    PostgresStore, migrations,
    pool::{Pool, Purpose, prepare},
};

/// The settings of a [`PostgresStore`]. `Debug` does not show the URL: a password may stand in it.
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
    url: String,
    connections: u32,
    patience: Duration,
}

const NAME: &str = "tower-api-key";

/// What sqlx reads in a URL.
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
        Self { url, connections: 8, patience: Duration::from_secs(5) }
    }

    /// The most connections at a time, beside the two of [`PostgresStore::change_feed`] (default 8, at least 1).
    pub fn connections(mut self, most: u32) -> Self {
        self.connections = most;
        self
    }

    /// How long a look-up or a change may take in all: the wait for a connection, a new one if need be, the statements, the commit
    /// (default 5 s). The server ends a statement, and a transaction that its client has left, after nine tenths of it.
    pub fn operation_timeout(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// As [`PostgresStore::open`].
    ///
    /// # Errors
    ///
    /// As [`PostgresStore::open`].
    pub async fn open(self) -> Result<PostgresStore, sqlx::Error> {
        let store = self.build()?;
        let work = async {
            let mut lent = store.pool.acquire_checked(Purpose::Change).await?;
            let is_up_to_date = migrations::is_up_to_date(&mut lent).await?;
            Ok((lent, is_up_to_date))
        };
        let (mut lent, is_up_to_date) = store.pool.within(work).await?;
        if !is_up_to_date {
            // Takes what it takes.
            migrations::run(&mut lent).await?;
            store.pool.within(prepare(&mut *lent, self.patience)).await?;
        }
        lent.release();
        Ok(store)
    }

    /// As [`PostgresStore::connect`].
    ///
    /// # Errors
    ///
    /// As [`PostgresStore::connect`].
    pub async fn connect(self) -> Result<PostgresStore, sqlx::Error> {
        let store = self.build()?;
        let work = async {
            let mut lent = store.pool.acquire_checked(Purpose::Change).await?;
            migrations::check(&mut lent).await?;
            lent.release();
            Ok(())
        };
        store.pool.within(work).await?;
        Ok(store)
    }

    fn build(&self) -> Result<PostgresStore, sqlx::Error> {
        check_settings(&self.url)?;
        let mut options: PgConnectOptions = self.url.parse()?;
        if options.get_application_name().is_none() {
            options = options.application_name(NAME);
        }
        Ok(PostgresStore { pool: Pool::new(options, self.connections, self.patience) })
    }
}

/// sqlx passes over what it does not know: a slip in `sslmode` would leave the server unverified.
fn check_settings(url: &str) -> Result<(), sqlx::Error> {
    let query = url.split_once('?').map_or("", |(_, query)| query.split('#').next().unwrap_or_default());
    let unknown = form_urlencoded::parse(query.as_bytes())
        .find(|(name, _)| !SETTINGS.contains(&&**name) && !name.starts_with("options["));
    match unknown {
        None => Ok(()),
        // What stands before it may be a part of a password.
        Some(_) if query.contains('@') => {
            Err(sqlx::Error::Configuration("the URL has a `?` before its `@`: write it as %3F".into()))
        }
        Some((name, _)) => {
            Err(sqlx::Error::Configuration(format!("the URL has a setting that is not known: {name:?}").into()))
        }
    }
}

impl fmt::Debug for PostgresStoreBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresBuilder")
            .field("connections", &self.connections)
            .field("patience", &self.patience)
            .finish_non_exhaustive()
    }
}
