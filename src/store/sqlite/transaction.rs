//! A transaction that writes. Its commit returns an error if the file at the path was replaced,
//! since other processes do not see the change.

use std::{
    ops::{Deref, DerefMut},
    time::SystemTime,
};

use sqlx::{SqlStr, Sqlite, SqliteConnection, Transaction, query::Query};

use super::{connections::Connections, events, fault::SqliteFault, statements};
use crate::{
    event::KeyEvent,
    record::{KeyId, KeyRecord},
    store::{
        CountedKeys, ExpiryClaim, IdempotencyRecord, OwnerScope, RegistryError, RegistryTransaction, UsageDelta,
        UtcDay, idempotency::PRUNED, row, tables::Tables,
    },
};

/// A transaction of a [`SqliteStore`](super::SqliteStore). It is rolled back when it is dropped.
///
/// See [`RegistryTransaction`](crate::store::RegistryTransaction) for an example.
pub struct SqliteTransaction<'s> {
    transaction: Session<'s>,
    connections: &'s Connections,
}

/// The connection of a transaction.
enum Session<'s> {
    Own(Transaction<'static, Sqlite>),
    /// A transaction of the application, in which a savepoint begins the change.
    Joined(&'s mut SqliteConnection),
}

// === impl SqliteTransaction ===

impl<'s> SqliteTransaction<'s> {
    /// Locks the file for writing.
    pub(super) async fn begin(connections: &'s Connections) -> Result<Self, sqlx::Error> {
        connections.files.check()?;
        let transaction = Session::Own(connections.writer.begin_with("begin immediate").await?);
        Ok(Self { transaction, connections })
    }

    /// Begins a change in the transaction of another connection, and locks the file for writing.
    pub(super) async fn join(
        connections: &'s Connections,
        connection: &'s mut SqliteConnection,
    ) -> Result<Self, sqlx::Error> {
        connections.files.check()?;
        sqlx::raw_sql("savepoint tower_api_key").execute(&mut *connection).await?;
        // With this lock, no other connection writes between the reads and the write of the change,
        // which SQLite would then refuse.
        let lock = connections.tables.sql("delete from api_keys where false");
        let locked = sqlx::raw_sql(lock).execute(&mut *connection).await;
        let joined = Self { transaction: Session::Joined(connection), connections };
        if let Err(error) = locked {
            let _ = joined.rollback().await;
            return Err(error);
        }
        Ok(joined)
    }

    pub(super) async fn add_usage(&mut self, delta: &UsageDelta) -> Result<(), sqlx::Error> {
        if let Some(last_used_at) = delta.last_used_at {
            let query = sqlx::query(self.sql(statements::RECORD_USE)).bind(delta.id.as_str());
            let query = query.bind(row::number(delta.uses())).bind(row::micros(last_used_at));
            query.execute(&mut *self.transaction).await?;
        }
        let (day, counts) = row::counts(&delta.usage);
        let query = sqlx::query(self.sql(statements::RECORD_DAY)).bind(delta.id.as_str()).bind(day);
        let query = counts.into_iter().fold(query, Query::bind);
        query.execute(&mut *self.transaction).await.map(drop)
    }

    /// Removes some of the days before this one.
    pub(super) async fn prune_usage(&mut self, before: UtcDay, most: u32) -> Result<u64, sqlx::Error> {
        let query = sqlx::query(self.sql(statements::PRUNE_USAGE)).bind(row::day_number(before)).bind(most);
        Ok(query.execute(&mut *self.transaction).await?.rows_affected())
    }

    pub(super) fn connection(&mut self) -> &mut SqliteConnection {
        &mut self.transaction
    }

    fn sql(&self, text: &'static str) -> SqlStr {
        self.connections.tables.sql(text)
    }

    /// Marks expiries as announced.
    pub(super) async fn claim_expiring(&mut self, claim: &ExpiryClaim) -> Result<Vec<KeyRecord>, sqlx::Error> {
        let query = sqlx::query(self.sql(statements::EXPIRING))
            .bind(row::micros(claim.after))
            .bind(row::micros(claim.until))
            .bind(i64::try_from(claim.limit).unwrap_or(i64::MAX));
        let due = row::by_expiry(&query.fetch_all(&mut *self.transaction).await?)?;
        for record in &due {
            let query = sqlx::query(self.sql(statements::ANNOUNCE)).bind(record.id().as_str());
            query.bind(record.expires_at().map(row::micros)).execute(&mut *self.transaction).await?;
        }
        Ok(due)
    }

    /// Removes the mark of the record's expiry.
    pub(super) async fn release_expiring(&mut self, record: &KeyRecord) -> Result<(), sqlx::Error> {
        let query = sqlx::query(self.sql(statements::RELEASE_EXPIRING)).bind(record.id().as_str());
        query.bind(record.expires_at().map(row::micros)).execute(&mut *self.transaction).await.map(drop)
    }

    pub(super) async fn end(self) -> Result<(), sqlx::Error> {
        match self.transaction {
            Session::Own(transaction) => transaction.commit().await?,
            Session::Joined(connection) => {
                sqlx::raw_sql("release savepoint tower_api_key").execute(connection).await?;
            }
        }
        self.connections.files.check()
    }
}

impl RegistryTransaction for SqliteTransaction<'_> {
    type Error = sqlx::Error;

    async fn lock(&mut self, ids: &[&KeyId], owner: Option<OwnerScope<'_>>) -> Result<Vec<KeyRecord>, sqlx::Error> {
        let mut locked = Vec::new();
        for id in ids {
            locked.extend(get(&mut self.transaction, &self.connections.tables, id).await?);
        }
        if let Some(owner) = owner {
            let (owner_type, user) = row::owner(owner.owner);
            let query =
                sqlx::query(self.sql(statements::OF_OWNER)).bind(owner.organization).bind(owner_type).bind(user);
            let rows = query.fetch_all(&mut *self.transaction).await?;
            locked.extend(rows.iter().map(row::record).collect::<Result<Vec<_>, _>>()?);
        }
        Ok(locked)
    }

    async fn insert(&mut self, record: &KeyRecord) -> Result<Result<(), RegistryError>, sqlx::Error> {
        // A new key must leave enough space to revoke it.
        let connections = self.connections;
        let full = |_| SqliteFault::DiskFull(connections.files.path().to_owned());
        connections.reserve.keep().map_err(full)?;
        let query = sqlx::query_with(self.sql(statements::INSERT), row::arguments::<Sqlite>(record)?);
        match query.execute(&mut *self.transaction).await {
            Err(sqlx::Error::Database(error)) if error.is_unique_violation() => {
                let has_id = get(&mut self.transaction, &self.connections.tables, record.id()).await?.is_some();
                let id = has_id.then(|| RegistryError::DuplicateId(record.id().clone()));
                Ok(Err(id.unwrap_or(RegistryError::DuplicateDigest)))
            }
            inserted => inserted.map(|_| Ok(())),
        }
    }

    async fn put(&mut self, record: &KeyRecord) -> Result<(), sqlx::Error> {
        let query = sqlx::query_with(self.sql(statements::PUT), row::arguments::<Sqlite>(record)?);
        query.execute(&mut *self.transaction).await.map(drop)
    }

    async fn delete(&mut self, ids: &[&KeyId]) -> Result<(), sqlx::Error> {
        for id in ids {
            for statement in [statements::DELETE_USAGE, statements::DELETE] {
                sqlx::query(self.sql(statement)).bind(id.as_str()).execute(&mut *self.transaction).await?;
            }
        }
        Ok(())
    }

    async fn count(&mut self, keys: CountedKeys<'_>, max: u32) -> Result<u32, sqlx::Error> {
        let query = match keys {
            CountedKeys::All => sqlx::query_scalar(self.sql(statements::COUNT_ALL)).bind(max),
            CountedKeys::OfOwner(owner, at) => {
                let (owner_type, user) = row::owner(owner.owner);
                let query = sqlx::query_scalar(self.sql(statements::COUNT))
                    .bind(owner.organization)
                    .bind(owner_type)
                    .bind(user);
                query.bind(row::micros(at)).bind(max)
            }
        };
        query.fetch_one(&mut *self.transaction).await
    }

    async fn set_digest(&mut self, record: &KeyRecord) -> Result<Result<(), RegistryError>, sqlx::Error> {
        let query = sqlx::query(self.sql(statements::SET_DIGEST)).bind(record.id().as_str());
        let query = query.bind(record.digest().as_bytes().to_vec()).bind(row::number(record.version()));
        match query.execute(&mut *self.transaction).await {
            Err(sqlx::Error::Database(error)) if error.is_unique_violation() => Ok(Err(RegistryError::DuplicateDigest)),
            updated => updated.map(|_| Ok(())),
        }
    }

    async fn claim(
        &mut self,
        claim: &IdempotencyRecord,
        now: SystemTime,
    ) -> Result<Result<(), RegistryError>, sqlx::Error> {
        let query = sqlx::query(self.sql(statements::CLAIM)).bind(&claim.id[..]).bind(&claim.fingerprint[..]);
        let query = query.bind(claim.key_id.as_str()).bind(row::micros(claim.expires_at)).bind(row::micros(now));
        if query.execute(&mut *self.transaction).await?.rows_affected() == 0 {
            let stored = claimed(&mut self.transaction, &self.connections.tables, &claim.id).await?;
            let stored = stored.ok_or(sqlx::Error::RowNotFound)?;
            return Ok(Err(stored.answer(&claim.fingerprint)));
        }
        let prune = sqlx::query(self.sql(statements::PRUNE_CLAIMS)).bind(row::micros(now)).bind(PRUNED);
        prune.execute(&mut *self.transaction).await.map(|_| Ok(()))
    }

    async fn record_events(&mut self, events: &[KeyEvent]) -> Result<(), sqlx::Error> {
        events::write(&mut self.transaction, &self.connections.tables, events).await
    }

    async fn commit(self) -> Result<(), sqlx::Error> {
        self.end().await
    }

    async fn rollback(self) -> Result<(), sqlx::Error> {
        match self.transaction {
            // SQLite may have rolled it back itself.
            Session::Own(transaction) => drop(transaction),
            Session::Joined(connection) => {
                let undo = "rollback to savepoint tower_api_key; release savepoint tower_api_key";
                sqlx::raw_sql(undo).execute(connection).await?;
            }
        }
        Ok(())
    }
}

// === impl Session ===

impl Deref for Session<'_> {
    type Target = SqliteConnection;

    fn deref(&self) -> &SqliteConnection {
        match self {
            Self::Own(transaction) => transaction,
            Self::Joined(connection) => connection,
        }
    }
}

impl DerefMut for Session<'_> {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        match self {
            Self::Own(transaction) => transaction,
            Self::Joined(connection) => connection,
        }
    }
}

pub(super) async fn get(
    connection: &mut SqliteConnection,
    tables: &Tables,
    id: &KeyId,
) -> Result<Option<KeyRecord>, sqlx::Error> {
    let query = sqlx::query(tables.sql(statements::GET)).bind(id.as_str());
    query.fetch_optional(connection).await?.as_ref().map(row::record).transpose()
}

pub(super) async fn claimed(
    connection: &mut SqliteConnection,
    tables: &Tables,
    id: &[u8; 32],
) -> Result<Option<IdempotencyRecord>, sqlx::Error> {
    let query = sqlx::query(tables.sql(statements::CLAIMED)).bind(&id[..]);
    query.fetch_optional(connection).await?.as_ref().map(row::idempotency).transpose()
}
