//! Finds the limiter of a principal.
//!
//! A principal holds the number of its limiter and no reference: one more shared count for each
//! request would cost as much as a limit. Only its rare calls look the limiter up.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::{limiter::Limiter, metered::Metered};
use crate::record::{Generation, KeyRecord};

static LIMITERS: Mutex<Vec<Weak<Limiter>>> = Mutex::new(Vec::new());

/// Adds a limiter, and removes those that do not exist any more.
pub(super) fn add(limiter: &Arc<Limiter>) {
    let mut limiters = limiters();
    limiters.retain(|known| known.strong_count() > 0);
    limiters.push(Arc::downgrade(limiter));
}

pub(super) fn find(id: Generation) -> Option<Arc<Limiter>> {
    limiters().iter().filter_map(Weak::upgrade).find(|limiter| limiter.id() == id)
}

/// Calls `with` with a limiter and the limits that it has for a record. Returns `None` if the
/// limiter does not exist any more, or if the record has no limits.
pub(super) fn with_metered<R>(
    id: Generation,
    record: &KeyRecord,
    with: impl FnOnce(&Arc<Limiter>, &Metered) -> R,
) -> Option<R> {
    if let Some(metered) = record.metered().and_then(|kept| kept.get()).filter(|metered| metered.id == id) {
        return Some(with(&metered.limiter.upgrade()?, metered));
    }
    let limiter = find(id)?;
    limiter.metered(record, |metered| metered.map(|metered| with(&limiter, metered))).ok().flatten()
}

fn limiters() -> MutexGuard<'static, Vec<Weak<Limiter>>> {
    LIMITERS.lock().unwrap_or_else(PoisonError::into_inner)
}
