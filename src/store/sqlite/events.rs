//! The events of a file. One transaction writes at a time, so their sequence is their order.

use std::time::SystemTime;

use sqlx::{QueryBuilder, Sqlite, SqliteConnection};

use super::{SqliteStore, transaction::SqliteTransaction};
use crate::{
    event::{EventCursor, EventFilter, KeyEvent, KeyEventKind},
    record::KeyId,
    store::{
        event_row,
        event_sql::{event_columns, page},
        row,
        tables::Tables,
    },
};

/// Deletes the event that the trigger has written for an inserted row.
const REPLACE: &str = "delete from api_key_events where seq =
    (select seq from api_key_events where key_id = ?1 order by seq desc limit 1) and version = ?2 and kind = 'issued'";

const INSERT: &str = "insert into api_key_events (at, kind, key_id, version, organization, environment, author, reason,
        request_id, address, replacement, before, after)
    values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)";

const SINCE: &str =
    concat!("select ", event_columns!("seq"), " from api_key_events where seq > ?1 order by seq limit ?2");

const NEWEST: &str = "select seq from api_key_events order by seq desc limit 1";

const PAGE: &str = concat!("select ", event_columns!("seq"));

const PRUNE: &str =
    "delete from api_key_events where seq in (select seq from api_key_events where at < ?1 order by at limit ?2)";

/// The condition of the index `api_keys_to_expire`.
const DUE: &str = "select id, version, organization, environment from api_keys
    where expires_at is not null and expiry_recorded is not expires_at and status <> 'revoked' and expires_at <= ?1
    order by expires_at limit ?2";

const ANNOUNCE: &str = "update api_keys set expiry_recorded = expires_at where id = ?1";

pub(super) async fn write(
    connection: &mut SqliteConnection,
    tables: &Tables,
    events: &[KeyEvent],
) -> Result<(), sqlx::Error> {
    for event in events {
        let version = row::number(event.version());
        if matches!(event.kind(), KeyEventKind::Issued | KeyEventKind::Imported) {
            let query = sqlx::query(tables.sql(REPLACE)).bind(event.key_id().as_str()).bind(version);
            query.execute(&mut *connection).await?;
        }
        let (before, after) = event_row::fields(event);
        let query = sqlx::query(tables.sql(INSERT))
            .bind(row::micros(event.at()))
            .bind(event.kind().as_str())
            .bind(event.key_id().as_str())
            .bind(version)
            .bind(event.organization())
            .bind(event.environment())
            .bind(event.author().to_string())
            .bind(event.reason())
            .bind(event.request_id())
            .bind(event.address().map(|address| address.to_string()))
            .bind(event.replacement().map(KeyId::as_str))
            .bind(before.to_string())
            .bind(after.to_string());
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

// === impl SqliteStore ===

impl SqliteStore {
    pub(super) async fn events_after(&self, cursor: EventCursor, limit: usize) -> Result<Vec<KeyEvent>, sqlx::Error> {
        let query = sqlx::query(self.0.tables.sql(SINCE)).bind(cursor.number()).bind(row::number(limit as u64));
        let rows = self.0.reading(query.fetch_all(&self.0.gets)).await?;
        rows.iter().map(event_row::event).collect()
    }

    pub(super) async fn last_event(&self) -> Result<EventCursor, sqlx::Error> {
        let query = sqlx::query_scalar(self.0.tables.sql(NEWEST));
        let newest = self.0.reading(query.fetch_optional(&self.0.gets)).await?;
        Ok(newest.map_or(EventCursor::START, EventCursor::new))
    }

    pub(super) async fn page_of_events(&self, filter: &EventFilter) -> Result<Vec<KeyEvent>, sqlx::Error> {
        let mut turn = self.0.turn(filter.organization.as_deref()).await?;
        let mut query: QueryBuilder<Sqlite> = page(PAGE, "user", filter);
        let rows = self.0.tables.build(&mut query)?.fetch_all(&mut *turn.connection);
        self.0.reading(rows).await?.iter().map(event_row::event).collect()
    }

    pub(super) async fn prune(&self, before: SystemTime, limit: usize) -> Result<usize, sqlx::Error> {
        let mut transaction = SqliteTransaction::begin(&self.0).await?;
        let query = sqlx::query(self.0.tables.sql(PRUNE)).bind(row::micros(before)).bind(row::number(limit as u64));
        let pruned = query.execute(transaction.connection()).await?.rows_affected();
        transaction.end().await?;
        Ok(usize::try_from(pruned).unwrap_or(limit))
    }

    pub(super) async fn announce_expiries(&self, now: SystemTime, limit: usize) -> Result<usize, sqlx::Error> {
        let due = || sqlx::query(self.0.tables.sql(DUE)).bind(row::micros(now)).bind(row::number(limit as u64));
        // Usually there is none, and no need to lock the file for writing.
        if self.0.reading(due().fetch_optional(&self.0.gets)).await?.is_none() {
            return Ok(0);
        }
        let mut transaction = SqliteTransaction::begin(&self.0).await?;
        let rows = due().fetch_all(transaction.connection()).await?;
        let events = rows.iter().map(|row| event_row::expiry(row, now)).collect::<Result<Vec<_>, _>>()?;
        for event in &events {
            let query = sqlx::query(self.0.tables.sql(ANNOUNCE)).bind(event.key_id().as_str());
            query.execute(transaction.connection()).await?;
        }
        write(transaction.connection(), &self.0.tables, &events).await?;
        transaction.end().await?;
        Ok(events.len())
    }
}
