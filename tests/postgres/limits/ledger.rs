//! The credits of one meter, as the database has them.

use sqlx::{Executor, Postgres, Row};

/// The numbers of the meter, and the units of its open leases, at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sums {
    pub(super) topped_up: i64,
    pub(super) available: i64,
    pub(super) leased: i64,
    pub(super) spent: i64,
    pub(super) lost: i64,
    pub(super) expired: i64,
    /// The open leases.
    pub(super) open: i64,
    /// The top-ups, each id once.
    pub(super) paid: i64,
}

const SUMS: &str = "select topped_up, available, leased, spent, lost, expired,
        (select coalesce(sum(granted), 0)::bigint from api_key_leases as leases
            where leases.meter = meters.meter and state = 0) as open,
        (select coalesce(sum(amount), 0)::bigint from api_key_top_ups as top_ups
            where top_ups.meter = meters.meter) as paid
    from api_key_meters as meters where meter = $1";

impl Sums {
    /// `None` before the first top-up.
    pub(super) async fn of(key: &str, database: impl Executor<'_, Database = Postgres>) -> sqlx::Result<Option<Self>> {
        let row = sqlx::query(SUMS).bind(meter(key)).fetch_optional(database).await?;
        Ok(row.map(|row| Self {
            topped_up: row.get("topped_up"),
            available: row.get("available"),
            leased: row.get("leased"),
            spent: row.get("spent"),
            lost: row.get("lost"),
            expired: row.get("expired"),
            open: row.get("open"),
            paid: row.get("paid"),
        }))
    }

    pub(super) fn is_right(&self) -> bool {
        let parts = [self.available, self.leased, self.spent, self.lost, self.expired];
        self.topped_up == parts.iter().sum::<i64>()
            && self.topped_up == self.paid
            && self.leased == self.open
            && parts.iter().all(|part| *part >= 0)
    }
}

/// The name of the meter of a key's credits.
pub(super) fn meter(key: &str) -> String {
    format!("credits calls key {key}")
}
