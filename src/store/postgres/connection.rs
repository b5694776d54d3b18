//! A connection that is in use.

use std::{
    hash::{BuildHasher, RandomState},
    io,
    ops::{ControlFlow, Deref, DerefMut},
    sync::Arc,
    time::Duration,
};

use sqlx::PgConnection;

use super::{
    pool::Pool,
    queues::Permit,
    session::{begin, is_replica},
};
use crate::{clock::Stopwatch, store::tables::Tables};

/// A connection of a pool, with its age.
pub(super) struct Aging {
    pub(super) connection: PgConnection,
    age: Stopwatch,
    max_age: Duration,
}

/// A connection in use, with its permit.
pub(super) struct PooledConnection {
    connection: Aging,
    pool: Arc<Pool>,
    permit: Permit,
    was_idle: bool,
}

// === impl Aging ===

impl Aging {
    /// The greatest age is spread by 10 % in both directions, so that the nodes of a deployment do
    /// not connect again at the same time.
    pub(super) fn new(connection: PgConnection, max_lifetime: Duration) -> Self {
        let part = u32::try_from(RandomState::new().hash_one(()) % 201).unwrap_or_default();
        let max_age = (max_lifetime / 1000).saturating_mul(900 + part);
        Self { connection, age: Stopwatch::start(), max_age }
    }

    pub(super) fn is_too_old(&self) -> bool {
        self.age.elapsed() >= self.max_age
    }
}

// === impl PooledConnection ===

impl PooledConnection {
    pub(super) fn new(connection: Aging, pool: Arc<Pool>, permit: Permit, was_idle: bool) -> Self {
        Self { connection, pool, permit, was_idle }
    }

    pub(super) fn tables(&self) -> &Tables {
        &self.pool.tables
    }

    /// Returns whether the server may have closed this connection while it was idle.
    pub(super) fn is_unchecked(&self) -> bool {
        self.was_idle
    }

    /// Begins a transaction with these statements.
    pub(super) async fn begin(&mut self, statements: &str) -> Result<(), sqlx::Error> {
        begin(self, statements).await?;
        self.was_idle = false;
        Ok(())
    }

    /// Ends the work with the connection, and returns it to the pool. Behind a pooler, the work is
    /// committed first. A connection that is dropped is closed.
    pub(super) async fn release(mut self) -> Result<(), sqlx::Error> {
        if self.pool.is_in_transactions() {
            sqlx::raw_sql("commit").execute(&mut *self).await?;
        }
        self.put_back();
        Ok(())
    }

    /// Returns the connection to the pool. It must be in no transaction.
    pub(super) fn put_back(self) {
        let Self { connection, pool, permit, .. } = self;
        pool.keep(connection);
        drop(permit);
    }

    /// Closes the connection and keeps its permit.
    pub(super) fn discard(self) -> Permit {
        self.permit
    }

    /// Ends a read: breaks with its result, or continues with the permit for another attempt.
    pub(super) async fn finish<T>(self, read: Result<T, sqlx::Error>) -> ControlFlow<Result<T, sqlx::Error>, Permit> {
        match read {
            Ok(read) => ControlFlow::Break(self.release().await.map(|()| read)),
            Err(error) if self.is_retryable(&error) => ControlFlow::Continue(self.discard()),
            Err(error) => ControlFlow::Break(Err(error)),
        }
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

    /// Returns whether the begin of a transaction, which changes nothing, can be repeated on
    /// another connection. Behind this one, the pooler has lost its server, or now has a replica.
    pub(super) fn may_begin_on_another(&self, error: &sqlx::Error) -> bool {
        let has_lost_server = |error: &sqlx::Error| {
            let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
            code.is_some_and(|code| code.starts_with("08"))
        };
        self.is_retryable(error) || (self.was_idle && (is_replica(error) || has_lost_server(error)))
    }
}

impl Deref for PooledConnection {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.connection.connection
    }
}

impl DerefMut for PooledConnection {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.connection.connection
    }
}
