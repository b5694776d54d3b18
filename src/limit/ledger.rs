//! What the store of meters knows of a record: what is left on all nodes, and its credits.

use std::{sync::Arc, time::Duration};

use thiserror::Error;
use tokio::time::timeout;

use super::{
    leased::Leased,
    limits::Limits,
    meter::{Ask, Balance, MeterId, TopUp, TopUpId},
    metered::Metered,
    refiller::Refiller,
    remaining::Remaining,
};
use crate::{error::BoxError, record::KeyRecord};

/// Why credits could not be read or added, or a call of the store of meters failed.
/// [`Limits::top_up`] has an example.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum MeterError {
    /// The plan of the record has no credits with this name, or the plan is unknown.
    #[error("the plan of the key has no credits with this name")]
    NoCredits,
    /// A top-up with this id has added another amount before.
    #[error("a top-up with this id has added {0} credits before: use another id")]
    OtherAmount(u64),
    /// The amount is 0, or above 2^53.
    #[error("a top-up adds 1 to 9,007,199,254,740,992 credits")]
    Amount,
    /// The store of meters failed. Try again with the same id.
    #[error("the store of meters failed")]
    Store(#[source] BoxError),
}

/// How long a call may take.
const TIMEOUT: Duration = Duration::from_secs(5);

impl Limits {
    /// Returns what is left of the limits of a record, apart from what other nodes hold. It asks
    /// the store of meters, if there is one, and charges nothing; without one it returns the same
    /// as [`remaining`](Self::remaining): `None` for an unknown plan.
    ///
    /// ```
    /// use tower_api_key::{KeyRecord, limit::{Limits, MeterError}};
    ///
    /// async fn print(limits: &Limits, record: &KeyRecord) -> Result<(), MeterError> {
    ///     for left in limits.look(record).await?.unwrap_or_default() {
    ///         println!("{}: {} of {}", left.limit, left.requests, left.most);
    ///     }
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`MeterError::Store`], also if an answer takes five seconds.
    pub async fn look(&self, record: &KeyRecord) -> Result<Option<Vec<Remaining>>, MeterError> {
        let limiter = self.limiter();
        if let (Some(refillers), Ok(Some(plan))) = (&limiter.refillers, limiter.plan(record)) {
            let metered = Metered::new(limiter, plan, record);
            for refiller in refillers.all() {
                let leased = metered.all().filter_map(|(_, limit)| limit.counted.leased());
                let leased: Vec<_> = leased.filter(|leased| Arc::ptr_eq(&leased.refiller, refiller)).collect();
                let asks: Vec<_> = leased.iter().map(|leased| Ask::new(leased.meter.clone(), leased.rule)).collect();
                if asks.is_empty() {
                    continue;
                }
                let grants = called(refiller.store().take(&asks)).await?;
                let now = refiller.now();
                for (leased, grant) in leased.iter().zip(&grants) {
                    leased.looked(grant.left, now);
                }
            }
        }
        Ok(self.remaining(record))
    }

    /// Returns the credits of a record, by the name of their limit, as of their last refill. `None`
    /// if they were never topped up or refilled.
    ///
    /// ```
    /// use tower_api_key::{KeyRecord, limit::{Limits, MeterError}};
    ///
    /// async fn spent(limits: &Limits, record: &KeyRecord) -> Result<u64, MeterError> {
    ///     Ok(limits.balance(record, "calls").await?.unwrap_or_default().spent)
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`MeterError::NoCredits`], [`MeterError::Store`].
    pub async fn balance(&self, record: &KeyRecord, limit: &str) -> Result<Option<Balance>, MeterError> {
        let (refiller, meter) = self.credits(record, limit)?;
        called(refiller.store().balance(&meter)).await
    }

    /// Adds credits to those of a record, by the name of their limit. A repeated call with the same
    /// id adds nothing, and succeeds: so call again if it fails.
    ///
    /// ```
    /// use tower_api_key::{KeyRecord, limit::{Limits, MeterError, TopUpId}};
    ///
    /// async fn paid(limits: &Limits, record: &KeyRecord, invoice: TopUpId) -> Result<(), MeterError> {
    ///     let top_up = limits.top_up(record, "calls", 10_000, &invoice).await?;
    ///     println!("{} credits", top_up.balance.available);
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`MeterError::NoCredits`], [`MeterError::Amount`], [`MeterError::Store`];
    /// [`MeterError::OtherAmount`] if the id was used for another amount.
    pub async fn top_up(
        &self,
        record: &KeyRecord,
        limit: &str,
        amount: u64,
        once: &TopUpId,
    ) -> Result<TopUp, MeterError> {
        let (refiller, meter) = self.credits(record, limit)?;
        if !(1..=1 << 53).contains(&amount) {
            return Err(MeterError::Amount);
        }
        let top_up = called(refiller.store().top_up(&meter, amount, once)).await?;
        if top_up.amount != amount {
            return Err(MeterError::OtherAmount(top_up.amount));
        }
        if let Ok(Some(plan)) = self.limiter().plan(record) {
            let metered = Metered::new(self.limiter(), plan, record);
            metered.all().filter_map(|(_, limit)| limit.counted.leased()).for_each(Leased::look_again);
        }
        Ok(top_up)
    }

    /// Returns the names of the credits of a record.
    pub(crate) fn names_of_credits(&self, record: &KeyRecord) -> Vec<String> {
        let Ok(Some(plan)) = self.limiter().plan(record) else { return Vec::new() };
        let credits = plan.iter().filter(|limit| limit.is_credits() && has(record, &limit.name));
        credits.map(|limit| limit.name.to_string()).collect()
    }

    fn credits(&self, record: &KeyRecord, limit: &str) -> Result<(&Arc<Refiller>, MeterId), MeterError> {
        let limiter = self.limiter();
        let (Some(refillers), Ok(Some(plan))) = (&limiter.refillers, limiter.plan(record)) else {
            return Err(MeterError::NoCredits);
        };
        let found = plan.iter().find(|known| known.is_credits() && *known.name == *limit && has(record, limit));
        let meter = found.and_then(|known| known.meter_id(record));
        meter.map(|meter| (refillers.of_allowances(), meter)).ok_or(MeterError::NoCredits)
    }
}

/// Returns whether a record has a limit of its plan: a number of it may say that it has not.
fn has(record: &KeyRecord, limit: &str) -> bool {
    record.limits().all(|(name, number)| name != limit || number.is_some())
}

async fn called<T>(call: impl Future<Output = Result<T, BoxError>>) -> Result<T, MeterError> {
    match timeout(TIMEOUT, call).await {
        Ok(result) => result.map_err(MeterError::Store),
        Err(late) => Err(MeterError::Store(late.into())),
    }
}
