//! The store that all nodes take their units from.

use super::meter::{Ask, Balance, Grant, MeterId, Return, TopUp, TopUpId};
use crate::error::BoxError;

/// A store of meters, from which all nodes of a service take units before they admit requests.
/// `PostgresStore` and `SqliteStore` implement it.
///
/// Each call is one transaction. It reads the time from the clock of the database, after it has
/// locked its rows, and it locks rows in the order of their meters, so that no two calls wait for
/// each other. `testkit::check_meters` tests an implementation.
///
/// A rate keeps no lease: units that are not used are over after a time that the node knows. A
/// quota and credits keep each lease, since what is left of it comes back.
pub trait MeterStore: Send + Sync + 'static {
    /// The error of a store that failed.
    type Error: Into<BoxError>;

    /// Returns whether the store keeps quotas and credits, as most do. One that keeps rates alone
    /// returns `false`: then limits with such plans are not built.
    fn keeps_allowances(&self) -> bool {
        true
    }

    /// Grants units of several meters, and answers in the order of `asks`. No two of them have the
    /// same meter.
    ///
    /// For each ask, `available` is what the meter has now: what a rate admits at once, what is
    /// left of a quota in the period of now, or the balance. A refill of credits that is due comes
    /// first: for a meter that never had one, or if a period of the ask's refill has begun since
    /// the day of the last refill, with whatever numbers. So plans that share a balance, with
    /// different periods or without a refill, bring no second refill on one day, and none of a
    /// month in the month of the last refill. It comes once; but if the period of the last refill
    /// is over and the refill adds, once for each period that has begun since that one ended. An
    /// ask without a refill leaves this alone while the period of the last refill lasts; after
    /// that, the next refill counts as the first one. If the clock is set back by more than a
    /// period, the last refill counts as one of today.
    ///
    /// - If `available < least`, or if nothing is asked for, it grants nothing.
    /// - Otherwise it grants `min(available, waiting)`, and of the rest a sixteenth, but at most
    ///   `more`; a rate has a rest of at least one, if any is left.
    ///
    /// What is granted is taken from the meter at once. A quota and credits grant nothing to an ask
    /// without a lease. They keep the lease open with the units that were granted; with none, they
    /// keep it open only if it carries any, or if nothing was asked for. Otherwise they keep it as
    /// a closed one for an hour, unless [`Ask::is_first`]: a call that arrives after its repetition
    /// must take nothing. An ask whose lease is known already, because the answer to the first call
    /// was lost, takes nothing: it gets the same units again if the lease is open, and none if it
    /// is closed, or is of an earlier period.
    ///
    /// The lease that an ask replaces is closed, if it is open, and `carried` of it are left: they
    /// become units of the new lease. As in [`give_back`](Self::give_back), they are over if a
    /// refill has replaced the balance since, which [`Grant::expired`](super::Grant::expired) says,
    /// and may be more than the lease had. Without a new lease, none are left. All leases of
    /// credits that are still open after their deadline are written off: their units count as lost.
    ///
    /// # Errors
    ///
    /// The store failed, and has granted nothing, or the answer was lost.
    fn take(&self, asks: &[Ask]) -> impl Future<Output = Result<Vec<Grant>, Self::Error>> + Send;

    /// Closes leases, and puts back what is left of them. A lease that is closed already is left
    /// alone, so a repeated call changes nothing. One that was written off is not lost then.
    ///
    /// What is left of a lease of a quota comes back in its own period only. What is left of a
    /// lease of credits counts as expired if a refill has replaced the balance since the grant. If
    /// more is left than the lease had, the rest is taken from what was spent, or else from what
    /// was lost, but never more than that.
    ///
    /// # Errors
    ///
    /// The store failed: call again with the same leases.
    fn give_back(&self, returns: &[Return]) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Returns the credits of a meter, as of the last refill. `None` if it never had any.
    ///
    /// # Errors
    ///
    /// The store failed.
    fn balance(&self, meter: &MeterId) -> impl Future<Output = Result<Option<Balance>, Self::Error>> + Send;

    /// Adds credits, once for each meter and id: a repeated call adds nothing, whatever its amount.
    ///
    /// # Errors
    ///
    /// The store failed, or the balance would be above 2^62.
    fn top_up(
        &self,
        meter: &MeterId,
        amount: u64,
        once: &TopUpId,
    ) -> impl Future<Output = Result<TopUp, Self::Error>> + Send;
}
