//! The registry: one timeout for a change, whatever it waits for.

use std::{
    ops::{ControlFlow, RangeInclusive},
    time::SystemTime,
};

use sqlx::{PgConnection, query::Query};

use super::{
    PostgresStore, contains_nul,
    pool::{PooledConnection, Purpose},
    search::search_page,
    statements,
    transaction::PostgresTransaction,
};
use crate::{
    event::{EventCursor, EventFilter, KeyEvent},
    record::{KeyId, KeyRecord},
    store::{
        ChangeKind, ChangeScope, DayUsage, ExpiryClaim, IdempotencyRecord, JoinStore, KeyFilter, KeyPage,
        RegistryChange, RegistryError, TransactionalStore, UsageDelta, UtcDay, change, row, search,
    },
};

/// The maximum number of days of keys that are removed in one transaction.
const PRUNED: i64 = 1_000;

impl TransactionalStore for PostgresStore {
    type Transaction<'s> = PostgresTransaction<'s>;

    async fn read(&self, id: &KeyId) -> Result<Option<KeyRecord>, sqlx::Error> {
        if contains_nul(id.as_str()) {
            return Ok(None);
        }
        let read = |mut connection: PooledConnection| async move {
            let query = self.pool.tables.query(statements::GET).bind(id.as_str());
            let row = query.fetch_optional(&mut *connection).await;
            (connection, row)
        };
        self.pool.within(self.pool.read(Purpose::Change, read)).await?.as_ref().map(row::record).transpose()
    }

    async fn read_page(&self, filter: &KeyFilter) -> Result<Vec<KeyRecord>, sqlx::Error> {
        search::listed(self, filter).await
    }

    async fn search_page(&self, filter: &KeyFilter) -> Result<KeyPage, sqlx::Error> {
        if filter.texts().any(contains_nul) {
            return Ok(KeyPage::new(Vec::new(), None));
        }
        let work = async {
            let mut permit = self.pool.permit(Purpose::List).await?;
            loop {
                let mut connection = self.pool.acquire(permit).await?;
                let read = search_page(filter, &self.pool.tables, &mut connection).await;
                match connection.finish(read).await {
                    ControlFlow::Break(read) => return read,
                    ControlFlow::Continue(freed) => permit = freed,
                }
            }
        };
        self.pool.within(work).await
    }

    async fn read_idempotency(&self, id: &[u8; 32]) -> Result<Option<IdempotencyRecord>, sqlx::Error> {
        let read = |mut connection: PooledConnection| async move {
            let query = self.pool.tables.query(statements::CLAIMED).bind(&id[..]);
            let row = query.fetch_optional(&mut *connection).await;
            (connection, row)
        };
        self.pool.within(self.pool.read(Purpose::Change, read)).await?.as_ref().map(row::idempotency).transpose()
    }

