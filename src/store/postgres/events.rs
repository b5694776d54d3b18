//! The events of a database, and their order.
//!
//! Transactions do not commit in the order of the sequence. So a row gets its position only after
//! its commit, from the next reader, and under a lock that only readers take: positions are
//! committed in their order, and no change waits for another one.

use std::time::SystemTime;

use sqlx::{PgConnection, Postgres, QueryBuilder};

use super::{
    PostgresStore, contains_nul,
    pool::{PooledConnection, Purpose},
    transaction::PostgresTransaction,
};
use crate::{
    event::{EventCursor, EventFilter, KeyEvent},
    record::KeyId,
    store::{
        RegistryTransaction, event_row,
        event_sql::{event_columns, page},
        row,
        tables::Tables,
    },
};

/// Inserts the events of an array, in its order, and replaces the event that the trigger has
/// written for an inserted row.
const INSERT: &str = "with events as (
        select number, event.* from jsonb_array_elements($1::jsonb) with ordinality as elements (element, number),
            jsonb_to_record(element) as event (at bigint, kind text, key_id text, version bigint, organization text,
                environment text, author text, reason text, request_id text, address text, replacement text,
                before jsonb, after jsonb)
    ),
    replaced as (
        delete from api_key_events as noted using events
        where events.kind in ('issued', 'imported') and noted.key_id = events.key_id and noted.version = events.version
            and noted.kind = 'issued' and noted.txid = pg_current_xact_id()
    )
    insert into api_key_events (at, kind, key_id, version, organization, environment, author, reason, request_id,
        address, replacement, before, after)
    select at, kind, key_id, version, organization, environment, author, reason, request_id, address, replacement,
        before, after
    from events order by number";

const IS_UNPLACED: &str = "select exists (select from api_key_events where position is null)";

/// Gives the next positions to rows without one. Only committed rows are seen.
const PLACE: &str = "with unplaced as materialized (
        select seq from api_key_events where position is null order by seq limit $1
    ),
    placed as materialized (select seq, nextval('api_key_events_position') as position from unplaced)
    update api_key_events set position = placed.position from placed where api_key_events.seq = placed.seq";

const SINCE: &str = concat!(
    "select ",
    event_columns!("position"),
    " from api_key_events where position > $1 order by position limit $2"
);

const NEWEST: &str = "select max(position) from api_key_events";

const PAGE: &str = concat!("select ", event_columns!("position"));

const PRUNE: &str = "delete from api_key_events where seq in
    (select seq from api_key_events where at < $1 order by at limit $2 for update skip locked)";

/// The condition of the index `api_keys_to_expire`. A row that another node has just announced does
/// not match any more after the wait for its lock.
const ANNOUNCE: &str = "with due as (
        select id from api_keys
        where expires_at is not null and expiry_recorded is distinct from expires_at and status <> 'revoked'
            and expires_at <= $1
        order by expires_at limit $2 for update skip locked
    )
    update api_keys set expiry_recorded = expires_at from due where api_keys.id = due.id
    returning api_keys.id, version, organization, environment";

/// The advisory lock of the readers that set positions.
const LOCK: i64 = 0x6b_65_79_65_76_65_6e_74;

/// How many rows get a position in one transaction.
const BATCH: i64 = 5_000;

pub(super) async fn write(
    connection: &mut PgConnection,
    tables: &Tables,
    events: &[KeyEvent],
) -> Result<(), sqlx::Error> {
    if events.is_empty() {
        return Ok(());
    }
    let events: Vec<_> = events.iter().map(event_row::object).collect();
    let events = serde_json::to_string(&events).map_err(|error| sqlx::Error::Encode(error.into()))?;
    tables.query(INSERT).bind(events).execute(connection).await.map(drop)
}

// === impl PostgresStore ===

