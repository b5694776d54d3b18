//! A transaction, and its six operations.

use std::{
    ops::{Deref, DerefMut},
    time::SystemTime,
};

use sqlx::{AssertSqlSafe, PgConnection, Postgres, Row};

use super::{contains_nul, events, pool::PooledConnection, statements};
use crate::{
    event::KeyEvent,
    record::{KeyId, KeyRecord},
    store::{
        CountedKeys, IdempotencyRecord, OwnerScope, RegistryError, RegistryTransaction, idempotency::PRUNED, row,
        tables::Tables,
    },
};

/// A transaction of a [`PostgresStore`](super::PostgresStore). When it is dropped, its connection
/// is closed, so the server rolls it back.
///
/// See [`RegistryTransaction`](crate::store::RegistryTransaction) for an example.
pub struct PostgresTransaction<'s>(Session<'s>);

/// The connection of a transaction.
enum Session<'s> {
    Pooled(PooledConnection),
    /// A transaction of the application, in which a savepoint begins the change.
    Joined(&'s mut PgConnection, Tables),
}

// === impl PostgresTransaction ===

impl<'s> PostgresTransaction<'s> {
    pub(super) fn new(connection: PooledConnection) -> Self {
        Self(Session::Pooled(connection))
    }

    /// Begins a change in the transaction of another connection, and takes these advisory locks.
    pub(super) async fn join(
        connection: &'s mut PgConnection,
        tables: &Tables,
        locks: &[i64],
    ) -> Result<Self, sqlx::Error> {
        let locks = locking(locks);
        let begin = format!("savepoint tower_api_key; select current_setting('transaction_isolation'){locks}");
        let rows = sqlx::raw_sql(AssertSqlSafe(begin)).fetch_all(&mut *connection).await?;
        let isolation = rows.first().map(|row| row.try_get::<String, _>(0)).transpose()?;
        let joined = Self(Session::Joined(connection, tables.clone()));
        if isolation.as_deref() != Some("read committed") {
            joined.rollback().await?;
            let why = "a key is issued only in a transaction with the isolation level `read committed`: in another one, \
                the limit of keys would be counted in an old state of the table";
            return Err(sqlx::Error::Configuration(why.into()));
        }
        Ok(joined)
    }

    pub(super) fn connection(&mut self) -> &mut PgConnection {
        &mut self.0
    }

    async fn end(mut self, statement: &'static str) -> Result<(), sqlx::Error> {
        sqlx::raw_sql(statement).execute(&mut *self.0).await?;
        if let Session::Pooled(connection) = self.0 {
            connection.put_back();
        }
        Ok(())
    }

    async fn ids_of(&mut self, owner: OwnerScope<'_>) -> Result<Vec<String>, sqlx::Error> {
        let mut query = statements::keys_of(owner);
        let rows = self.0.tables().build(&mut query)?.fetch_all(&mut *self.0).await?;
        rows.iter().map(|row| row.try_get(0)).collect()
    }
}

