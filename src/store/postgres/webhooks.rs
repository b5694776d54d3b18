//! The queue of webhooks in a database that many nodes share.

use std::time::{Duration, SystemTime};

use sqlx::Row;

use super::{PostgresStore, pool::Purpose};
use crate::{
    store::{RegistryTransaction, event_sql::event_columns, row, webhook_sql::delivery},
    webhook::{WebhookDelivery, WebhookOutcome, WebhookStore},
};

/// A new endpoint receives the events after the newest one.
const REGISTER: &str = "insert into api_key_webhooks (endpoint, position)
    values ($1, (select coalesce(max(position), 0) from api_key_events)) on conflict do nothing";

/// Locks the endpoint, so that two nodes do not queue the same events.
const LOCK: &str = "select position from api_key_webhooks where endpoint = $1 and is_enabled for update";

/// A delivery that exists was queued for the same event, and stays as it is.
const QUEUE: &str = "with new as materialized (
        select seq, position from api_key_events where position > $2 order by position limit $4
    ),
    queued as (
        insert into api_key_webhook_deliveries (endpoint, event, next_at, queued_at)
        select $1, seq, $3, $3 from new on conflict do nothing
    )
    update api_key_webhooks set position = newest.position
    from (select max(position) as position, count(*) as count from new) as newest
    where endpoint = $1 and newest.count > 0
    returning newest.count";

const CLAIM: &str = concat!(
    "with due as (
        select event from api_key_webhook_deliveries where endpoint = $1 and next_at <= $2
            and (select is_enabled from api_key_webhooks as webhooks where webhooks.endpoint = $1)
        order by next_at, event limit $4 for update skip locked
    ),
    claimed as (
        update api_key_webhook_deliveries as deliveries set attempts = attempts + 1, next_at = $3
        from due where deliveries.endpoint = $1 and deliveries.event = due.event
        returning deliveries.event, attempts, queued_at
    )
    select event, attempts::bigint as attempts, queued_at, ",
    event_columns!("position"),
    " from claimed join api_key_events on seq = event order by event"
);

const DELETE: &str = "delete from api_key_webhook_deliveries where endpoint = $1 and event = $2";

/// Only the node whose attempt it was: after its lease, another one may have claimed the delivery.
const RETRY: &str = "update api_key_webhook_deliveries set next_at = $3
    where endpoint = $1 and event = $2 and attempts = $4";

const DISABLE: &str = "update api_key_webhooks set is_enabled = false where endpoint = $1";

const DEAD: &str = concat!(
    "select event, attempts::bigint as attempts, queued_at, ",
    event_columns!("position"),
    " from api_key_webhook_deliveries join api_key_events on seq = event
    where endpoint = $1 and next_at is null order by event limit $2"
);

const REVIVE: &str = "update api_key_webhook_deliveries set next_at = $2, queued_at = $2, attempts = 0
    where endpoint = $1 and next_at is null";

const ENABLE: &str = "update api_key_webhooks set is_enabled = true where endpoint = $1";

const IS_ENABLED: &str = "select coalesce((select is_enabled from api_key_webhooks where endpoint = $1), true)";

impl WebhookStore for PostgresStore {
    type Error = sqlx::Error;

    async fn queue_webhooks(&self, endpoint: &str, now: SystemTime, limit: u32) -> Result<u32, sqlx::Error> {
        // Gives positions to all committed events.
        self.last_event().await?;
        let work = async {
            let tables = &self.pool.tables;
            let mut transaction = self.pool.begin(Purpose::Add, &[]).await?;
            let lock = || tables.query_scalar::<i64>(LOCK).bind(endpoint);
            let mut position = lock().fetch_optional(transaction.connection()).await?;
            if position.is_none() {
                tables.query(REGISTER).bind(endpoint).execute(transaction.connection()).await?;
                position = lock().fetch_optional(transaction.connection()).await?;
            }
            let mut queued = None;
            if let Some(position) = position {
                let query = tables.query(QUEUE).bind(endpoint).bind(position).bind(row::micros(now));
                queued = query.bind(i64::from(limit)).fetch_optional(transaction.connection()).await?;
            }
            let count = queued.map_or(Ok(0), |row| row.try_get::<i64, _>(0))?;
            transaction.commit().await?;
            Ok(u32::try_from(count).unwrap_or(limit))
        };
        self.pool.within(work).await
    }

