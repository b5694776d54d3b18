//! What both databases keep of meters and leases.

use std::time::Duration;

use sqlx::{ColumnIndex, Decode, Row, Type};

use crate::{
    clock::nanos,
    limit::{Balance, MeterRule},
    store::row,
};

/// The largest number of units, of both databases.
const MOST: u64 = 1 << 62;

/// The kind of a limit, as the tables have it. Leases of credits differ by their refill.
pub(super) mod kind {
    pub(in crate::store) const RATE: i16 = 0;
    pub(in crate::store) const QUOTA: i16 = 1;
    pub(in crate::store) const CREDITS: i16 = 2;
    /// Credits whose refill replaces what is left.
    pub(in crate::store) const REPLACED: i16 = 3;
}

/// Returns the kind of a lease, or of a rate, with this rule.
pub(super) fn kind_of(rule: MeterRule) -> i16 {
    match rule {
        MeterRule::Rate { .. } => kind::RATE,
        MeterRule::Quota { .. } => kind::QUOTA,
        MeterRule::Credits(Some(refill)) if refill.is_replacing() => kind::REPLACED,
        MeterRule::Credits(_) => kind::CREDITS,
    }
}

/// Returns whether a store only reads what is left: without a lease, a quota and credits grant
/// nothing.
#[cfg(feature = "sqlite")]
pub(super) fn is_look(ask: &crate::limit::Ask) -> bool {
    match ask.rule {
        MeterRule::Rate { .. } => ask.waiting == 0 && ask.more == 0,
        _ => ask.lease.is_none() && ask.replaces.is_none(),
    }
}

/// Returns the ask with numbers that a column can hold.
#[cfg(feature = "sqlite")]
pub(super) fn bounded(ask: &crate::limit::Ask) -> crate::limit::Ask {
    let rule = match ask.rule {
        MeterRule::Quota { most, period } => MeterRule::Quota { most: most.min(MOST), period },
        rule => rule,
    };
    let [least, waiting, more, carried] = [ask.least, ask.waiting, ask.more, ask.carried].map(|units| units.min(MOST));
    crate::limit::Ask { carried, rule, least, waiting, more, ..ask.clone() }
}

/// Returns a number of units for a column.
pub(super) fn units(count: u64) -> i64 {
    row::number(count.min(MOST))
}

/// Returns a time from now for a column.
pub(super) fn duration(time: Duration) -> i64 {
    units(nanos(time))
}

/// Returns a time that a database has computed, in nanoseconds.
#[cfg(feature = "postgres-no-tls")]
pub(super) fn nanoseconds(time: i64) -> Duration {
    Duration::from_nanos(row::count(time))
}

/// Returns the numbers of the balance in these columns.
pub(super) fn balance<R: Row>(row: &R) -> Result<Balance, sqlx::Error>
where
    for<'n> &'n str: ColumnIndex<R>,
    for<'r> i64: Decode<'r, R::Database> + Type<R::Database>,
{
    let number = |name: &str| Ok::<_, sqlx::Error>(row::count(row.try_get(name)?));
    Ok(Balance {
        available: number("available")?,
        leased: number("leased")?,
        spent: number("spent")?,
        lost: number("lost")?,
        expired: number("expired")?,
        topped_up: number("topped_up")?,
    })
}

/// Returns the length of a period for the function of PostgreSQL, and the day on which it begins.
#[cfg(feature = "postgres-no-tls")]
pub(super) fn span(period: crate::limit::Period) -> (i16, i16) {
    match period {
        crate::limit::Period::Day => (1, 0),
        crate::limit::Period::Week(first) => (2, first.into()),
        crate::limit::Period::Month(first) => (3, first.into()),
    }
}
