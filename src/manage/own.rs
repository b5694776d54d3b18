//! The actor's own key: the holder of a key may see and revoke it without a permission.

use super::{Actor, KeyManager, ManageError, concurrency::WorkKind};
use crate::record::KeyRecord;

impl KeyManager {
    /// Returns the key that the actor authenticated with. The actor needs no permission. A replaced
    /// key in its grace period is returned too.
    ///
    /// The record has fields for administrators, such as the metadata. Show the holder of a key an
    /// `OwnKeyView` (feature `admin-api`), as `GET /self` of the management API does.
    ///
    /// ```
    /// use tower_api_key::{KeyManager, Principal, manage::{Actor, ManageError}};
    ///
    /// async fn who_am_i(manager: &KeyManager, key: &Principal) -> Result<String, ManageError> {
    ///     let record = manager.own_key(&Actor::from(key)).await?;
    ///     Ok(record.name().unwrap_or_default().to_owned())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// - [`ManageError::NoOwnKey`] for an actor without a key.
    /// - [`ManageError::ActorInvalid`] if the key is revoked, disabled, expired or removed.
    /// - [`ManageError::NotFound`] if the actor is confined to an organization or environment that
    ///   is not that of its key.
    pub async fn own_key(&self, actor: &Actor) -> Result<KeyRecord, ManageError> {
        self.run_as_holder(actor, WorkKind::Read, |_, _, own| async move { Ok(own) }).await
    }

    /// Revokes the key that the actor authenticated with, permanently. The actor needs no
    /// permission. Use it for a client that logs out, or that finds that its key has leaked.
    ///
    /// A replaced key in its grace period can revoke itself too. The key that replaced it stays.
    ///
    /// ```
    /// use tower_api_key::{KeyManager, Principal, manage::{Actor, ManageError}};
    ///
    /// async fn log_out(manager: &KeyManager, key: &Principal) -> Result<(), ManageError> {
    ///     manager.revoke_self(&Actor::from(key).because("logged out")).await?;
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`KeyManager::own_key`].
    pub async fn revoke_self(&self, actor: &Actor) -> Result<KeyRecord, ManageError> {
        self.run_as_holder(actor, WorkKind::Revoke, |manager, actor, own| async move {
            manager.revoke_visible(&actor, own.id()).await
        })
        .await
    }
}
