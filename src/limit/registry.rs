//! Finds the limiter of a principal.
//!
//! A principal holds the number of its limiter and no reference: one more shared count for each
//! request would cost as much as a limit. Only its rare calls look the limiter up.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::limiter::Limiter;
use crate::record::Generation;

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

fn limiters() -> MutexGuard<'static, Vec<Weak<Limiter>>> {
    LIMITERS.lock().unwrap_or_else(PoisonError::into_inner)
}
