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
struct Places {
    taken: [Option<Arc<Counted>>; MOST_LIMITS],
    /// Two permits that are held together. Never read.
    _both: Option<[Permit; 2]>,
}

impl Permit {
    /// Holds the places that were taken in these limits.
    pub(super) fn of<'m>(taken: impl Iterator<Item = &'m MeteredLimit>) -> Option<Self> {
        let mut places =
            taken.filter(|limit| limit.is_concurrency()).map(|limit| Arc::clone(&limit.counted)).peekable();
        places.peek()?;
        Some(Self(Arc::new(Places { taken: array::from_fn(|_| places.next()), _both: None })))
    }

    /// Returns a permit with the places of both.
    pub(crate) fn and(self, other: Option<Self>) -> Self {
        match other {
            Some(other) => Self(Arc::new(Places { taken: array::from_fn(|_| None), _both: Some([self, other]) })),
            None => self,
        }
    }

    /// Returns the places for the body of the response.
    pub(crate) fn held(&self) -> Held {
        Arc::clone(&self.0) as _
    }
}

impl Drop for Places {
    fn drop(&mut self) {
        for counted in self.taken.iter().flatten() {
            counted.count.set(|taken| taken.saturating_sub(1));
        }
    }
}
