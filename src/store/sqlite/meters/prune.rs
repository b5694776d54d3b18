//! Removes rows that count nothing any more.

use super::{Meters, row};

/// Leases that were closed, written off or forgotten, an hour after their deadline.
const PRUNE_LEASES: &str = "delete from api_key_leases where id in (select id from api_key_leases
    where (state <> 0 or kind = 1) and until < ?1 order by until limit ?2)";

/// Of some rows after a place, those that equal no row: rates whose burst is full, and quotas of
/// two months ago.
const PRUNE_METERS: &str = "delete from api_key_meters
    where (kind = 0 and full_at < ?1 or kind = 1 and period < ?1 / 86400000000000 - 62) and meter in
        (select meter from api_key_meters where meter > ?2 order by meter limit ?3)";

const NEXT_METERS: &str = "select max(meter) from
    (select meter from api_key_meters where meter > ?1 order by meter limit ?2)";

const HOUR: i64 = 3_600_000_000_000;

impl Meters<'_> {
    pub(super) async fn prune_leases(&mut self, most: u32) -> Result<(), sqlx::Error> {
        let query = sqlx::query(self.tables.sql(PRUNE_LEASES)).bind(row::number(self.now) - HOUR).bind(most);
        query.execute(&mut *self.connection).await.map(drop)
    }

    /// Removes what counts nothing any more among so many rows after a meter. Returns the last of
    /// them.
    pub(super) async fn prune_meters(&mut self, after: &str, most: u32) -> Result<String, sqlx::Error> {
        let next = sqlx::query_scalar::<_, Option<String>>(self.tables.sql(NEXT_METERS)).bind(after).bind(most);
        let next = next.fetch_one(&mut *self.connection).await?;
        let query = sqlx::query(self.tables.sql(PRUNE_METERS)).bind(row::number(self.now)).bind(after).bind(most);
        query.execute(&mut *self.connection).await?;
        // After the last one, it begins again.
        Ok(next.unwrap_or_default())
    }
}
