//! One batch of changed keys.

use std::{sync::Arc, time::SystemTime};

use super::KeyFilter;
use crate::record::{ExpiryPolicies, KeyId, KeyRecord, Status, end_under};

/// The change of each key in a change of many keys.
///
/// ```
/// use tower_api_key::manage::{BulkChange, ChangeMany};
/// use tower_api_key::store::KeyFilter;
///
/// let test_keys = KeyFilter::default().environment("test");
/// let revocation = ChangeMany::new(BulkChange::Revoke, test_keys).dry_run();
/// # let _ = revocation;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BulkChange {
    /// Revokes the key permanently, and keeps its record.
    Revoke,
    /// Disables the key, which can be enabled again.
    Disable,
    /// Deletes the key with its record.
    Remove,
}

/// Keys to change in one transaction, and the condition that each must still meet there.
///
/// [`KeyRegistry::change_batch`](super::KeyRegistry::change_batch) changes it.
///
/// ```
/// use tower_api_key::{KeyRecord, store::{BulkChange, KeyBatch, KeyFilter}};
///
/// let batch = KeyBatch::new(BulkChange::Revoke, ["k1".into()])
///     .matching(KeyFilter::default().environment("test"));
/// let record = KeyRecord::new("k1", [7; 32]);
/// assert!(batch.applies_to(&record.clone().with_environment("test")));
/// assert!(!batch.applies_to(&record));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyBatch {
    /// The change of each key.
    pub change: BulkChange,
    /// The ids of the keys, in ascending order, each once.
    pub ids: Vec<KeyId>,
    /// Only keys that this filter matches are changed; `None` means any.
    pub filter: Option<KeyFilter>,
    /// Only keys that were not used since then are changed. A key that was never used counts from
    /// its creation or its start, whichever is later.
    pub unused_since: Option<SystemTime>,
    /// Only keys that were revoked or had expired before then are changed.
    pub ended_before: Option<SystemTime>,
    /// Policies of the manager, by which a key may expire sooner than by its record.
    pub(crate) policies: Option<Arc<ExpiryPolicies>>,
}

// === impl KeyBatch ===

impl KeyBatch {
    /// Returns a batch of these keys.
    pub fn new(change: BulkChange, ids: impl IntoIterator<Item = KeyId>) -> Self {
        let mut ids: Vec<KeyId> = ids.into_iter().collect();
        ids.sort();
        ids.dedup();
        Self { change, ids, filter: None, unused_since: None, ended_before: None, policies: None }
    }

    /// Selects only keys that `filter` matches.
    #[must_use]
    pub fn matching(mut self, filter: KeyFilter) -> Self {
        self.filter = Some(filter);
        self
    }

    /// Selects only keys that were not used since then.
    #[must_use]
    pub fn unused_since(mut self, instant: SystemTime) -> Self {
        self.unused_since = Some(instant);
        self
    }

    /// Selects only keys that were revoked or had expired before then.
    #[must_use]
    pub fn ended_before(mut self, instant: SystemTime) -> Self {
        self.ended_before = Some(instant);
        self
    }

    /// Lets keys expire by these policies too.
    pub(crate) fn under(mut self, policies: Option<&Arc<ExpiryPolicies>>) -> Self {
        self.policies = policies.cloned();
        self
    }

    /// Returns whether the batch changes a record, if it has its id.
    ///
    /// A revoked key is neither revoked nor disabled again, and a disabled key is not disabled. A
    /// key whose last use and creation are unknown does not count as unused. If the time of a
    /// revocation is unknown, the time of the last change counts. In a batch of a
    /// [`KeyManager`](crate::KeyManager), a key also ends by the manager's
    /// [`ExpiryPolicy`](crate::manage::ExpiryPolicy).
    pub fn applies_to(&self, record: &KeyRecord) -> bool {
        let can_change = match self.change {
            BulkChange::Revoke => record.status() != Status::Revoked,
            BulkChange::Disable => record.status() == Status::Active,
            BulkChange::Remove => true,
        };
        let since = |used: SystemTime| self.unused_since.is_none_or(|instant| used < instant);
        let before = |end: SystemTime| self.ended_before.is_none_or(|instant| end < instant);
        can_change
            && self.filter.as_ref().is_none_or(|filter| filter.matches(record))
            && (self.unused_since.is_none() || last_use(record).is_some_and(since))
            && (self.ended_before.is_none() || self.end(record).is_some_and(before))
    }

    /// Returns when the key was revoked or has expired, whichever came first.
    fn end(&self, record: &KeyRecord) -> Option<SystemTime> {
        let revoked = record.revoked_at().or(record.updated_at()).filter(|_| record.status() == Status::Revoked);
        revoked.into_iter().chain(end_under(self.policies.as_deref(), record)).min()
    }

    /// Returns this batch with other keys.
    pub(crate) fn of(&self, ids: impl IntoIterator<Item = KeyId>) -> Self {
        Self { ids: Self::new(self.change, ids).ids, ..self.clone() }
    }
}

/// Returns the last use, or the time from which a key that was never used could be used.
fn last_use(record: &KeyRecord) -> Option<SystemTime> {
    record
        .last_used_at()
        .or_else(|| record.created_at().map(|made| record.not_before().map_or(made, |start| start.max(made))))
}
