//! Meters in a file. One transaction writes at a time.

mod prune;

use std::sync::PoisonError;

use sqlx::{Row, SqliteConnection, sqlite::SqliteRow};

use super::{SqliteStore, transaction::SqliteTransaction};
use crate::{
    clock::Clock,
    limit::{Ask, Balance, Grant, LeaseId, MeterId, MeterState, MeterStore, Return, TopUp, TopUpId},
    store::{
        meter_row::{self, kind},
        row,
        tables::Tables,
    },
};

const LOAD: &str = "select full_at, period, refilled, used, available, leased, spent, lost, expired, topped_up
    from api_key_meters where meter = ?1";

const SAVE: &str = "insert into api_key_meters (meter, kind, full_at, period, refilled, used, available, leased, spent,
        lost, expired, topped_up)
    values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
    on conflict (meter) do update set full_at = ?3, period = ?4, refilled = ?5, used = ?6, available = ?7, leased = ?8,
        spent = ?9, lost = ?10, expired = ?11, topped_up = ?12";

const UNCLOSED: &str = "select kind, period, granted, state from api_key_leases
    where id = ?1 and meter = ?2 and state <> 1";

const CLOSE: &str = "update api_key_leases set state = 1 where id = ?1";

const WRITE_OFF: &str = "update api_key_leases set state = 2
    where meter = ?1 and state = 0 and until <= ?2 returning granted";

const FIND: &str = "select granted, period, state = 0 as is_open from api_key_leases
    where id = ?1 and meter = ?2";

const LEASE: &str = "insert into api_key_leases (id, meter, kind, period, granted, until, state)
    values (?1, ?2, ?3, ?4, ?5, ?6, ?7)";

const FIRST_TOP_UP: &str = "select amount from api_key_top_ups where meter = ?1 and id = ?2";

const TOP_UP: &str = "insert into api_key_top_ups (meter, id, amount, made_at) values (?1, ?2, ?3, ?4)";

/// How many rows each call looks at that count nothing any more, and for each row that it adds.
const SWEPT: u32 = 4;

/// The meters in a transaction, or for reading alone.
struct Meters<'c> {
    connection: &'c mut SqliteConnection,
    tables: &'c Tables,
    /// The time in nanoseconds since 1970.
    now: u64,
}

/// The lease that a call has closed.
struct Closed {
    kind: i16,
    period: u32,
    granted: u64,
    /// Whether it was written off before.
    is_lost: bool,
}

impl Closed {
    /// Returns whether a refill has replaced the balance since the grant.
    fn is_over(&self, state: &MeterState) -> bool {
        self.kind == kind::REPLACED && self.period < state.refilled
    }
}

impl MeterStore for SqliteStore {
    type Error = sqlx::Error;

    async fn take(&self, asks: &[Ask]) -> Result<Vec<Grant>, sqlx::Error> {
        let mut grants = vec![Grant::new(0, 0); asks.len()];
        if asks.iter().all(meter_row::is_look) {
            let mut connection = self.0.reading(self.0.gets.acquire()).await?;
            let mut meters = Meters::new(&mut connection, &self.0.tables);
            for (grant, ask) in grants.iter_mut().zip(asks) {
                *grant = meters.take(ask).await?.0;
            }
            return Ok(grants);
        }
        let mut transaction = SqliteTransaction::begin(&self.0).await?;
        let mut meters = Meters::new(transaction.connection(), &self.0.tables);
        let (mut leases, mut swept) = (0, 0);
        for (grant, ask) in grants.iter_mut().zip(asks) {
            let is_new;
            (*grant, is_new) = meters.take(ask).await?;
            let ask_kind = meter_row::kind_of(ask.rule);
            leases += u32::from(ask_kind != kind::RATE);
            // Credits have no row that is removed.
            if ask_kind < kind::CREDITS {
                swept = swept.max(SWEPT) + SWEPT * u32::from(is_new);
            }
        }
        if leases > 0 {
            meters.prune_leases(leases.max(50) * 2).await?;
        }
        if swept > 0 {
            let after = self.0.swept_meters.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let next = meters.prune_meters(&after, swept).await?;
            *self.0.swept_meters.lock().unwrap_or_else(PoisonError::into_inner) = next;
        }
        transaction.end().await?;
        Ok(grants)
    }