    async fn claim_webhooks(
        &self,
        endpoint: &str,
        now: SystemTime,
        lease: Duration,
        limit: u32,
    ) -> Result<Vec<WebhookDelivery>, sqlx::Error> {
        let work = async {
            let mut transaction = self.pool.begin(Purpose::Add, &[]).await?;
            let query = self.pool.tables.query(CLAIM).bind(endpoint).bind(row::micros(now));
            let query = query.bind(row::micros(now + lease)).bind(i64::from(limit));
            let rows = query.fetch_all(transaction.connection()).await?;
            let claimed = rows.iter().map(|row| delivery(endpoint, row)).collect::<Result<Vec<_>, _>>()?;
            transaction.commit().await?;
            Ok(claimed)
        };
        self.pool.within(work).await
    }

    async fn finish_webhook(&self, delivery: &WebhookDelivery, outcome: WebhookOutcome) -> Result<(), sqlx::Error> {
        let work = async {
            let tables = &self.pool.tables;
            let mut transaction = self.pool.begin(Purpose::Add, &[]).await?;
            if outcome == WebhookOutcome::Gone {
                // In the order of the locks of `queue_webhooks`.
                tables.query(DISABLE).bind(&delivery.endpoint).execute(transaction.connection()).await?;
            }
            if outcome == WebhookOutcome::Delivered {
                let query = tables.query(DELETE).bind(&delivery.endpoint).bind(delivery.event_number);
                query.execute(transaction.connection()).await?;
            } else {
                let next_at = if let WebhookOutcome::Retry(at) = outcome { Some(row::micros(at)) } else { None };
                let query = tables.query(RETRY).bind(&delivery.endpoint).bind(delivery.event_number);
                let query = query.bind(next_at).bind(i64::from(delivery.attempts));
                query.execute(transaction.connection()).await?;
            }
            transaction.commit().await
        };
        self.pool.within(work).await
    }

    async fn dead_webhooks(&self, endpoint: &str, limit: u32) -> Result<Vec<WebhookDelivery>, sqlx::Error> {
        let work = async {
            let mut transaction = self.pool.begin(Purpose::List, &[]).await?;
            let query = self.pool.tables.query(DEAD).bind(endpoint).bind(i64::from(limit));
            let rows = query.fetch_all(transaction.connection()).await?;
            transaction.commit().await?;
            rows.iter().map(|row| delivery(endpoint, row)).collect()
        };
        self.pool.within(work).await
    }

    async fn revive_webhooks(&self, endpoint: &str, now: SystemTime) -> Result<u32, sqlx::Error> {
        let work = async {
            let tables = &self.pool.tables;
            let mut transaction = self.pool.begin(Purpose::Add, &[]).await?;
            tables.query(ENABLE).bind(endpoint).execute(transaction.connection()).await?;
            let query = tables.query(REVIVE).bind(endpoint).bind(row::micros(now));
            let revived = query.execute(transaction.connection()).await?.rows_affected();
            transaction.commit().await?;
            Ok(u32::try_from(revived).unwrap_or(u32::MAX))
        };
        self.pool.within(work).await
    }

    async fn is_webhook_enabled(&self, endpoint: &str) -> Result<bool, sqlx::Error> {
        let work = async {
            let mut transaction = self.pool.begin(Purpose::List, &[]).await?;
            let query = self.pool.tables.query_scalar(IS_ENABLED).bind(endpoint);
            let is_enabled = query.fetch_one(transaction.connection()).await?;
            transaction.commit().await?;
            Ok(is_enabled)
        };
        self.pool.within(work).await
    }
}
