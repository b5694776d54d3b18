//! Revocation and removal.

use super::{
    Actor, KeyEventKind, KeyManager, ManageError,
    concurrency::WorkKind,
    run::{is_version_conflict, retried},
};
use crate::{
    permission::Action,
    record::{KeyId, KeyRecord, Status},
    store::RegistryError,
};

impl KeyManager {
    /// Revokes a key permanently. The next request with it is rejected. The record is kept, so that
    /// logs can report the use of a revoked key.
    ///
    /// The predecessor of the key keeps its grace period. Revoking a revoked key succeeds, changes
    /// nothing, and calls no hook.
    ///
    /// ```
    /// use tower_api_key::{KeyId, KeyManager, Status, manage::{Actor, ManageError}};
    ///
    /// async fn leaked(manager: &KeyManager, admin: &Actor, id: KeyId) -> Result<(), ManageError> {
    ///     let record = manager.revoke(admin, id).await?;
    ///     assert_eq!(record.status(), Status::Revoked);
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ManageError::NotFound`], [`ManageError::PermissionDenied`] (`delete`).
    pub async fn revoke(&self, actor: &Actor, id: impl Into<KeyId>) -> Result<KeyRecord, ManageError> {
        let id = id.into();
        self.run_as(actor, Action::DELETE, WorkKind::Revoke, move |manager, actor| {
            let id = id.clone();
            async move { manager.revoke_visible(&actor, &id).await }
        })
        .await
    }

    /// Revokes a key that the actor sees.
    pub(super) async fn revoke_visible(&self, actor: &Actor, id: &KeyId) -> Result<KeyRecord, ManageError> {
        if actor.requires_version(None) {
            return retried(is_version_conflict, || self.revoke_at_version(actor, id)).await;
        }
        self.visible_key(actor, id).await?;
        match self.0.registry.clone().revoke(id.clone(), self.context_of(actor)).await {
            Err(ManageError::Registry(RegistryError::Revoked(_))) => self.visible_key(actor, id).await,
            revoked => revoked.inspect(|revoked| self.notify(KeyEventKind::Revoked, revoked, None, actor)),
        }
    }

    /// Revokes a key of the version that the actor requires. An update compares the version with
    /// that of the stored record.
    async fn revoke_at_version(&self, actor: &Actor, id: &KeyId) -> Result<KeyRecord, ManageError> {
        let read = self.visible_key(actor, id).await?;
        actor.check_version(None, &read)?;
        if read.status() == Status::Revoked {
            return Ok(read);
        }
        let revoked = read.with_status(Status::Revoked);
        let revoked = self.0.registry.clone().update(revoked, self.context_of(actor)).await;
        revoked.inspect(|revoked| self.notify(KeyEventKind::Revoked, revoked, None, actor))
    }

    /// Deletes a key with its record. To keep the record, [revoke](KeyManager::revoke) the key.
    ///
    /// ```
    /// # use tower_api_key::{KeyId, KeyManager, manage::{Actor, ManageError}};
    /// # async fn f(manager: &KeyManager, admin: &Actor, id: KeyId) -> Result<(), ManageError> {
    /// let removed = manager.remove(admin, id).await?;
    /// println!("deleted {}", removed.id());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ManageError::NotFound`], [`ManageError::PermissionDenied`] (`delete`).
    pub async fn remove(&self, actor: &Actor, id: impl Into<KeyId>) -> Result<KeyRecord, ManageError> {
        let id = id.into();
        self.run_as(actor, Action::DELETE, WorkKind::Revoke, move |manager, actor| {
            let id = id.clone();
            async move {
                manager.visible_key(&actor, &id).await?;
                let removed = manager.0.registry.clone().remove(id, manager.context_of(&actor)).await?;
                manager.notify(KeyEventKind::Removed, &removed, None, &actor);
                Ok(removed)
            }
        })
        .await
    }

    /// Deletes all keys of a user in the actor's organization, and returns their number. Call it
    /// when a user leaves. Service-account keys stay.
    ///
    /// ```
    /// # use tower_api_key::{KeyManager, manage::{Actor, ManageError}};
    /// # async fn left(manager: &KeyManager, admin: &Actor) -> Result<(), ManageError> {
    /// let count = manager.remove_user_keys(admin, "alice").await?;
    /// println!("deleted {count} keys of alice");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ManageError::PermissionDenied`] (`delete`), [`ManageError::OwnKeysOnly`],
    /// [`ManageError::EnvironmentRestricted`].
    pub async fn remove_user_keys(&self, actor: &Actor, user: impl Into<String>) -> Result<usize, ManageError> {
        let user = user.into();
        self.run_as(actor, Action::DELETE, WorkKind::Revoke, move |manager, actor| {
            let user = user.clone();
            async move {
                if actor.is_own_keys_only() {
                    return Err(ManageError::OwnKeysOnly);
                }
                if actor.environment().is_some() {
                    return Err(ManageError::EnvironmentRestricted);
                }
                let organization = actor.organization().map(str::to_owned);
                let context = manager.context_of(&actor);
                let removed = manager.0.registry.clone().remove_user(organization, user, context).await?;
                for record in &removed {
                    manager.notify(KeyEventKind::Removed, record, None, &actor);
                }
                Ok(removed.len())
            }
        })
        .await
    }
}
