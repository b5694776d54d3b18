//! Connections that are lent, and taken back only when all went well. Whatever was cut short is thrown away: its server may
//! never answer, and its transaction ends with it.

use std::{
    fmt, io,
    ops::{Deref, DerefMut},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use sqlx::{
    AssertSqlSafe, Connection, PgConnection, PgExecutor, Row,
    postgres::{PgConnectOptions, PgRow},
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use super::statements;
use crate::store::RegistryError;

/// At most so many connections to one server.
///
/// Management takes at most half of them, lists at most a quarter, and all that is no edit or revocation leaves one of management's free. So
/// key checks wait for no management, and a revocation waits for neither lists nor new keys. Below four connections there is less to share.
pub(super) struct Pool {
    pub(super) options: PgConnectOptions,
    pub(super) operation_timeout: Duration,
    places: Arc<Semaphore>,
    managing: Arc<Semaphore>,
    adding: Arc<Semaphore>,
    listing: Arc<Semaphore>,
    idle: Mutex<Vec<PgConnection>>,
    decoy: OnceLock<PgRow>,
}

/// What a connection is wanted for. Each takes its turn among its own kind before it waits with the next one above.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Purpose {
    /// The check of a key.
    LookUp,
    /// An edit, a revocation, or a look at one key.
    Change,
    /// New keys, counts of uses, and the removal of a user: they may wait for a lock.
    Add,
    List,
}

/// A place in the pool, and the turns that led to it.
pub(super) struct Permit {
    _turns: [Option<OwnedSemaphorePermit>; 4],
}

/// A connection in use, and its place in the pool.
pub(super) struct PooledConnection {
    connection: PgConnection,
    pool: Arc<Pool>,
    place: Permit,
    was_idle: bool,
}

/// A transaction. Dropped, it is rolled back by the end of its connection.
pub(super) struct PgTransaction(PooledConnection);

// === impl Pool ===

impl Pool {
    pub(super) fn new(options: PgConnectOptions, connections: u32, patience: Duration) -> Arc<Self> {
        let places = usize::try_from(connections.max(1)).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        let of = |permits: usize| Arc::new(Semaphore::new(permits.max(1)));
        Arc::new(Self {
            options,
            operation_timeout: patience,
            places: of(places),
            managing: of(places / 2),
            adding: of((places / 2).saturating_sub(1)),
            listing: of(places / 4),
            idle: Mutex::default(),
            decoy: OnceLock::new(),
        })
    }

    /// All that is done with a connection, the wait for it too, is done within this pool's patience.
    pub(super) async fn within<T>(&self, work: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, sqlx::Error> {
        let done = within(self.operation_timeout, work).await;
        if done.as_ref().is_err_and(is_timeout) {
            // What one connection has met, the idle ones may have met too.
            self.idle().clear();
        }
        done
    }

    /// A place for a connection. Whoever comes too late to be served gets none: cut short in the middle, it would cost a connection as well.
    pub(super) async fn permit(&self, errand: Purpose) -> Result<Permit, sqlx::Error> {
        let queues = [
            (&self.listing, Purpose::List),
            (&self.adding, Purpose::Add),
            (&self.managing, Purpose::Change),
            (&self.places, Purpose::LookUp),
        ];
        let queueing = async {
            let mut turns = [const { None }; 4];
            for (turn, (queue, _)) in turns.iter_mut().zip(queues).filter(|(_, (_, first))| *first <= errand) {
                *turn = Some(Arc::clone(queue).acquire_owned().await.map_err(|_| sqlx::Error::PoolClosed)?);
            }
            Ok(Permit { _turns: turns })
        };
        timeout(self.operation_timeout / 2, queueing).await.map_err(|_| sqlx::Error::PoolTimedOut)?
    }

    /// A connection that may have been closed by the server meanwhile: see [`Lent::is_worth_another`].
    pub(super) async fn acquire(self: &Arc<Self>, place: Permit) -> Result<PooledConnection, sqlx::Error> {
        let idle = self.idle().pop();
        let was_idle = idle.is_some();
        let connection = match idle {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        Ok(PooledConnection { connection, pool: Arc::clone(self), place, was_idle })
    }

    /// A connection that has just answered.
    pub(super) async fn acquire_checked(self: &Arc<Self>, errand: Purpose) -> Result<PooledConnection, sqlx::Error> {
        loop {
            let mut lent = self.acquire(self.permit(errand).await?).await?;
            if !lent.was_idle {
                return Ok(lent);
            }
            match lent.ping().await {
                Ok(()) => return Ok(lent),
                Err(error) if lent.is_retryable(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Begins a transaction in which every statement sees what is committed before it.
    pub(super) async fn begin(self: &Arc<Self>, errand: Purpose) -> Result<PgTransaction, sqlx::Error> {
        let mut lent = self.acquire_checked(errand).await?;
        sqlx::raw_sql("begin isolation level read committed").execute(&mut *lent).await?;
        Ok(PgTransaction(lent))
    }

    pub(super) async fn close(&self) {
        for queue in [&self.listing, &self.adding, &self.managing, &self.places] {
            queue.close();
        }
        let idle = std::mem::take(&mut *self.idle());
        for connection in idle {
            let _ = within(self.operation_timeout, connection.close()).await;
        }
    }

    async fn connect(&self) -> Result<PgConnection, sqlx::Error> {
        let mut connection = PgConnection::connect_with(&self.options).await?;
        prepare(&mut connection, self.operation_timeout).await?;
        if self.decoy.get().is_none() {
            let _ = self.decoy.set(sqlx::query(statements::DECOY).fetch_one(&mut connection).await?);
        }
        Ok(connection)
    }

    /// A row of no key, as long as that of a common one.
    pub(super) fn decoy(&self) -> Option<&PgRow> {
        self.decoy.get()
    }

    fn idle(&self) -> MutexGuard<'_, Vec<PgConnection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("host", &self.options.get_host())
            .field("port", &self.options.get_port())
            .field("database", &self.options.get_database())
            .field("patience", &self.operation_timeout)
            .field("free", &self.places.available_permits())
            .field("idle", &self.idle().len())
            .finish_non_exhaustive()
    }
}

/// Readies a new session, and refuses a server that only follows another one.
pub(super) async fn prepare(session: impl PgExecutor<'_>, patience: Duration) -> Result<(), sqlx::Error> {
    // The server gives up a little before its client does, and so can still say why; and it finds out that a client has gone.
    let patience = (patience.as_millis() * 9 / 10).clamp(1, i32::MAX as u128);
    let settings = format!(
        "select pg_is_in_recovery() as is_replica,
            set_config('statement_timeout', '{patience}', false),
            -- A commit that notifies waits for its turn behind others, and no statement's time ends that.
            set_config('lock_timeout', '{patience}', false),
            set_config('idle_in_transaction_session_timeout', '{patience}', false),
            set_config('default_transaction_isolation', 'read committed', false),
            -- What has an order has an index with that order: whatever the statistics say, or do not say yet.
            set_config('enable_sort', 'off', false),
            set_config('jit', 'off', false),
            set_config('tcp_keepalives_idle', '60', false)"
    );
    let row = sqlx::raw_sql(AssertSqlSafe(settings)).fetch_one(session).await?;
    if row.try_get("is_replica")? {
        let why = "this PostgreSQL is a replica: it may be behind, so that a revoked key would still work";
        return Err(sqlx::Error::Configuration(why.into()));
    }
    Ok(())
}

/// What is not done within `operation_timeout` is cut short.
pub(super) async fn within<T>(
    patience: Duration,
    work: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    timeout(patience, work).await.unwrap_or_else(|_| {
        Err(io::Error::new(io::ErrorKind::TimedOut, format!("no answer from PostgreSQL within {patience:?}")).into())
    })
}

fn is_timeout(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Io(error) if error.kind() == io::ErrorKind::TimedOut)
}

// === impl Lent ===

impl PooledConnection {
    /// Takes the connection back. Without this it is closed.
    pub(super) fn release(self) {
        let Self { connection, pool, place, .. } = self;
        if !pool.places.is_closed() {
            pool.idle().push(connection);
        }
        drop(place);
    }

    /// Closes the connection, and keeps its place.
    pub(super) fn discard(self) -> Permit {
        self.place
    }

    /// Whether the server has closed this connection while nobody used it, so that nothing was done, and another may do it.
    pub(super) fn is_retryable(&self, error: &sqlx::Error) -> bool {
        self.was_idle
            && match error {
                sqlx::Error::Io(error) => error.kind() != io::ErrorKind::TimedOut,
                // The server is going down, or has ended this session.
                sqlx::Error::Database(error) => error.code().is_some_and(|code| code.starts_with("57P")),
                _ => false,
            }
    }
}

impl Deref for PooledConnection {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.connection
    }
}

impl DerefMut for PooledConnection {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.connection
    }
}

// === impl Transaction ===

impl PgTransaction {
    /// Commits what was done, or rolls back what was refused.
    pub(super) async fn end<T>(
        mut self,
        answer: Result<T, RegistryError>,
    ) -> Result<Result<T, RegistryError>, sqlx::Error> {
        let end = if answer.is_ok() { "commit" } else { "rollback" };
        sqlx::raw_sql(end).execute(&mut *self.0).await?;
        self.0.release();
        Ok(answer)
    }
}

impl Deref for PgTransaction {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.0
    }
}

impl DerefMut for PgTransaction {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.0
    }
}
