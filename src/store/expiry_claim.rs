//! The expiries that are announced.

use std::time::SystemTime;

use crate::record::{Fields, Status};

/// Selects expiries that are announced, each once: those of active keys that were not replaced.
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use tower_api_key::store::ExpiryClaim;
///
/// let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
/// let claim = ExpiryClaim::new(now, now + Duration::from_secs(86_400), 100);
/// assert_eq!(claim.limit, 100);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExpiryClaim {
    /// The expiries after this instant.
    pub after: SystemTime,
    /// The expiries up to this instant, which is included.
    pub until: SystemTime,
    /// The maximum number of keys.
    pub limit: usize,
}

// === impl ExpiryClaim ===

impl ExpiryClaim {
    /// Selects the expiries after one instant and up to another one.
    pub fn new(after: SystemTime, until: SystemTime, limit: usize) -> Self {
        Self { after, until, limit }
    }

    /// Returns whether the expiry of this record is announced at all.
    pub(crate) fn announces(record: &Fields) -> bool {
        record.status == Status::Active && record.expires_at().is_some() && record.replaced_by().is_none()
    }
}
