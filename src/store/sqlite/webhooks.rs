//! The queue of webhooks in a file. One transaction writes at a time.

use std::time::{Duration, SystemTime};

use super::{SqliteStore, transaction::SqliteTransaction};
use crate::{
    store::{event_sql::event_columns, row, webhook_sql::delivery},
    webhook::{WebhookDelivery, WebhookOutcome, WebhookStore},
};

/// A new endpoint receives the events after the newest one.
const REGISTER: &str = "insert into api_key_webhooks (endpoint, position)
    values (?1, (select coalesce(max(seq), 0) from api_key_events)) on conflict do nothing";

const QUEUE: &str = "insert into api_key_webhook_deliveries (endpoint, event, next_at, queued_at)
    select endpoint, seq, ?2, ?2 from api_key_webhooks join api_key_events on seq > position
    where endpoint = ?1 and is_enabled order by seq limit ?3";

const ADVANCE: &str = "update api_key_webhooks set position =
    coalesce((select max(event) from api_key_webhook_deliveries where endpoint = ?1 and event > position), position)
    where endpoint = ?1";

const DUE: &str = "select exists (select 1 from api_key_webhook_deliveries where endpoint = ?1 and next_at <= ?2)";

const CLAIM: &str = concat!(
    "select event, attempts, queued_at, ",
    event_columns!("seq"),
    " from api_key_webhook_deliveries join api_key_events on seq = event
    where endpoint = ?1 and next_at <= ?2
        and (select is_enabled from api_key_webhooks where api_key_webhooks.endpoint = ?1)
    order by next_at, event limit ?3"
);

const LEASE: &str = "update api_key_webhook_deliveries set attempts = attempts + 1, next_at = ?3
    where endpoint = ?1 and event = ?2";

const DELETE: &str = "delete from api_key_webhook_deliveries where endpoint = ?1 and event = ?2";

/// Only the node whose attempt it was: after its lease, another one may have claimed the delivery.
const RETRY: &str = "update api_key_webhook_deliveries set next_at = ?3
    where endpoint = ?1 and event = ?2 and attempts = ?4";

const DISABLE: &str = "update api_key_webhooks set is_enabled = 0 where endpoint = ?1";

const DEAD: &str = concat!(
    "select event, attempts, queued_at, ",
    event_columns!("seq"),
    " from api_key_webhook_deliveries join api_key_events on seq = event
    where endpoint = ?1 and next_at is null order by event limit ?2"
);

const REVIVE: &str = "update api_key_webhook_deliveries set next_at = ?2, queued_at = ?2, attempts = 0
    where endpoint = ?1 and next_at is null";

const ENABLE: &str = "update api_key_webhooks set is_enabled = 1 where endpoint = ?1";

const IS_ENABLED: &str = "select coalesce((select is_enabled from api_key_webhooks where endpoint = ?1), 1)";

impl WebhookStore for SqliteStore {
    type Error = sqlx::Error;

    async fn queue_webhooks(&self, endpoint: &str, now: SystemTime, limit: u32) -> Result<u32, sqlx::Error> {
        let tables = &self.0.tables;
        let mut transaction = SqliteTransaction::begin(&self.0).await?;
        sqlx::query(tables.sql(REGISTER)).bind(endpoint).execute(transaction.connection()).await?;
        let query = sqlx::query(tables.sql(QUEUE)).bind(endpoint).bind(row::micros(now)).bind(limit);
        let queued = query.execute(transaction.connection()).await?.rows_affected();
        sqlx::query(tables.sql(ADVANCE)).bind(endpoint).execute(transaction.connection()).await?;
        transaction.end().await?;
        Ok(u32::try_from(queued).unwrap_or(limit))
    }

    async fn claim_webhooks(
        &self,
        endpoint: &str,
        now: SystemTime,
        lease: Duration,
        limit: u32,
    ) -> Result<Vec<WebhookDelivery>, sqlx::Error> {
        let tables = &self.0.tables;
        // Usually there is none, and no need to lock the file for writing.
        let due = sqlx::query_scalar(tables.sql(DUE)).bind(endpoint).bind(row::micros(now));
        if !self.0.reading(due.fetch_one(&self.0.gets)).await? {
            return Ok(Vec::new());
        }
        let mut transaction = SqliteTransaction::begin(&self.0).await?;
        let query = sqlx::query(tables.sql(CLAIM)).bind(endpoint).bind(row::micros(now)).bind(limit);
        let rows = query.fetch_all(transaction.connection()).await?;
        let mut claimed = Vec::with_capacity(rows.len());
        for row in &rows {
            let found = delivery(endpoint, row)?;
            let query = sqlx::query(tables.sql(LEASE)).bind(endpoint).bind(found.event_number);
            query.bind(row::micros(now + lease)).execute(transaction.connection()).await?;
            let attempts = found.attempts + 1;
            claimed.push(found.with_attempts(attempts));
        }
        transaction.end().await?;
        Ok(claimed)
    }

    async fn finish_webhook(&self, delivery: &WebhookDelivery, outcome: WebhookOutcome) -> Result<(), sqlx::Error> {
        let tables = &self.0.tables;
        let mut transaction = SqliteTransaction::begin(&self.0).await?;
        if outcome == WebhookOutcome::Delivered {
            let query = sqlx::query(tables.sql(DELETE)).bind(&delivery.endpoint).bind(delivery.event_number);
            query.execute(transaction.connection()).await?;
        } else {
            let next_at = if let WebhookOutcome::Retry(at) = outcome { Some(row::micros(at)) } else { None };
            let query = sqlx::query(tables.sql(RETRY)).bind(&delivery.endpoint).bind(delivery.event_number);
            query.bind(next_at).bind(delivery.attempts).execute(transaction.connection()).await?;
        }
        if outcome == WebhookOutcome::Gone {
            sqlx::query(tables.sql(DISABLE)).bind(&delivery.endpoint).execute(transaction.connection()).await?;
        }
        transaction.end().await
    }

    async fn dead_webhooks(&self, endpoint: &str, limit: u32) -> Result<Vec<WebhookDelivery>, sqlx::Error> {
        let query = sqlx::query(self.0.tables.sql(DEAD)).bind(endpoint).bind(limit);
        let rows = self.0.reading(query.fetch_all(&self.0.gets)).await?;
        rows.iter().map(|row| delivery(endpoint, row)).collect()
    }

    async fn revive_webhooks(&self, endpoint: &str, now: SystemTime) -> Result<u32, sqlx::Error> {
        let tables = &self.0.tables;
        let mut transaction = SqliteTransaction::begin(&self.0).await?;
        let query = sqlx::query(tables.sql(REVIVE)).bind(endpoint).bind(row::micros(now));
        let revived = query.execute(transaction.connection()).await?.rows_affected();
        sqlx::query(tables.sql(ENABLE)).bind(endpoint).execute(transaction.connection()).await?;
        transaction.end().await?;
        Ok(u32::try_from(revived).unwrap_or(u32::MAX))
    }

    async fn is_webhook_enabled(&self, endpoint: &str) -> Result<bool, sqlx::Error> {
        let query = sqlx::query_scalar(self.0.tables.sql(IS_ENABLED)).bind(endpoint);
        self.0.reading(query.fetch_one(&self.0.gets)).await
    }
}
