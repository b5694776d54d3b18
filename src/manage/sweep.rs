//! The sweep: disables unused keys, and removes keys that expired or were revoked long ago.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{
    Actor, KeyManager, ManageError,
    concurrency::WorkKind,
    many::{BATCH, PAGE},
};
use crate::{
    record::{ExpiryPolicies, KeyId, KeyRecord},
    store::{BulkChange, KeyBatch, KeyFilter},
};

/// What a [`sweep`](KeyManager::sweep) does. Without a rule it does nothing.
#[derive(Clone, Copy, Debug, Default)]
#[must_use = "it only describes a sweep: pass it to KeyManager::sweep"]
pub struct SweepPolicy {
    unused_for: Option<Duration>,
    ended_for: Option<Duration>,
    dry_run: bool,
}

/// The result of a [`sweep`](KeyManager::sweep); in a dry run, what it would do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SweepResult {
    /// The number of disabled keys.
    pub disabled: u64,
    /// The number of removed keys.
    pub removed: u64,
}

const DAY: u64 = 24 * 60 * 60;

// === impl SweepPolicy ===

impl SweepPolicy {
    /// A sweep without a rule.
    pub fn new() -> Self {
        Self::default()
    }

    /// Disables active keys that were not used for this time. A key that was never used counts from
    /// its creation, or from its `not_before` if that is later.
    ///
    /// The reason of the change is `not used for N days`. A key that you enable again must be used
    /// before the next sweep.
    pub fn disable_unused_for(mut self, time: Duration) -> Self {
        self.unused_for = Some(time);
        self
    }

    /// Removes keys, with their records, that were revoked or have expired for this time.
    ///
    /// A key also expires by the maximum lifetime of the manager's
    /// [`ExpiryPolicy`](super::ExpiryPolicy). A key without a time of creation, which such a policy
    /// rejects, has no such end: it is not removed for it.
    pub fn remove_ended_for(mut self, time: Duration) -> Self {
        self.ended_for = Some(time);
        self
    }

    /// Only counts the keys, and changes none.
    pub fn dry_run(mut self) -> Self {
        self.dry_run = true;
        self
    }

    /// Returns the batch of each rule, without keys. A rule with a time before all times applies to
    /// no key.
    fn batches(&self, now: SystemTime, policies: Option<&Arc<ExpiryPolicies>>) -> Vec<KeyBatch> {
        let ago = |time: Option<Duration>| time.and_then(|time| now.checked_sub(time));
        let disable = ago(self.unused_for).map(|then| KeyBatch::new(BulkChange::Disable, []).unused_since(then));
        let remove = ago(self.ended_for).map(|then| KeyBatch::new(BulkChange::Remove, []).ended_before(then));
        let remove = remove.map(|batch| batch.under(policies));
        // A key to which both rules apply is removed.
        remove.into_iter().chain(disable).collect()
    }

    fn reason(&self) -> String {
        let seconds = self.unused_for.unwrap_or_default().as_secs();
        match seconds / DAY {
            0 => format!("not used for {seconds} seconds"),
            1 => "not used for 1 day".to_owned(),
            days => format!("not used for {days} days"),
        }
    }
}

// === impl KeyManager ===

impl KeyManager {
    /// Disables unused keys and removes keys that ended long ago, among those that the actor sees.
    /// Call it once a day. An actor [across organizations](Actor::across_organizations) sweeps all
    /// organizations.
    ///
    /// It first writes the usage that this process has counted. Other processes write theirs within
    /// their [usage interval](super::KeyManagerBuilder::usage_interval). It then reads the keys in
    /// pages, without a lock, and changes them in transactions of at most 10 keys. Each reads its
    /// keys again: one that was used meanwhile is not disabled. The actor's own key is left out.
    /// Each change has its event, and calls the hooks.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_api_key::{KeyManager, Owner, Permissions, manage::{Actor, ManageError, SweepPolicy}};
    ///
    /// async fn every_night(manager: &KeyManager) -> Result<(), ManageError> {
    ///     let janitor = Actor::trusted(Owner::ServiceAccount, Permissions::all_of("apiKeys"));
    ///     let policy = SweepPolicy::new()
    ///         .disable_unused_for(Duration::from_secs(90 * 24 * 3600))
    ///         .remove_ended_for(Duration::from_secs(365 * 24 * 3600));
    ///     let counted = manager.sweep(&janitor.clone().in_organization("acme"), policy.dry_run()).await?;
    ///     println!("{} unused keys", counted.disabled);
    ///     manager.sweep(&janitor.in_organization("acme"), policy).await?;
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ManageError::PermissionDenied`]: it needs `read`, and `update` to disable, `delete` to
    /// remove. After an error, or if the process ends midway, the earlier batches are changed.
    pub async fn sweep(&self, actor: &Actor, policy: SweepPolicy) -> Result<SweepResult, ManageError> {
        let sweep = |manager: Self, actor| async move { manager.sweep_pages(&actor, policy).await };
        self.run_long(actor, WorkKind::Bulk, sweep).await
    }

    async fn sweep_pages(&self, actor: &Actor, policy: SweepPolicy) -> Result<SweepResult, ManageError> {
        let batches = policy.batches(self.now(), self.0.validity.policies());
        for batch in &batches {
            self.check_may_batch(actor, batch.change).await?;
        }
        self.flush().await?;
        let janitor = actor.clone().because(policy.reason());
        let mut result = SweepResult::default();
        let mut filter = KeyFilter::default().with_revoked().limit(PAGE);
        filter.all_organizations = actor.is_across_organizations();
        loop {
            let page = self.list(actor, filter.clone()).await?;
            let mut left: Vec<&KeyRecord> =
                page.records.iter().filter(|record| Some(record.id()) != actor.key_id()).collect();
            for batch in &batches {
                let (due, rest): (Vec<_>, Vec<_>) = left.into_iter().partition(|record| batch.applies_to(record));
                left = rest;
                let (actor, count) = match batch.change {
                    BulkChange::Disable => (&janitor, &mut result.disabled),
                    _ => (actor, &mut result.removed),
                };
                let due: Vec<KeyId> = due.into_iter().map(|record| record.id().clone()).collect();
                for ids in due.chunks(BATCH) {
                    *count += if policy.dry_run {
                        ids.len() as u64
                    } else {
                        // What was used since the page was read counts too.
                        self.flush().await?;
                        self.change_batch(actor, batch.of(ids.iter().cloned())).await?.len() as u64
                    };
                }
            }
            let Some(next) = page.next else { return Ok(result) };
            filter = filter.after(next);
        }
    }
}
