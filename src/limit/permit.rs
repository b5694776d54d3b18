//! Places in the limits on requests at the same time.

use std::{array, sync::Arc};

use super::{
    counts::Counted,
    metered::{MOST_LIMITS, MeteredLimit},
};
use crate::body::Held;

/// The places of one request. They are free again when the last clone is dropped.
#[derive(Clone, Debug)]
pub(crate) struct Permit(Arc<Places>);

#[derive(Debug)]
struct Places([Option<Arc<Counted>>; MOST_LIMITS]);

impl Permit {
    /// Holds the places that were taken in these limits.
    pub(super) fn of<'m>(taken: impl Iterator<Item = &'m MeteredLimit>) -> Option<Self> {
        let mut places =
            taken.filter(|limit| limit.is_concurrency()).map(|limit| Arc::clone(&limit.counted)).peekable();
        places.peek()?;
        Some(Self(Arc::new(Places(array::from_fn(|_| places.next())))))
    }

    /// Returns the places for the body of the response.
    pub(crate) fn held(&self) -> Held {
        Arc::clone(&self.0) as _
    }
}

impl Drop for Places {
    fn drop(&mut self) {
        for counted in self.0.iter().flatten() {
            counted.count.set(|taken| taken.saturating_sub(1));
        }
    }
}
