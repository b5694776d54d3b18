//! Places in the limits on requests at the same time.

use std::sync::Arc;

use super::{counts::Counted, metered::MeteredLimit};

/// The places of one request. They are free again when the last clone is dropped.
#[derive(Clone, Debug)]
pub(crate) struct Permit(#[expect(dead_code, reason = "dropped at the end of the request")] Arc<Places>);

#[derive(Debug)]
struct Places(Vec<Arc<Counted>>);

impl Permit {
    /// Holds the places that were taken in these limits.
    pub(super) fn of<'m>(taken: impl Iterator<Item = &'m MeteredLimit>) -> Option<Self> {
        let places: Vec<_> =
            taken.filter(|limit| limit.is_concurrency()).map(|limit| Arc::clone(&limit.counted)).collect();
        (!places.is_empty()).then(|| Self(Arc::new(Places(places))))
    }
}

impl Drop for Places {
    fn drop(&mut self) {
        for counted in &self.0 {
            counted.count.set(|taken| taken.saturating_sub(1));
        }
    }
}