    async fn begin(&self, scope: ChangeScope<'_>) -> Result<PostgresTransaction<'_>, sqlx::Error> {
        // A transaction that waits for the lock of an owner must not take the connection of a
        // revocation.
        let purpose = match scope.kind {
            ChangeKind::Update(_) | ChangeKind::Revoke if scope.owner.is_none() => Purpose::Change,
            _ => Purpose::Add,
        };
        self.pool.begin(purpose, &locks_of(scope)).await
    }

    async fn transact<C: RegistryChange>(&self, change: &C) -> Result<Result<C::Output, RegistryError>, sqlx::Error> {
        self.pool.within(change::run(self, change)).await
    }

    async fn record_usage(&self, usage: &[UsageDelta]) -> Result<(), sqlx::Error> {
        let statements::UsageColumns { keys, days, counts } = statements::add_up(usage);
        let work = async {
            // Adding usage must not be repeated after an error, so the connection is checked first.
            let mut connection = self.pool.acquire_checked(Purpose::Add).await?;
            let query = self.pool.tables.query(statements::RECORD_USES);
            let query = query.bind(keys.0).bind(keys.1).bind(keys.2).bind(days.0).bind(days.1);
            let query = counts.into_iter().fold(query, Query::bind);
            query.execute(&mut *connection).await?;
            connection.release().await?;
            Ok(())
        };
        self.pool.within(work).await
    }

    async fn read_usage(&self, id: &KeyId, days: RangeInclusive<UtcDay>) -> Result<Option<Vec<DayUsage>>, sqlx::Error> {
        if contains_nul(id.as_str()) {
            return Ok(Some(Vec::new()));
        }
        let (first, last) = (row::day_number(*days.start()), row::day_number(*days.end()));
        let read = |mut connection: PooledConnection| async move {
            let query = self.pool.tables.query(statements::USAGE).bind(id.as_str()).bind(first).bind(last);
            let rows = query.fetch_all(&mut *connection).await;
            (connection, rows)
        };
        let rows = self.pool.within(self.pool.read(Purpose::List, read)).await?;
        rows.iter().map(row::usage).collect::<Result<_, _>>().map(Some)
    }

    async fn prune_usage(&self, before: UtcDay) -> Result<u64, sqlx::Error> {
        let work = async {
            let mut connection = self.pool.acquire_checked(Purpose::Add).await?;
            let query = self.pool.tables.query(statements::PRUNE_USAGE).bind(row::day_number(before)).bind(PRUNED);
            let removed = query.execute(&mut *connection).await?.rows_affected();
            connection.release().await?;
            Ok(removed)
        };
        self.pool.within(work).await
    }

    async fn read_events_since(&self, cursor: EventCursor, limit: usize) -> Result<Option<Vec<KeyEvent>>, sqlx::Error> {
        self.events_after(cursor, limit).await.map(Some)
    }

    async fn read_newest_event(&self) -> Result<Option<EventCursor>, sqlx::Error> {
        self.last_event().await.map(Some)
    }

    async fn read_events(&self, filter: &EventFilter) -> Result<Option<Vec<KeyEvent>>, sqlx::Error> {
        self.page_of_events(filter).await.map(Some)
    }

    async fn delete_events(&self, before: SystemTime, limit: usize) -> Result<usize, sqlx::Error> {
        self.prune(before, limit).await
    }

    async fn write_expiries(&self, now: SystemTime, limit: usize) -> Result<usize, sqlx::Error> {
        self.announce_expiries(now, limit).await
    }

    async fn claim_expiring(&self, claim: &ExpiryClaim) -> Result<Option<Vec<KeyRecord>>, sqlx::Error> {
        let work = async {
            // A claim must not be repeated after an error, so the connection is checked first.
            let mut connection = self.pool.acquire_checked(Purpose::Add).await?;
            let query = self
                .pool
                .tables
                .query(statements::CLAIM_EXPIRING)
                .bind(row::micros(claim.after))
                .bind(row::micros(claim.until))
                .bind(i64::try_from(claim.limit).unwrap_or(i64::MAX));
            let claimed = row::by_expiry(&query.fetch_all(&mut *connection).await?)?;
            connection.release().await?;
            Ok(Some(claimed))
        };
        self.pool.within(work).await
    }

    async fn release_expiring(&self, records: &[KeyRecord]) -> Result<(), sqlx::Error> {
        let ends =
            records.iter().filter_map(|record| Some((record.id().to_string(), row::micros(record.expires_at()?))));
        let (ids, ends): (Vec<String>, Vec<i64>) = ends.filter(|(id, _)| !contains_nul(id)).unzip();
        let work = async {
            let mut connection = self.pool.acquire_checked(Purpose::Add).await?;
            let query = self.pool.tables.query(statements::RELEASE_EXPIRING).bind(ids).bind(ends);
            query.execute(&mut *connection).await?;
            connection.release().await?;
            Ok(())
        };
        self.pool.within(work).await
    }
}

impl JoinStore for PostgresStore {
    type Connection = PgConnection;

    async fn join<'c>(
        &'c self,
        connection: &'c mut PgConnection,
        scope: ChangeScope<'_>,
    ) -> Result<PostgresTransaction<'c>, sqlx::Error> {
        PostgresTransaction::join(connection, &self.pool.tables, &locks_of(scope)).await
    }
}

fn locks_of(scope: ChangeScope<'_>) -> Vec<i64> {
    let first = matches!(scope.kind, ChangeKind::AddFirst).then(statements::first_lock_number);
    first.into_iter().chain(scope.owner.map(statements::lock_number)).collect()
}
