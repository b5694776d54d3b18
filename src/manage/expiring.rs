//! Returns each key that expires soon once, so that the application can announce it.

use std::time::Duration;

use super::{KeyManager, ManageError};
use crate::{record::KeyRecord, store::ExpiryClaim};

/// 8,000 years: later than every expiry that a store keeps.
const LONGEST: Duration = Duration::from_secs(8_000 * 366 * 86_400);

impl KeyManager {
    /// Returns keys of all organizations that expire within this time, the earliest first. Each
    /// expiry is returned once over all processes, for example to send an email.
    ///
    /// It returns active keys that were not replaced. An expiry that an edit sets is returned too.
    /// The call needs no actor and no permission: it is for the application itself.
    ///
    /// Each key of the result is marked before the call returns. If the process ends before it has
    /// sent the email, no later call returns the key. If sending fails, pass the record to
    /// [`announce_again`](Self::announce_again). Only the expiry in the record counts, not a sooner
    /// one by an [`ExpiryPolicy`].
    ///
    /// [`ExpiryPolicy`]: super::ExpiryPolicy
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_api_key::{KeyManager, KeyRecord, manage::ManageError};
    ///
    /// /// Call it every hour, on every node.
    /// async fn announce(manager: &KeyManager) -> Result<(), ManageError> {
    ///     let two_weeks = Duration::from_secs(14 * 86_400);
    ///     for key in manager.expiring(two_weeks, 100).await? {
    ///         if send_mail(&key).await.is_err() {
    ///             manager.announce_again(&[key]).await?;
    ///         }
    ///     }
    ///     Ok(())
    /// }
    /// # async fn send_mail(_: &KeyRecord) -> Result<(), ()> { Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ManageError::AnnouncementsNotKept`] if the store does not keep the marks;
    /// [`ManageError::Store`].
    pub async fn expiring(&self, within: Duration, limit: usize) -> Result<Vec<KeyRecord>, ManageError> {
        let now = self.now();
        let until = now.checked_add(within.min(LONGEST)).unwrap_or(now);
        let claimed = self.0.registry.clone().claim_expiring(ExpiryClaim::new(now, until, limit)).await?;
        claimed.ok_or(ManageError::AnnouncementsNotKept)
    }

    /// Lets [`expiring`](Self::expiring) return these keys once more, because they were not
    /// announced. It ignores a key that has another expiry now.
    ///
    /// # Errors
    ///
    /// [`ManageError::Store`].
    pub async fn announce_again(&self, keys: &[KeyRecord]) -> Result<(), ManageError> {
        self.0.registry.clone().release_expiring(keys.to_vec()).await
    }
}
