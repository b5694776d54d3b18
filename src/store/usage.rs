//! Usage: the requests with a key, by day and outcome.

use std::time::SystemTime;

use super::UtcDay;
use crate::record::{KeyId, KeyRecord};

/// The requests with one key on one day, by outcome.
///
/// ```
/// use tower_api_key::store::{DayUsage, UtcDay};
///
/// let mut usage = DayUsage::new("2027-01-15".parse::<UtcDay>()?);
/// (usage.accepted, usage.rejected) = (3, 1);
/// assert_eq!((usage.uses(), usage.total()), (3, 4));
/// # Ok::<(), tower_api_key::store::InvalidDay>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DayUsage {
    /// The day.
    pub day: UtcDay,
    /// Requests that no guard rejected.
    pub accepted: u64,
    /// Requests with a valid key that a guard or a handler rejected with 403 or 404.
    pub forbidden: u64,
    /// Requests whose key was rejected with 401: it is revoked, disabled, expired or not yet valid,
    /// or belongs to another environment or organization. Also those with 429 and the reason
    /// [`TooManyFailures`](crate::Reason::TooManyFailures), and those with 403 from an address that
    /// the key does not allow.
    pub rejected: u64,
    /// Requests with a valid key that were rejected with 429.
    pub limited: u64,
}

/// The requests with one key on one day since they were last recorded.
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use tower_api_key::store::UsageDelta;
///
/// let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
/// let once = UsageDelta::accepted("k1", 1, at);
/// assert_eq!((once.uses(), once.usage.day.to_string()), (1, "2027-01-15".to_owned()));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UsageDelta {
    /// The id of the key.
    pub id: KeyId,
    /// The day and its requests.
    pub usage: DayUsage,
    /// The time of the last use: the last request that was accepted or forbidden.
    pub last_used_at: Option<SystemTime>,
}

// === impl DayUsage, UsageDelta ===

impl DayUsage {
    /// Returns a day without requests. The type's documentation has an example.
    pub const fn new(day: UtcDay) -> Self {
        Self { day, accepted: 0, forbidden: 0, rejected: 0, limited: 0 }
    }

    /// Returns how often the key was used: the accepted and the forbidden requests. A
    /// [`use_count`](KeyRecord::use_count) counts these.
    pub const fn uses(&self) -> u64 {
        self.accepted.saturating_add(self.forbidden)
    }

    /// Returns the number of all requests.
    pub const fn total(&self) -> u64 {
        self.uses().saturating_add(self.rejected).saturating_add(self.limited)
    }

    /// Adds the requests of `other`, whatever its day.
    ///
    /// ```
    /// use tower_api_key::store::{DayUsage, UtcDay};
    ///
    /// let mut sum = DayUsage::new(UtcDay::from_number(20_000));
    /// let mut other = sum;
    /// other.limited = 2;
    /// sum.add(&other);
    /// assert_eq!(sum.total(), 2);
    /// ```
    pub const fn add(&mut self, other: &Self) {
        self.accepted = self.accepted.saturating_add(other.accepted);
        self.forbidden = self.forbidden.saturating_add(other.forbidden);
        self.rejected = self.rejected.saturating_add(other.rejected);
        self.limited = self.limited.saturating_add(other.limited);
    }
}

impl UsageDelta {
    /// Returns the requests of one day, with the time of the last use, if there was one.
    ///
    /// ```
    /// use tower_api_key::store::{DayUsage, UsageDelta, UtcDay};
    ///
    /// let mut usage = DayUsage::new(UtcDay::from_number(20_000));
    /// usage.rejected = 1;
    /// assert_eq!(UsageDelta::new("k1", usage, None).uses(), 0);
    /// ```
    pub fn new(id: impl Into<KeyId>, usage: DayUsage, last_used_at: Option<SystemTime>) -> Self {
        Self { id: id.into(), usage, last_used_at }
    }

    /// Returns this many accepted requests, all on the day of the last one. The documentation of
    /// the type has an example.
    pub fn accepted(id: impl Into<KeyId>, count: u64, last_used_at: SystemTime) -> Self {
        let usage = DayUsage { accepted: count, ..DayUsage::new(last_used_at.into()) };
        Self::new(id, usage, Some(last_used_at))
    }

    /// Returns how often the key was used: see [`DayUsage::uses`].
    pub const fn uses(&self) -> u64 {
        self.usage.uses()
    }

    /// Adds the requests of another delta of the same key and day.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.usage.add(&other.usage);
        self.last_used_at = self.last_used_at.max(other.last_used_at);
    }

    /// Returns the record with these uses added. The time of the last use never moves back.
    pub(crate) fn add_to(&self, record: KeyRecord) -> KeyRecord {
        let count = record.use_count().saturating_add(self.uses());
        let last = record.last_used_at().max(self.last_used_at);
        record.with_usage(count, last)
    }
}
