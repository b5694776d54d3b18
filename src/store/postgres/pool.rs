//! A pool of connections. A connection returns to it only after its work has succeeded. Otherwise
//! it is closed: the server may never answer, and its transaction must end.

use std::{
    fmt, io,
    ops::{ControlFlow, Deref, DerefMut},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use sqlx::{
    AssertSqlSafe, Connection, PgConnection,
    postgres::{PgConnectOptions, PgRow},
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep, timeout, timeout_at},
};

pub(super) use super::{session::prepare, timeout::within};
use super::{
    statements,
    timeout::{is_timeout, timed_out},
    transaction::{PostgresTransaction, locking},
};
use crate::store::tables::Tables;

/// A bounded number of connections to one server.
///
/// Management uses at most half of them, and lists at most an eighth, since each list keeps a
/// processor of the server busy. One of management's connections is reserved for edits, revocations
/// and reads of single keys. So lookups do not wait for management, and a revocation waits neither
/// for lists nor for new keys. With fewer than four connections the shares overlap.
pub(super) struct Pool {
    pub(super) options: PgConnectOptions,
    pub(super) operation_timeout: Duration,
    pub(super) tables: Tables,
    permits: Arc<Semaphore>,
    managing: Arc<Semaphore>,
    adding: Arc<Semaphore>,
    listing: Arc<Semaphore>,
    idle: Mutex<Vec<PgConnection>>,
    decoy: OnceLock<PgRow>,
}

/// The use of a connection. The queues form a chain: lists, additions, changes, lookups. Each use
/// waits in its own queue first, then in all later ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Purpose {
    /// The lookup of a key for a request.
    LookUp,
    /// An edit, a revocation, or a read of one key.
    Change,
    /// New keys, use counts, and the removal of a user: they may wait for a lock.
    Add,
    List,
}

/// The permit for a connection: one permit of each queue that the use has waited in.
pub(super) struct Permit {
    _queues: [Option<OwnedSemaphorePermit>; 4],
}

/// A connection in use, with its permit.
pub(super) struct PooledConnection {
    connection: PgConnection,
    pool: Arc<Pool>,
    permit: Permit,
    was_idle: bool,
}

// === impl Pool ===

impl Pool {
    pub(super) fn new(
        options: PgConnectOptions,
        tables: Tables,
        connections: u32,
        operation_timeout: Duration,
    ) -> Arc<Self> {
        let permits = usize::try_from(connections.max(1)).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        let of = |count: usize| Arc::new(Semaphore::new(count.max(1)));
        Arc::new(Self {
            options,
            operation_timeout,
            tables,
            permits: of(permits),
            managing: of(permits / 2),
            adding: of((permits / 2).saturating_sub(1)),
            listing: of(permits / 8),
            idle: Mutex::default(),
            decoy: OnceLock::new(),
        })
    }

