//! A request that a limit does not admit now: it is rejected, or it waits for units from the store
//! of meters.

use std::time::Duration;

use tokio::{sync::oneshot, time::timeout};

use super::{
    gcra::Full,
    leased::Prepared,
    metered::MeteredLimit,
    plans::Limit,
    refused::{refused, rejection},
    rule::Now,
};
use crate::rejection::{Reason, Rejection, Wait};

/// Why a request is not charged.
pub(crate) enum Unpaid {
    Rejected(Rejection),
    /// Charge it again after the wait.
    Wait(Wait),
}

/// How long a request waits for an answer of the store.
const LONGEST: Duration = Duration::from_secs(5);

/// Charges a request again for which the units of the node were too few, as long as there are more
/// here. Otherwise rejects it, or lets it wait.
#[cold]
pub(super) fn pay<'m>(
    now: Now,
    plan: &[Limit],
    parts: &(impl Iterator<Item = (&'m MeteredLimit, u64, u64)> + Clone),
    mut take: impl FnMut() -> bool,
) -> Result<(), Unpaid> {
    for _ in 0..TRIES {
        if let Some(unpaid) = unpaid(now, plan, parts.clone()) {
            return Err(unpaid);
        }
        if take() {
            return Ok(());
        }
    }
    // Other threads took them each time.
    Err(Unpaid::Wait(Box::pin(async { Ok(()) })))
}

/// How often units that are here are charged again.
const TRIES: usize = 8;

/// Rejects a request, or asks the store for the units that are missing. Returns `None` if they are
/// here now.
fn unpaid<'m>(
    now: Now,
    plan: &[Limit],
    parts: impl Iterator<Item = (&'m MeteredLimit, u64, u64)> + Clone,
) -> Option<Unpaid> {
    let asks = parts.clone().any(|(limit, ..)| limit.rule.is_leased());
    if !asks || parts.clone().any(|(limit, cost, whole)| limit.full(cost, whole, now).is_some()) {
        return Some(Unpaid::Rejected(refused(now, plan, parts)));
    }
    let mut waits = Vec::new();
    for (limit, cost, whole) in parts.clone() {
        let Some(leased) = limit.counted.leased() else { continue };
        if limit.charge(cost, whole).full(now).is_none() {
            continue;
        }
        match leased.prepare(&limit.counted, cost, now) {
            Prepared::Ready => {}
            Prepared::Wait(wait) => waits.push(wait),
            Prepared::Full(Full::Ask) | Prepared::Failed => {
                return Some(Unpaid::Rejected(Rejection::new(Reason::MeterStoreFailed)));
            }
            Prepared::Full(full) => return Some(Unpaid::Rejected(rejection([(limit, full)].into_iter(), plan))),
        }
    }
    if waits.is_empty() { None } else { Some(Unpaid::Wait(Box::pin(all(waits)))) }
}

async fn all(waits: Vec<oneshot::Receiver<()>>) -> Result<(), Rejection> {
    let all = async {
        for wait in waits {
            // The sender is dropped once the store has answered.
            let _ = wait.await;
        }
    };
    timeout(LONGEST, all).await.map_err(|_| Rejection::new(Reason::MeterStoreFailed))
}