    async fn give_back(&self, returns: &[Return]) -> Result<(), sqlx::Error> {
        let mut transaction = SqliteTransaction::begin(&self.0).await?;
        let mut meters = Meters::new(transaction.connection(), &self.0.tables);
        for done in returns {
            if let Some(lease) = meters.close(&done.lease, &done.meter, true).await? {
                let mut state = meters.load(&done.meter).await?.unwrap_or_default();
                let meter_kind = if lease.kind == kind::QUOTA {
                    state.give_back_quota(lease.period, done.left);
                    kind::QUOTA
                } else {
                    let granted = if lease.is_lost { state.find(lease.granted) } else { lease.granted };
                    state.close_credits(granted, done.left, lease.is_over(&state));
                    kind::CREDITS
                };
                meters.save(&done.meter, meter_kind, &state).await?;
            }
        }
        transaction.end().await
    }

    async fn balance(&self, meter: &MeterId) -> Result<Option<Balance>, sqlx::Error> {
        let mut connection = self.0.reading(self.0.gets.acquire()).await?;
        let state = Meters::new(&mut connection, &self.0.tables).load(meter).await?;
        Ok(state.map(|state| state.credits).filter(|credits| credits.topped_up > 0))
    }

    async fn top_up(&self, meter: &MeterId, amount: u64, once: &TopUpId) -> Result<TopUp, sqlx::Error> {
        let tables = &self.0.tables;
        let mut transaction = SqliteTransaction::begin(&self.0).await?;
        let first = sqlx::query_scalar::<_, i64>(tables.sql(FIRST_TOP_UP)).bind(meter.as_str()).bind(once.as_str());
        let first = first.fetch_optional(transaction.connection()).await?;
        let mut meters = Meters::new(transaction.connection(), tables);
        let mut state = meters.load(meter).await?.unwrap_or_default();
        if first.is_none() {
            if !state.top_up(amount) {
                return Err(sqlx::Error::Encode("the balance would be above 2^62".into()));
            }
            meters.save(meter, kind::CREDITS, &state).await?;
            let query = sqlx::query(tables.sql(TOP_UP)).bind(meter.as_str()).bind(once.as_str());
            let query = query.bind(row::number(amount)).bind(row::number(meters.now));
            query.execute(&mut *meters.connection).await?;
        }
        transaction.end().await?;
        Ok(TopUp { amount: first.map_or(amount, row::count), is_new: first.is_none(), balance: state.credits })
    }
}

impl<'c> Meters<'c> {
    fn new(connection: &'c mut SqliteConnection, tables: &'c Tables) -> Self {
        let now = row::count(row::micros(Clock::system().now())) * 1000;
        Self { connection, tables, now }
    }

    /// Grants units, and returns whether the meter has a new row.
    async fn take(&mut self, ask: &Ask) -> Result<(Grant, bool), sqlx::Error> {
        let ask = &meter_row::bounded(ask);
        let stored = self.load(&ask.meter).await?;
        let mut state = stored.unwrap_or_default();
        let kind = meter_row::kind_of(ask.rule);
        if meter_row::is_look(ask) || kind == kind::RATE {
            let grant = state.take(ask, self.now);
            if !meter_row::is_look(ask) && stored.unwrap_or_default() != state {
                self.save(&ask.meter, kind, &state).await?;
            }
            let is_new = grant.units > 0 && stored.is_none();
            return Ok((grant, is_new));
        }
        state.refill_by(ask.rule, self.now);
        let is_new = match &ask.lease {
            Some(lease) => self.granted(lease, &ask.meter).await?.is_none(),
            None => false,
        };
        let left = if is_new { ask.carried } else { 0 };
        let replaced = match &ask.replaces {
            Some(replaced) => self.close(replaced, &ask.meter, false).await?,
            None => None,
        };
        let (mut carried, mut expired) = (0, 0);
        if let Some(lease) = &replaced
            && lease.kind != kind::QUOTA
        {
            (carried, expired) = state.carry(lease.granted, left, lease.is_over(&state));
        }
        let lost = if kind == kind::QUOTA { 0 } else { self.write_off(&ask.meter, &mut state).await? };
        let known = match &ask.lease {
            Some(lease) => self.granted(lease, &ask.meter).await?,
            None => None,
        };
        let grant = match known {
            Some((units, period, is_open)) => {
                let mut look = ask.clone();
                look.lease = None;
                let grant = state.take(&look, self.now);
                // Units of an earlier period are over.
                let is_over = grant.ends.is_some_and(|ends| MeterState::day_after(self.now, ends) != period);
                let is_open = !is_over && is_open;
                if is_open {
                    expired = ask.carried.saturating_sub(units);
                }
                let units = if is_open { units.saturating_sub(ask.carried) } else { 0 };
                Grant { units, wait: grant.wait.filter(|_| units < ask.waiting), ..grant }
            }
            None => state.take(ask, self.now),
        };
        let is_asked = ask.waiting > 0 || ask.more > 0;
        let is_open = grant.units > 0 || ask.carried > 0 || !is_asked;
        let kept = ask.lease.filter(|_| known.is_none() && (is_open || !ask.is_first));
        if stored != Some(state) && (stored.is_some() || kept.is_some() && is_open) {
            self.save(&ask.meter, kind.min(kind::CREDITS), &state).await?;
        }
        if let Some(lease) = kept {
            // The state of a quota may be that of an earlier period, if nothing is granted.
            let period = grant.ends.map_or(state.refilled, |ends| MeterState::day_after(self.now, ends));
            if replaced.is_some_and(|replaced| replaced.kind == kind::QUOTA && replaced.period == period) {
                carried = left;
            }
            let until = row::number(self.now).saturating_add(meter_row::duration(ask.deadline));
            let query = sqlx::query(self.tables.sql(LEASE)).bind(&lease.as_bytes()[..]).bind(ask.meter.as_str());
            let query = query.bind(kind).bind(period).bind(row::number(grant.units + carried)).bind(until);
            let query = query.bind(i64::from(!is_open));
            query.execute(&mut *self.connection).await?;
        }
        let is_new = stored.is_none() && kept.is_some() && is_open;
        Ok((Grant { lost, expired, ..grant }, is_new))
    }