    /// Limits all work with a connection, and the wait for it, to the operation timeout.
    pub(super) async fn within<T>(&self, work: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, sqlx::Error> {
        self.until(self.deadline(), work).await
    }

    /// Returns when work that starts now times out.
    pub(super) fn deadline(&self) -> Instant {
        sleep(self.operation_timeout).deadline()
    }

    pub(super) async fn until<T>(
        &self,
        deadline: Instant,
        work: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, sqlx::Error> {
        let done = timeout_at(deadline, work).await.unwrap_or_else(|_| Err(timed_out(self.operation_timeout)));
        if done.as_ref().is_err_and(is_timeout) {
            // The idle connections may have met the same fault.
            self.idle().clear();
        }
        done
    }

    /// Waits for a permit, at most for half of the timeout. The other half is left for the query,
    /// since a query that times out closes its connection.
    pub(super) async fn permit(&self, purpose: Purpose) -> Result<Permit, sqlx::Error> {
        let queues = [
            (&self.listing, Purpose::List),
            (&self.adding, Purpose::Add),
            (&self.managing, Purpose::Change),
            (&self.permits, Purpose::LookUp),
        ];
        let queueing = async {
            let mut held = [const { None }; 4];
            for (turn, (queue, _)) in held.iter_mut().zip(queues).filter(|(_, (_, first))| *first <= purpose) {
                *turn = Some(Arc::clone(queue).acquire_owned().await.map_err(|_| sqlx::Error::PoolClosed)?);
            }
            Ok(Permit { _queues: held })
        };
        timeout(self.operation_timeout / 2, queueing).await.map_err(|_| sqlx::Error::PoolTimedOut)?
    }

    /// Returns a connection that the server may have closed while it was idle: see [`Pool::read`].
    pub(super) async fn acquire(self: &Arc<Self>, permit: Permit) -> Result<PooledConnection, sqlx::Error> {
        let idle = self.idle().pop();
        let was_idle = idle.is_some();
        let connection = match idle {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        Ok(PooledConnection { connection, pool: Arc::clone(self), permit, was_idle })
    }

    /// Reads with a connection, which `read` gives back with its result. If the server closed the
    /// connection while it was idle, another one is tried.
    pub(super) async fn read<T, R: Future<Output = (PooledConnection, Result<T, sqlx::Error>)>>(
        self: &Arc<Self>,
        purpose: Purpose,
        read: impl Fn(PooledConnection) -> R,
    ) -> Result<T, sqlx::Error> {
        let mut permit = self.permit(purpose).await?;
        loop {
            let (connection, read) = read(self.acquire(permit).await?).await;
            match connection.finish(read) {
                ControlFlow::Break(read) => return read,
                ControlFlow::Continue(freed) => permit = freed,
            }
        }
    }

    /// Returns a connection that has just answered a ping.
    pub(super) async fn acquire_checked(self: &Arc<Self>, purpose: Purpose) -> Result<PooledConnection, sqlx::Error> {
        let mut permit = self.permit(purpose).await?;
        loop {
            let mut connection = self.acquire(permit).await?;
            if !connection.was_idle {
                return Ok(connection);
            }
            match connection.ping().await {
                Ok(()) => return Ok(connection),
                Err(error) if connection.is_retryable(&error) => permit = connection.discard(),
                Err(error) => return Err(error),
            }
        }
    }

    /// Begins a transaction and takes these advisory locks, in one round trip. Each statement sees
    /// what was committed before it. A connection that turns out to be closed has done nothing, so
    /// another one is tried.
    pub(super) async fn begin(
        self: &Arc<Self>,
        purpose: Purpose,
        locks: &[i64],
    ) -> Result<PostgresTransaction<'static>, sqlx::Error> {
        let begin = format!("begin isolation level read committed{}", locking(locks));
        let mut permit = self.permit(purpose).await?;
        loop {
            let mut connection = self.acquire(permit).await?;
            match sqlx::raw_sql(AssertSqlSafe(begin.as_str())).execute(&mut *connection).await {
                Ok(_) => return Ok(PostgresTransaction::new(connection)),
                Err(error) if connection.is_retryable(&error) => permit = connection.discard(),
                Err(error) => return Err(error),
            }
        }
    }

    pub(super) async fn close(&self) {
        for queue in [&self.listing, &self.adding, &self.managing, &self.permits] {
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

    /// Returns the decoy row. It belongs to no key, and has the size of the row of a common key.
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
            .field("operation_timeout", &self.operation_timeout)
            .field("free", &self.permits.available_permits())
            .field("idle", &self.idle().len())
            .finish_non_exhaustive()
    }
}

// === impl PooledConnection ===

impl PooledConnection {
    pub(super) fn tables(&self) -> &Tables {
        &self.pool.tables
    }

    /// Returns the connection to the pool. A connection that is dropped is closed.
    pub(super) fn release(self) {
        let Self { connection, pool, permit, .. } = self;
        if !pool.permits.is_closed() {
            pool.idle().push(connection);
        }
        drop(permit);
    }

    /// Closes the connection and keeps its permit.
    pub(super) fn discard(self) -> Permit {
        self.permit
    }

    /// Ends a read: breaks with its result, or continues with the permit for another attempt.
    pub(super) fn finish<T>(self, read: Result<T, sqlx::Error>) -> ControlFlow<Result<T, sqlx::Error>, Permit> {
        match &read {
            Ok(_) => self.release(),
            Err(error) if self.is_retryable(error) => return ControlFlow::Continue(self.discard()),
            Err(_) => {}
        }
        ControlFlow::Break(read)
    }

    /// Returns whether the server closed this connection while it was idle. Then the server has
    /// done nothing, and the work can be repeated on another connection.
    pub(super) fn is_retryable(&self, error: &sqlx::Error) -> bool {
        self.was_idle
            && match error {
                sqlx::Error::Io(error) => error.kind() != io::ErrorKind::TimedOut,
                // The server is shutting down, or has ended this session.
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
