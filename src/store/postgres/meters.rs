//! Meters in a database that many nodes share: each call is one statement, and so one round trip
//! and one transaction.

use std::{
    borrow::Cow,
    sync::atomic::{AtomicBool, Ordering},
};

use sha2::{Digest, Sha256};
use sqlx::{Row, postgres::PgRow};

use super::{
    PostgresStore,
    pool::{PooledConnection, Purpose},
};
use crate::{
    limit::{Ask, Balance, Grant, MeterId, MeterRule, MeterStore, Return, TopUp, TopUpId},
    store::{meter_row, row},
};

const TAKE: &str = "select grant_units, grant_left, grant_wait, grant_ends, grant_lost, grant_expired
    from api_key_meters_take($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) order by place";

const GIVE_BACK: &str = "select from api_key_meters_give_back($1, $2, $3)";

const BALANCE: &str = "select available, leased, spent, lost, expired, topped_up
    from api_key_meters where meter = $1 and topped_up > 0";

const TOP_UP: &str = "select amount, is_new, available, leased, spent, lost, expired, topped_up
    from api_key_meters_top_up($1, $2, $3)";

/// The code of a failed serialization.
const CONFLICT: &str = "40001";

/// The longest increment and burst of a rate: 73 years, so that no sum with a time overflows.
const LONGEST: u64 = 1 << 61;

/// The longest text of a meter in a row. An index of PostgreSQL refuses texts above 2,704 bytes.
const LONGEST_NAME: usize = 1024;

/// The asks by column.
#[derive(Default)]
struct Columns<'a> {
    leases: Vec<Option<&'a [u8]>>,
    replaced: Vec<Option<&'a [u8]>>,
    meters: Vec<Cow<'a, str>>,
    kinds: Vec<i16>,
    sizes: Vec<i64>,
    tolerances: Vec<i64>,
    spans: Vec<i16>,
    firsts: Vec<i16>,
    leasts: Vec<i64>,
    waitings: Vec<i64>,
    mores: Vec<i64>,
    deadlines: Vec<i64>,
    carries: Vec<i64>,
    are_first: Vec<bool>,
}

/// As for a lookup, requests wait for it. A call that is sent again, because the server has closed
/// the connection, is safe: leases and top-ups have ids, and a rate then admits fewer.
impl MeterStore for PostgresStore {
    type Error = sqlx::Error;

    async fn take(&self, asks: &[Ask]) -> Result<Vec<Grant>, sqlx::Error> {
        if asks.is_empty() {
            return Ok(Vec::new());
        }
        let columns = &Columns::of(asks);
        let (repeated, is_repeated) = (&vec![false; asks.len()], AtomicBool::new(false));
        let take = |mut connection: PooledConnection| {
            // A call whose connection broke may still be under way.
            let is_first = !is_repeated.swap(true, Ordering::Relaxed);
            let are_first = if is_first { &columns.are_first } else { repeated };
            async move {
                let query = connection.tables().query(TAKE).bind(&columns.leases).bind(&columns.replaced);
                let query = query.bind(&columns.meters).bind(&columns.kinds).bind(&columns.sizes);
                let query = query.bind(&columns.tolerances).bind(&columns.spans).bind(&columns.firsts);
                let query = query.bind(&columns.leasts).bind(&columns.waitings).bind(&columns.mores);
                let query = query.bind(&columns.deadlines).bind(&columns.carries).bind(are_first);
                let rows = query.fetch_all(&mut *connection).await;
                (connection, rows)
            }
        };
        let take_all = async {
            loop {
                match self.pool.read(Purpose::LookUp, &take).await {
                    // Another call has made the row of a meter or a lease. Now it is there.
                    Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some(CONFLICT) => {}
                    taken => return taken,
                }
            }
        };
        let rows = self.pool.within(take_all).await?;
        rows.iter().map(grant).collect()
    }

    async fn give_back(&self, returns: &[Return]) -> Result<(), sqlx::Error> {
        if returns.is_empty() {
            return Ok(());
        }
        let leases = &returns.iter().map(|done| &done.lease.as_bytes()[..]).collect::<Vec<_>>();
        let meters = &returns.iter().map(|done| name(&done.meter)).collect::<Vec<_>>();
        let lefts = &returns.iter().map(|done| meter_row::units(done.left)).collect::<Vec<_>>();
        let give_back = |mut connection: PooledConnection| async move {
            let query = connection.tables().query(GIVE_BACK).bind(leases).bind(meters).bind(lefts);
            let done = query.execute(&mut *connection).await;
            (connection, done)
        };
        self.pool.within(self.pool.read(Purpose::LookUp, give_back)).await.map(drop)
    }

