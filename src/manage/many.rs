//! Revokes, disables or removes all keys that a filter matches.

use super::{Actor, KeyEventKind, KeyManager, ManageError, concurrency::WorkKind};
use crate::{
    permission::Action,
    record::{KeyId, KeyRecord},
    store::{BulkChange, KeyBatch, KeyFilter},
};

/// The maximum number of keys that one transaction changes. At 1,000,000 keys in PostgreSQL, a
/// change of 100 keys takes 100 ms.
pub(super) const BATCH: usize = 10;
/// The number of keys that one step of a scan reads.
pub(super) const PAGE: usize = 1_000;
/// The maximum number of ids that a result lists.
const LISTED: usize = 1_000;

/// A change of all keys that a filter matches, for [`KeyManager::change_many`].
///
/// ```
/// use tower_api_key::{Owner, manage::{BulkChange, ChangeMany}, store::KeyFilter};
///
/// let keys_of_alice = KeyFilter::default().owner(Owner::User("alice".into()));
/// let rehearsal = ChangeMany::new(BulkChange::Disable, keys_of_alice.clone()).dry_run();
/// let change = ChangeMany::new(BulkChange::Disable, keys_of_alice);
/// # let _ = (rehearsal, change);
/// ```
#[derive(Clone, Debug)]
#[must_use = "it only describes a change: pass it to KeyManager::change_many"]
pub struct ChangeMany {
    change: BulkChange,
    filter: KeyFilter,
    all: bool,
    with_own_key: bool,
    dry_run: bool,
}

/// The result of [`KeyManager::change_many`], which has an example.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BulkResult {
    /// The number of keys that the filter matched and the change applies to.
    pub matched: u64,
    /// The number of changed keys: 0 in a dry run. It is less than `matched` if keys were changed
    /// by another call meanwhile.
    pub changed: u64,
    /// The ids of the changed keys; in a dry run, of the matched ones. At most 1,000 are listed.
    pub ids: Vec<KeyId>,
}

// === impl ChangeMany, BulkResult ===

impl ChangeMany {
    /// Describes a change of the keys that `filter` matches. Its `after` and `limit` are ignored.
    ///
    /// A filter without a condition is rejected, unless you call [`all`](Self::all).
    pub fn new(change: BulkChange, filter: KeyFilter) -> Self {
        Self { change, filter, all: false, with_own_key: false, dry_run: false }
    }

    /// Permits a filter without a condition: every key that the actor sees is changed.
    pub fn all(mut self) -> Self {
        self.all = true;
        self
    }

    /// Includes the key of the actor, as the last one. By default it is left out, so that a change
    /// does not end the key that makes it.
    pub fn with_own_key(mut self) -> Self {
        self.with_own_key = true;
        self
    }

    /// Only counts the keys, and changes none.
    pub fn dry_run(mut self) -> Self {
        self.dry_run = true;
        self
    }
}

impl BulkResult {
    pub(super) fn list(&mut self, id: &KeyId) {
        if self.ids.len() < LISTED {
            self.ids.push(id.clone());
        }
    }
}

// === impl KeyManager ===

impl KeyManager {
    /// Revokes, disables or removes all keys that a filter matches, among those that the actor
    /// sees.
    ///
    /// The bounds of the actor narrow the filter, as in [`KeyManager::list`]. The keys are
    /// changed in batches of at most 10, each in one transaction. The transaction reads the keys
    /// again: one that the filter no longer matches is not changed. Each change has its event, and
    /// calls the hooks. If the process ends midway, or an error is returned, the earlier batches
    /// are changed. Repeat the call to change the rest.
    ///
    /// ```
    /// use tower_api_key::{KeyManager, manage::{Actor, BulkChange, ChangeMany, ManageError}};
    /// use tower_api_key::store::KeyFilter;
    ///
    /// async fn test_system_is_gone(manager: &KeyManager, admin: &Actor) -> Result<(), ManageError> {
    ///     let change = ChangeMany::new(BulkChange::Revoke, KeyFilter::default().environment("test"));
    ///     let counted = manager.change_many(admin, change.clone().dry_run()).await?;
    ///     println!("{} keys would be revoked", counted.matched);
    ///     let admin = admin.clone().because("the test system is gone");
    ///     let done = manager.change_many(&admin, change).await?;
    ///     println!("{} keys are revoked", done.changed);
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// - [`ManageError::PermissionDenied`]: it needs `read`, and `update` to disable, `delete` to
    ///   revoke or remove.
    /// - [`ManageError::EmptyFilter`] for a filter without a condition.
    pub async fn change_many(&self, actor: &Actor, many: ChangeMany) -> Result<BulkResult, ManageError> {
        if !many.all && !many.filter.has_condition() {
            return Err(ManageError::EmptyFilter);
        }
        let change = |manager: Self, actor| async move { manager.change_matching(&actor, many).await };
        self.run_long(actor, WorkKind::Bulk, change).await
    }

