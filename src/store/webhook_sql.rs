//! Deliveries as rows: the same columns in every database.

use sqlx::{ColumnIndex, Decode, Row, Type};

use super::{event_row, row};
use crate::webhook::WebhookDelivery;

/// Reads a delivery with the columns of its event.
pub(super) fn delivery<R: Row>(endpoint: &str, row: &R) -> Result<WebhookDelivery, sqlx::Error>
where
    for<'c> &'c str: ColumnIndex<R>,
    for<'r> String: Decode<'r, R::Database> + Type<R::Database>,
    for<'r> i64: Decode<'r, R::Database> + Type<R::Database>,
{
    let attempts = u32::try_from(row.try_get::<i64, _>("attempts")?).unwrap_or(u32::MAX);
    let queued_at = row::instant(row.try_get("queued_at")?)?;
    let delivery = WebhookDelivery::new(endpoint, row.try_get("event")?, event_row::event(row)?, queued_at);
    Ok(delivery.with_attempts(attempts))
}