    async fn balance(&self, meter: &MeterId) -> Result<Option<Balance>, sqlx::Error> {
        let meter = &name(meter);
        let read = |mut connection: PooledConnection| async move {
            let query = connection.tables().query(BALANCE).bind(meter);
            let row = query.fetch_optional(&mut *connection).await;
            (connection, row)
        };
        let row = self.pool.within(self.pool.read(Purpose::Change, read)).await?;
        row.as_ref().map(meter_row::balance).transpose()
    }

    async fn top_up(&self, meter: &MeterId, amount: u64, once: &TopUpId) -> Result<TopUp, sqlx::Error> {
        let meter = &name(meter);
        // The function refuses what is above 2^62.
        let amount = row::number(amount.min((1 << 62) + 1));
        let top_up = |mut connection: PooledConnection| async move {
            let query = connection.tables().query(TOP_UP).bind(meter).bind(once.as_str()).bind(amount);
            let row = query.fetch_one(&mut *connection).await;
            (connection, row)
        };
        let row = self.pool.within(self.pool.read(Purpose::Change, top_up)).await?;
        let balance = meter_row::balance(&row)?;
        Ok(TopUp { amount: row::count(row.try_get("amount")?), is_new: row.try_get("is_new")?, balance })
    }
}

impl<'a> Columns<'a> {
    fn of(asks: &'a [Ask]) -> Self {
        let mut columns = Self::default();
        for ask in asks {
            columns.push(ask);
        }
        columns
    }

    fn push(&mut self, ask: &'a Ask) {
        let (size, tolerance, period) = match ask.rule {
            MeterRule::Rate { increment, tolerance } => (increment.clamp(1, LONGEST), tolerance.min(LONGEST), None),
            MeterRule::Quota { most, period } => (most, 0, Some(period)),
            MeterRule::Credits(refill) => {
                (refill.map_or(0, crate::limit::Refill::amount), 0, refill.map(crate::limit::Refill::period))
            }
        };
        let (span, first) = period.map(meter_row::span).unwrap_or_default();
        self.leases.push(ask.lease.as_ref().map(|lease| &lease.as_bytes()[..]));
        self.replaced.push(ask.replaces.as_ref().map(|lease| &lease.as_bytes()[..]));
        self.meters.push(name(&ask.meter));
        self.kinds.push(meter_row::kind_of(ask.rule));
        self.sizes.push(meter_row::units(size));
        self.tolerances.push(meter_row::units(tolerance));
        self.spans.push(span);
        self.firsts.push(first);
        self.leasts.push(meter_row::units(ask.least));
        self.waitings.push(meter_row::units(ask.waiting));
        self.mores.push(meter_row::units(ask.more));
        self.deadlines.push(meter_row::duration(ask.deadline));
        self.carries.push(meter_row::units(ask.carried));
        self.are_first.push(ask.is_first);
    }
}

/// Returns the text of a meter in its row. A long one, or one with NUL, is cut, and has its digest.
fn name(meter: &MeterId) -> Cow<'_, str> {
    let text = meter.as_str();
    if text.len() <= LONGEST_NAME && !super::contains_nul(text) {
        return text.into();
    }
    let digest = Sha256::digest(text);
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let begin: String = text.chars().filter(|c| *c != '\0').take(200).collect();
    format!("{begin} sha256 {digest}").into()
}

fn grant(row: &PgRow) -> Result<Grant, sqlx::Error> {
    let time = |name: &str| Ok::<_, sqlx::Error>(row.try_get::<Option<i64>, _>(name)?.map(meter_row::nanoseconds));
    let number = |name: &str| Ok::<_, sqlx::Error>(row::count(row.try_get(name)?));
    Ok(Grant {
        wait: time("grant_wait")?,
        ends: time("grant_ends")?,
        lost: number("grant_lost")?,
        expired: number("grant_expired")?,
        ..Grant::new(number("grant_units")?, number("grant_left")?)
    })
}
