//! Reading the usage of a key.

use std::ops::RangeInclusive;

use crate::{
    manage::{Actor, KeyManager, ManageError, concurrency::WorkKind},
    permission::Action,
    record::KeyId,
    store::{DayUsage, UtcDay},
};

impl KeyManager {
    /// Returns the usage of a key on these days, in ascending order. A day without requests is left
    /// out.
    ///
    /// Each node writes its counts once per [`usage_interval`], so the last seconds may be missing.
    /// Days are kept for [`usage_days`], and removed together with the key.
    ///
    /// [`usage_interval`]: crate::manage::KeyManagerBuilder::usage_interval
    /// [`usage_days`]: crate::manage::KeyManagerBuilder::usage_days
    ///
    /// ```
    /// use tower_api_key::{KeyManager, manage::{Actor, ManageError}, store::UtcDay};
    ///
    /// async fn print_week(manager: &KeyManager, actor: &Actor, today: UtcDay) -> Result<(), ManageError> {
    ///     for usage in manager.usage(actor, "key_1", today.minus(6)..=today).await? {
    ///         println!("{}: {} accepted, {} rejected", usage.day, usage.accepted, usage.rejected);
    ///     }
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ManageError::NotFound`], [`ManageError::PermissionDenied`] (`read`),
    /// [`ManageError::UsageNotKept`].
    pub async fn usage(
        &self,
        actor: &Actor,
        id: impl Into<KeyId>,
        days: RangeInclusive<UtcDay>,
    ) -> Result<Vec<DayUsage>, ManageError> {
        let id = id.into();
        self.run_as(actor, Action::READ, WorkKind::Read, move |manager, actor| {
            let (id, days) = (id.clone(), days.clone());
            async move {
                manager.visible_key(&actor, &id).await?;
                let kept = manager.0.registry.clone().usage(id, days).await?;
                kept.ok_or(ManageError::UsageNotKept)
            }
        })
        .await
    }
}