impl PostgresStore {
    pub(super) async fn events_after(&self, cursor: EventCursor, limit: usize) -> Result<Vec<KeyEvent>, sqlx::Error> {
        let work = async {
            self.place().await?;
            let read = |mut connection: PooledConnection| async move {
                let query = self.pool.tables.query(SINCE).bind(cursor.number());
                let rows = query.bind(row::number(limit as u64)).fetch_all(&mut *connection).await;
                (connection, rows)
            };
            self.pool.read(Purpose::List, read).await
        };
        self.pool.within(work).await?.iter().map(event_row::event).collect()
    }

    pub(super) async fn last_event(&self) -> Result<EventCursor, sqlx::Error> {
        let work = async {
            while self.place().await? {}
            let read = |mut connection: PooledConnection| async move {
                let newest = self.pool.tables.query_scalar(NEWEST).fetch_one(&mut *connection).await;
                (connection, newest)
            };
            self.pool.read(Purpose::List, read).await
        };
        let newest: Option<i64> = self.pool.within(work).await?;
        Ok(newest.map_or(EventCursor::START, EventCursor::new))
    }

    /// Gives positions to committed events. Returns whether there may be more of them.
    async fn place(&self) -> Result<bool, sqlx::Error> {
        let read = |mut connection: PooledConnection| async move {
            let is_unplaced = self.pool.tables.query_scalar(IS_UNPLACED).fetch_one(&mut *connection).await;
            (connection, is_unplaced)
        };
        if !self.pool.read::<bool, _>(Purpose::List, read).await? {
            return Ok(false);
        }
        let mut transaction = self.pool.begin(Purpose::List, &[LOCK]).await?;
        let query = self.pool.tables.query(PLACE).bind(BATCH);
        let placed = query.execute(transaction.connection()).await?.rows_affected();
        transaction.commit().await?;
        Ok(placed >= BATCH.unsigned_abs())
    }

    pub(super) async fn page_of_events(&self, filter: &EventFilter) -> Result<Vec<KeyEvent>, sqlx::Error> {
        let key = filter.key.as_ref().map(KeyId::as_str);
        let user = filter.owner.as_ref().and_then(|owner| owner.user());
        let texts = [filter.organization.as_deref(), filter.environment.as_deref(), key, user, filter.after.as_deref()];
        if texts.into_iter().flatten().any(contains_nul) {
            return Ok(Vec::new());
        }
        let read = |mut connection: PooledConnection| async move {
            let mut query: QueryBuilder<Postgres> = page(PAGE, "user_id", filter);
            let rows = async { self.pool.tables.build(&mut query)?.fetch_all(&mut *connection).await }.await;
            (connection, rows)
        };
        self.pool.within(self.pool.read(Purpose::List, read)).await?.iter().map(event_row::event).collect()
    }

    pub(super) async fn prune(&self, before: SystemTime, limit: usize) -> Result<usize, sqlx::Error> {
        let work = async {
            let mut transaction = self.pool.begin(Purpose::Add, &[]).await?;
            let query = self.pool.tables.query(PRUNE).bind(row::micros(before));
            let query = query.bind(row::number(limit as u64));
            let pruned = query.execute(transaction.connection()).await?.rows_affected();
            transaction.commit().await?;
            Ok(usize::try_from(pruned).unwrap_or(limit))
        };
        self.pool.within(work).await
    }

    pub(super) async fn announce_expiries(&self, now: SystemTime, limit: usize) -> Result<usize, sqlx::Error> {
        let work = async {
            let mut transaction: PostgresTransaction<'_> = self.pool.begin(Purpose::Add, &[]).await?;
            let query = self.pool.tables.query(ANNOUNCE).bind(row::micros(now));
            let rows = query.bind(row::number(limit as u64)).fetch_all(transaction.connection()).await?;
            let events = rows.iter().map(|row| event_row::expiry(row, now)).collect::<Result<Vec<_>, _>>()?;
            transaction.record_events(&events).await?;
            transaction.commit().await?;
            Ok(events.len())
        };
        self.pool.within(work).await
    }
}