impl RegistryTransaction for PostgresTransaction<'_> {
    type Error = sqlx::Error;

    /// Locks one row after the other, in the order of their ids. The locks of `begin` come first.
    /// So no two transactions wait for each other.
    async fn lock(&mut self, ids: &[&KeyId], owner: Option<OwnerScope<'_>>) -> Result<Vec<KeyRecord>, sqlx::Error> {
        let ids = ids.iter().map(|id| id.as_str()).filter(|id| !contains_nul(id));
        let mut ids: Vec<String> = ids.map(str::to_owned).collect();
        if let Some(owner) = owner.filter(|owner| !has_nul(owner)) {
            ids.extend(self.ids_of(owner).await?);
        }
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let rows = self.0.tables().query(statements::LOCK).bind(ids).fetch_all(&mut *self.0).await?;
        rows.iter().map(row::record).collect()
    }

    async fn insert(&mut self, record: &KeyRecord) -> Result<Result<(), RegistryError>, sqlx::Error> {
        loop {
            let query = self.0.tables().query_with(statements::INSERT, row::arguments::<Postgres>(record)?);
            if query.execute(&mut *self.0).await?.rows_affected() == 1 {
                return Ok(Ok(()));
            }
            let query = self.0.tables().query_scalar::<String>(statements::DUPLICATES).bind(record.id().as_str());
            let duplicates = query.bind(&record.digest().as_bytes()[..]).fetch_all(&mut *self.0).await?;
            if duplicates.iter().any(|id| id == record.id().as_str()) {
                return Ok(Err(RegistryError::DuplicateId(record.id().clone())));
            }
            if !duplicates.is_empty() {
                return Ok(Err(RegistryError::DuplicateDigest));
            }
            // The duplicate was removed in between.
        }
    }

    async fn put(&mut self, record: &KeyRecord) -> Result<(), sqlx::Error> {
        let query = self.0.tables().query_with(statements::PUT, row::arguments::<Postgres>(record)?);
        query.execute(&mut *self.0).await.map(drop)
    }

    async fn delete(&mut self, ids: &[&KeyId]) -> Result<(), sqlx::Error> {
        let ids: Vec<&str> = ids.iter().map(|id| id.as_str()).collect();
        self.0.tables().query(statements::DELETE).bind(ids).execute(&mut *self.0).await.map(drop)
    }

    async fn count(&mut self, keys: CountedKeys<'_>, max: u32) -> Result<u32, sqlx::Error> {
        let mut query = match keys {
            CountedKeys::All => statements::count_all(max),
            CountedKeys::OfOwner(owner, at) => statements::count(owner, at, max),
        };
        let row = self.0.tables().build(&mut query)?.fetch_one(&mut *self.0).await?;
        Ok(u32::try_from(row.try_get::<i64, _>(0)?).unwrap_or(max).min(max))
    }

    async fn set_digest(&mut self, record: &KeyRecord) -> Result<Result<(), RegistryError>, sqlx::Error> {
        let query = self.0.tables().query(statements::SET_DIGEST).bind(record.id().as_str());
        let query = query.bind(&record.digest().as_bytes()[..]).bind(row::number(record.version()));
        match query.execute(&mut *self.0).await {
            Err(sqlx::Error::Database(error)) if error.is_unique_violation() => Ok(Err(RegistryError::DuplicateDigest)),
            updated => updated.map(|_| Ok(())),
        }
    }

    async fn claim(
        &mut self,
        claim: &IdempotencyRecord,
        now: SystemTime,
    ) -> Result<Result<(), RegistryError>, sqlx::Error> {
        let query = self.0.tables().query(statements::CLAIM).bind(&claim.id[..]).bind(&claim.fingerprint[..]);
        let query = query.bind(claim.key_id.as_str()).bind(row::micros(claim.expires_at)).bind(row::micros(now));
        if query.execute(&mut *self.0).await?.rows_affected() == 0 {
            let query = self.0.tables().query(statements::CLAIMED).bind(&claim.id[..]);
            let stored = row::idempotency(&query.fetch_one(&mut *self.0).await?)?;
            return Ok(Err(stored.answer(&claim.fingerprint)));
        }
        let prune = self.0.tables().query(statements::PRUNE_CLAIMS).bind(row::micros(now)).bind(i64::from(PRUNED));
        prune.execute(&mut *self.0).await.map(|_| Ok(()))
    }

    async fn record_events(&mut self, events: &[KeyEvent]) -> Result<(), sqlx::Error> {
        let tables = self.0.tables().clone();
        events::write(&mut self.0, &tables, events).await
    }

    async fn commit(self) -> Result<(), sqlx::Error> {
        let commit = match self.0 {
            Session::Pooled(_) => "commit",
            Session::Joined(..) => "release savepoint tower_api_key",
        };
        self.end(commit).await
    }

    /// Keeps the connection, which a drop would close.
    async fn rollback(self) -> Result<(), sqlx::Error> {
        let rollback = match self.0 {
            Session::Pooled(_) => "rollback",
            Session::Joined(..) => "rollback to savepoint tower_api_key; release savepoint tower_api_key",
        };
        self.end(rollback).await
    }
}

// === impl Session ===

impl Session<'_> {
    fn tables(&self) -> &Tables {
        match self {
            Self::Pooled(connection) => connection.tables(),
            Self::Joined(_, tables) => tables,
        }
    }
}

impl Deref for Session<'_> {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        match self {
            Self::Pooled(connection) => connection,
            Self::Joined(connection, _) => connection,
        }
    }
}

impl DerefMut for Session<'_> {
    fn deref_mut(&mut self) -> &mut PgConnection {
        match self {
            Self::Pooled(connection) => connection,
            Self::Joined(connection, _) => connection,
        }
    }
}

/// Returns the statements that take these advisory locks, after another statement.
pub(super) fn locking(locks: &[i64]) -> String {
    locks.iter().map(|lock| format!("; select pg_advisory_xact_lock('{lock}'::bigint)")).collect()
}

/// No key has an owner with a NUL in its name.
fn has_nul(owner: &OwnerScope<'_>) -> bool {
    let (_, user) = row::owner(owner.owner);
    [owner.organization, user].into_iter().flatten().any(contains_nul)
}