    async fn load(&mut self, meter: &MeterId) -> Result<Option<MeterState>, sqlx::Error> {
        let query = sqlx::query(self.tables.sql(LOAD)).bind(meter.as_str());
        query.fetch_optional(&mut *self.connection).await?.as_ref().map(state).transpose()
    }

    async fn save(&mut self, meter: &MeterId, kind: i16, state: &MeterState) -> Result<(), sqlx::Error> {
        let query = sqlx::query(self.tables.sql(SAVE)).bind(meter.as_str()).bind(kind);
        let query = query.bind(row::number(state.full_at)).bind(state.period);
        let query = query.bind(state.refilled).bind(row::number(state.used));
        let of = state.credits;
        let numbers = [of.available, of.leased, of.spent, of.lost, of.expired, of.topped_up];
        let query = numbers.into_iter().fold(query, |query, number| query.bind(row::number(number)));
        query.execute(&mut *self.connection).await.map(drop)
    }

    /// Closes a lease if it is open, or `even_lost` if it was written off.
    async fn close(
        &mut self,
        lease: &LeaseId,
        meter: &MeterId,
        even_lost: bool,
    ) -> Result<Option<Closed>, sqlx::Error> {
        let query = sqlx::query(self.tables.sql(UNCLOSED)).bind(&lease.as_bytes()[..]).bind(meter.as_str());
        let Some(row) = query.fetch_optional(&mut *self.connection).await? else { return Ok(None) };
        let is_lost = row.try_get::<i64, _>("state")? == 2;
        if is_lost && !even_lost {
            return Ok(None);
        }
        let query = sqlx::query(self.tables.sql(CLOSE)).bind(&lease.as_bytes()[..]);
        query.execute(&mut *self.connection).await?;
        let granted = row::count(row.try_get("granted")?);
        Ok(Some(Closed { kind: row.try_get("kind")?, period: row.try_get("period")?, granted, is_lost }))
    }

    /// Writes off the leases that are over, and returns their units.
    async fn write_off(&mut self, meter: &MeterId, state: &mut MeterState) -> Result<u64, sqlx::Error> {
        let query = sqlx::query_scalar::<_, i64>(self.tables.sql(WRITE_OFF)).bind(meter.as_str());
        let written_off = query.bind(row::number(self.now)).fetch_all(&mut *self.connection).await?;
        let lost = written_off.into_iter().map(row::count).sum();
        state.lose(lost);
        Ok(lost)
    }

    /// Returns the units of a lease that is known, its period, and whether it is open.
    async fn granted(&mut self, lease: &LeaseId, meter: &MeterId) -> Result<Option<(u64, u32, bool)>, sqlx::Error> {
        let query = sqlx::query(self.tables.sql(FIND)).bind(&lease.as_bytes()[..]).bind(meter.as_str());
        let Some(row) = query.fetch_optional(&mut *self.connection).await? else { return Ok(None) };
        Ok(Some((row::count(row.try_get("granted")?), row.try_get("period")?, row.try_get("is_open")?)))
    }
}

fn state(row: &SqliteRow) -> Result<MeterState, sqlx::Error> {
    Ok(MeterState {
        full_at: row::count(row.try_get("full_at")?),
        period: row.try_get("period")?,
        refilled: row.try_get("refilled")?,
        used: row::count(row.try_get("used")?),
        credits: meter_row::balance(row)?,
    })
}
