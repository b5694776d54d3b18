//! The registry: lists in turn, additions in turn, and changes that still work on a full disk.

use std::{ops::RangeInclusive, time::SystemTime};

use sqlx::{Sqlite, SqliteConnection};

use super::{
    SqliteStore,
    fault::SqliteFault,
    reserve::is_full,
    statements,
    transaction::{SqliteTransaction, claimed, get},
};
use crate::{
    event::{EventCursor, EventFilter, KeyEvent},
    record::{KeyId, KeyRecord, Status},
    store::{
        ChangeKind, ChangeScope, DayUsage, ExpiryClaim, IdempotencyRecord, JoinStore, KeyFilter, KeyPage,
        RegistryChange, RegistryError, TransactionalStore, UsageDelta, UtcDay, change, row,
        search::{self, Steps, statement::Statement},
    },
};

/// The maximum number of days of keys that are removed in one transaction.
const PRUNED: u32 = 1_000;

/// The maximum length of the permissions in an event that may use the reserve, as JSON.
const SMALL: usize = 512;

impl TransactionalStore for SqliteStore {
    type Transaction<'s> = SqliteTransaction<'s>;

    async fn read(&self, id: &KeyId) -> Result<Option<KeyRecord>, sqlx::Error> {
        self.0.reading(async { get(&mut *self.0.gets.acquire().await?, &self.0.tables, id).await }).await
    }

    async fn read_page(&self, filter: &KeyFilter) -> Result<Vec<KeyRecord>, sqlx::Error> {
        search::listed(self, filter).await
    }

    async fn search_page(&self, filter: &KeyFilter) -> Result<KeyPage, sqlx::Error> {
        let tables = &self.0.tables;
        let mut turn = self.0.turn(filter.organization.as_deref()).await?;
        let page = async {
            let mut steps = Steps::new(filter);
            loop {
                let statement = Statement::new(&steps);
                let mut last = None;
                if let Some(mut query) = statement.last_visit::<Sqlite>() {
                    let row = tables.build(&mut query)?.fetch_optional(&mut *turn.connection).await?;
                    last = row.map(|row| statement.cursor(&row)).transpose()?;
                }
                let mut query = statement.page::<Sqlite>(last.as_ref());
                let rows = tables.build(&mut query)?.fetch_all(&mut *turn.connection).await?;
                let step = KeyPage::cut(row::records(&rows).await?, steps.step(), last);
                if let Some(page) = steps.add(step) {
                    return Ok(page);
                }
            }
        };
        self.0.reading(page).await
    }

    async fn read_idempotency(&self, id: &[u8; 32]) -> Result<Option<IdempotencyRecord>, sqlx::Error> {
        self.0.reading(async { claimed(&mut *self.0.gets.acquire().await?, &self.0.tables, id).await }).await
    }

    /// Begins a write transaction. There is one at a time, so no record that it reads can change.
    async fn begin(&self, _: ChangeScope<'_>) -> Result<SqliteTransaction<'_>, sqlx::Error> {
        SqliteTransaction::begin(&self.0).await
    }

    async fn transact<C: RegistryChange>(&self, change: &C) -> Result<Result<C::Output, RegistryError>, sqlx::Error> {
        let kind = change.scope().kind;
        let _turn = match kind {
            ChangeKind::Add | ChangeKind::Update(_) => Some(self.0.addition().await?),
            ChangeKind::AddFirst | ChangeKind::Revoke | ChangeKind::Maintain => None,
        };
        let attempt = || change::run(self, change);
        match kind {
            ChangeKind::Add | ChangeKind::AddFirst => {
                attempt().await.map_err(|error| if is_full(&error) { self.disk_full() } else { error })
            }
            ChangeKind::Update(changed) => {
                // Each edit writes an event, so it must leave enough space to revoke keys.
                if self.keeps_reserve().await? {
                    let done = attempt().await;
                    if !done.as_ref().is_err_and(is_full) {
                        return done;
                    }
                }
                let may_spend = self.takes_access_away(changed).await?;
                if may_spend { self.0.reserve.spend(attempt).await } else { Err(self.disk_full()) }
            }
            ChangeKind::Revoke => self.0.reserve.spend(attempt).await,
            ChangeKind::Maintain => attempt().await,
        }
    }

    async fn record_usage(&self, usage: &[UsageDelta]) -> Result<(), sqlx::Error> {
        let mut transaction = SqliteTransaction::begin(&self.0).await?;
        for delta in usage {
            transaction.add_usage(delta).await?;
        }
        transaction.end().await
    }

    async fn read_usage(&self, id: &KeyId, days: RangeInclusive<UtcDay>) -> Result<Option<Vec<DayUsage>>, sqlx::Error> {
        let rows = async {
            let query = sqlx::query(self.0.tables.sql(statements::USAGE)).bind(id.as_str());
            let query = query.bind(row::day_number(*days.start())).bind(row::day_number(*days.end()));
            query.fetch_all(&mut *self.0.gets.acquire().await?).await
        };
        self.0.reading(rows).await?.iter().map(row::usage).collect::<Result<_, _>>().map(Some)
    }

    async fn prune_usage(&self, before: UtcDay) -> Result<u64, sqlx::Error> {
        let mut transaction = SqliteTransaction::begin(&self.0).await?;
        let removed = transaction.prune_usage(before, PRUNED).await?;
        transaction.end().await?;
        Ok(removed)
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
        let mut transaction = SqliteTransaction::begin(&self.0).await?;
        let claimed = transaction.claim_expiring(claim).await?;
        transaction.end().await?;
        Ok(Some(claimed))
    }

    async fn release_expiring(&self, records: &[KeyRecord]) -> Result<(), sqlx::Error> {
        let mut transaction = SqliteTransaction::begin(&self.0).await?;
        for record in records {
            transaction.release_expiring(record).await?;
        }
        transaction.end().await
    }
}

impl JoinStore for SqliteStore {
    type Connection = SqliteConnection;

    async fn join<'c>(
        &'c self,
        connection: &'c mut SqliteConnection,
        _: ChangeScope<'_>,
    ) -> Result<SqliteTransaction<'c>, sqlx::Error> {
        SqliteTransaction::join(&self.0, connection).await
    }
}

// === impl SqliteStore ===

impl SqliteStore {
    fn disk_full(&self) -> sqlx::Error {
        SqliteFault::DiskFull(self.0.files.path().to_owned()).into()
    }

    /// Returns whether the reserve exists or can be created.
    async fn keeps_reserve(&self) -> Result<bool, sqlx::Error> {
        if self.0.reserve.exists() {
            return Ok(true);
        }
        // While no other change writes: a half-written file could take the space of a revocation.
        let _lock = SqliteTransaction::begin(&self.0).await?;
        Ok(self.0.reserve.keep().is_ok())
    }

    /// Returns whether this update may use the reserve: it revokes or disables the key, or takes
    /// all permissions away. Its event is small, and no caller can repeat it for the same key
    /// without an edit between, which needs other space.
    async fn takes_access_away(&self, changed: &KeyRecord) -> Result<bool, sqlx::Error> {
        let Some(stored) = self.read(changed.id()).await? else { return Ok(false) };
        let (before, after) = (stored.permissions(), changed.permissions());
        let is_small = || serde_json::to_vec(before).is_ok_and(|text| text.len() <= SMALL);
        let takes_all = !before.is_empty() && after.is_empty() && is_small();
        let ends = stored.status() != changed.status() && changed.status() != Status::Active;
        let has_same_texts = stored.name() == changed.name() && stored.metadata() == changed.metadata();
        Ok(has_same_texts && (takes_all || (ends && before == after)))
    }
}
