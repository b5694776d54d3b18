//! A pool of connections. A connection returns to it only after its work has succeeded. Otherwise
//! it is closed: the server may never answer, and its transaction must end.

use std::{
    fmt,
    ops::ControlFlow,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use sqlx::{
    Connection, PgConnection,
    postgres::{PgConnectOptions, PgRow},
};
use tokio::time::{Instant, sleep, timeout_at};

use super::{
    connection::Aging,
    hosts::Hosts,
    queues::Queues,
    session, statements,
    timeout::{is_timeout, timed_out},
    transaction::{PostgresTransaction, locking},
};
pub(super) use super::{
    connection::PooledConnection,
    queues::{Permit, Purpose},
    session::prepare,
    timeout::within,
};
use crate::store::tables::Tables;

/// A bounded number of connections to one database.
///
/// Behind a pooler in transaction mode, a connection that is in use is always in a transaction. Its
/// settings end with the transaction, and its statements have no names. So no session of the server
/// keeps anything of this pool.
pub(super) struct Pool {
    /// The hosts without a pooler.
    pub(super) direct: Hosts,
    /// The hosts of the connections: the pooler, or the same.
    hosts: Hosts,
    /// The statements that begin a transaction on each connection, behind a pooler only.
    begin: Option<String>,
    pub(super) operation_timeout: Duration,
    pub(super) tables: Tables,
    max_lifetime: Duration,
    queues: Queues,
    idle: Mutex<Vec<Aging>>,
    decoy: OnceLock<PgRow>,
}

/// How many connections a pool has, and for how long.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) connections: u32,
    pub(super) max_lifetime: Duration,
    pub(super) operation_timeout: Duration,
}

// === impl Pool ===

impl Pool {
    pub(super) fn new(direct: Hosts, pooler: Option<Hosts>, tables: Tables, bounds: Bounds) -> Arc<Self> {
        let begin = pooler.as_ref().map(|_| session::begin_with_settings(bounds.operation_timeout));
        Arc::new(Self {
            hosts: pooler.unwrap_or_else(|| direct.clone()),
            direct,
            tables: if begin.is_some() { tables.with_unnamed_statements() } else { tables },
            begin,
            operation_timeout: bounds.operation_timeout,
            max_lifetime: bounds.max_lifetime,
            queues: Queues::new(bounds.connections),
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
            self.forget_idle();
        }
        done
    }

    /// Waits for a permit, at most for half of the timeout. The other half is left for the query,
    /// since a query that times out closes its connection.
    pub(super) async fn permit(&self, purpose: Purpose) -> Result<Permit, sqlx::Error> {
        self.queues.permit(purpose, self.operation_timeout / 2).await
    }

    /// Returns a connection that the server may have closed while it was idle: see [`Pool::read`].
    /// Behind a pooler, it has just begun a transaction.
    pub(super) async fn acquire(self: &Arc<Self>, permit: Permit) -> Result<PooledConnection, sqlx::Error> {
        match &self.begin {
            None => self.take(permit).await,
            Some(begin) => self.begin_with(permit, begin).await,
        }
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
            match connection.finish(read).await {
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
            if !connection.is_unchecked() {
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
    /// what was committed before it.
    pub(super) async fn begin(
        self: &Arc<Self>,
        purpose: Purpose,
        locks: &[i64],
    ) -> Result<PostgresTransaction<'static>, sqlx::Error> {
        let begin = self.begin.as_deref().unwrap_or("begin isolation level read committed");
        let begin = format!("{begin}{}", locking(locks));
        let permit = self.permit(purpose).await?;
        self.begin_with(permit, &begin).await.map(PostgresTransaction::new)
    }

    /// Begins a transaction with these statements. A connection that turns out to be closed has
    /// done nothing, so another one is tried.
    async fn begin_with(
        self: &Arc<Self>,
        mut permit: Permit,
        statements: &str,
    ) -> Result<PooledConnection, sqlx::Error> {
        loop {
            let mut connection = self.take(permit).await?;
            match connection.begin(statements).await {
                Ok(()) => return Ok(connection),
                Err(error) if connection.may_begin_on_another(&error) => permit = connection.discard(),
                Err(error) => return Err(error),
            }
        }
    }

    /// Takes an idle connection, or connects.
    async fn take(self: &Arc<Self>, permit: Permit) -> Result<PooledConnection, sqlx::Error> {
        let idle = {
            let mut idle = self.idle();
            idle.retain(|connection| !connection.is_too_old());
            idle.pop()
        };
        let was_idle = idle.is_some();
        let connection = match idle {
            Some(connection) => connection,
            // Boxed, since the future is large, and few uses connect.
            None => Box::pin(self.hosts.first(self.operation_timeout, |host| self.connect(host))).await?,
        };
        Ok(PooledConnection::new(connection, Arc::clone(self), permit, was_idle))
    }

    /// Keeps a connection for later use, unless it is too old.
    pub(super) fn keep(&self, connection: Aging) {
        if !self.queues.is_closed() && !connection.is_too_old() {
            self.idle().push(connection);
        }
    }

    /// Closes the idle connections.
    pub(super) fn forget_idle(&self) {
        self.idle().clear();
    }

    pub(super) async fn close(&self) {
        self.queues.close();
        let idle = std::mem::take(&mut *self.idle());
        for idle in idle {
            let _ = within(self.operation_timeout, idle.connection.close()).await;
        }
    }

    async fn connect(&self, host: PgConnectOptions) -> Result<Aging, sqlx::Error> {
        let mut connection = PgConnection::connect_with(&host).await?;
        match &self.begin {
            None => prepare(&mut connection, self.operation_timeout).await?,
            Some(begin) => session::begin(&mut connection, begin).await?,
        }
        if self.decoy.get().is_none() {
            let _ = self.decoy.set(self.tables.query(statements::DECOY).fetch_one(&mut connection).await?);
        }
        if self.is_in_transactions() {
            sqlx::raw_sql("commit").execute(&mut connection).await?;
        }
        Ok(Aging::new(connection, self.max_lifetime))
    }

    /// Connects to the primary without a pooler. The connection is no part of the pool.
    pub(super) async fn connect_directly(&self) -> Result<PgConnection, sqlx::Error> {
        let connect = |host: PgConnectOptions| async move {
            let mut connection = PgConnection::connect_with(&host).await?;
            prepare(&mut connection, self.operation_timeout).await?;
            Ok(connection)
        };
        Box::pin(self.direct.first(self.operation_timeout, connect)).await
    }

    /// Returns whether each connection is in a transaction while it is in use, because a pooler may
    /// give it another session for each transaction.
    pub(super) fn is_in_transactions(&self) -> bool {
        self.begin.is_some()
    }

    /// Returns the decoy row. It belongs to no key, and has the size of the row of a common key.
    pub(super) fn decoy(&self) -> Option<&PgRow> {
        self.decoy.get()
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Aging>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("hosts", &self.hosts)
            .field("database", &self.direct.database())
            .field("operation_timeout", &self.operation_timeout)
            .field("free", &self.queues.free())
            .field("idle", &self.idle().len())
            .finish_non_exhaustive()
    }
}