    async fn change_matching(&self, actor: &Actor, many: ChangeMany) -> Result<BulkResult, ManageError> {
        self.check_may_batch(actor, many.change).await?;
        let mut filter = many.filter.first_page().limit(PAGE);
        let batch = KeyBatch::new(many.change, []).matching(actor.within_organization(filter.clone())?);
        let (mut result, mut own) = (BulkResult::default(), None);
        loop {
            let page = self.list(actor, filter.clone()).await?;
            let matched = page.records.iter().filter(|record| batch.applies_to(record)).map(KeyRecord::id);
            let (is_own, mut matched): (Vec<_>, Vec<_>) = matched.cloned().partition(|id| Some(id) == actor.key_id());
            own = own.or(is_own.into_iter().next().filter(|_| many.with_own_key));
            if page.next.is_none() {
                self.change_listed(actor, &batch, matched, many.dry_run, &mut result).await?;
                matched = own.into_iter().collect();
                self.change_listed(actor, &batch, matched, many.dry_run, &mut result).await?;
                return Ok(result);
            }
            self.change_listed(actor, &batch, matched, many.dry_run, &mut result).await?;
            filter = page.next.into_iter().fold(filter, KeyFilter::after);
        }
    }

    /// Changes these keys in batches, and adds them to the result.
    async fn change_listed(
        &self,
        actor: &Actor,
        batch: &KeyBatch,
        ids: Vec<KeyId>,
        dry_run: bool,
        result: &mut BulkResult,
    ) -> Result<(), ManageError> {
        result.matched += ids.len() as u64;
        if dry_run {
            for id in &ids {
                result.list(id);
            }
            return Ok(());
        }
        for ids in ids.chunks(BATCH) {
            let changed = self.change_batch(actor, batch.of(ids.iter().cloned())).await?;
            result.changed += changed.len() as u64;
            for record in &changed {
                result.list(record.id());
            }
        }
        Ok(())
    }

    /// Changes one batch, and calls the hooks.
    pub(super) async fn change_batch(&self, actor: &Actor, batch: KeyBatch) -> Result<Vec<KeyRecord>, ManageError> {
        let kind = match batch.change {
            BulkChange::Revoke => KeyEventKind::Revoked,
            BulkChange::Disable => KeyEventKind::Disabled,
            BulkChange::Remove => KeyEventKind::Removed,
        };
        self.run_as(actor, action_of(batch.change), WorkKind::Revoke, move |manager, actor| {
            let batch = batch.clone();
            async move {
                let changed = manager.0.registry.clone().change_batch(batch, manager.context_of(&actor)).await?;
                for record in &changed {
                    manager.notify(kind, record, None, &actor);
                }
                Ok(changed)
            }
        })
        .await
    }

    /// Checks the permission of a change before its first batch, which a dry run does not have.
    pub(super) async fn check_may_batch(&self, actor: &Actor, change: BulkChange) -> Result<(), ManageError> {
        self.run_as(actor, action_of(change), WorkKind::Read, |_, _| async { Ok(()) }).await
    }
}

fn action_of(change: BulkChange) -> Action {
    match change {
        BulkChange::Disable => Action::UPDATE,
        BulkChange::Revoke | BulkChange::Remove => Action::DELETE,
    }
}
