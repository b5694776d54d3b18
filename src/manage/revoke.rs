//! The end of a key.

use super::{Actor, KeyEventKind, KeyManager, ManageError};
use crate::{
    permission::Action,
    record::{KeyId, KeyRecord},
    store::RegistryError,
};

impl KeyManager {
    /// Switches a key off for good. The very next request with it is refused. A key that it has replaced, and that is still in grace,
    /// goes on. Revoking a revoked key changes nothing, and is told to nobody.
    ///
    /// # Errors
    ///
    /// [`ManageError::NotFound`], [`ManageError::PermissionDenied`] (`delete`).
    pub async fn revoke(&self, actor: &Actor, id: impl Into<KeyId>) -> Result<KeyRecord, ManageError> {
        let id = id.into();
        self.as_actor(actor, Action::DELETE, move |manager, actor| {
            let id = id.clone();
            async move {
                manager.visible_key(&actor, &id).await?;
                match manager.0.registry.clone().revoke(id.clone(), manager.key_of(&actor)).await {
                    Err(ManageError::Registry(RegistryError::Revoked(_))) => manager.visible_key(&actor, &id).await,
                    revoked => revoked.inspect(|revoked| manager.notify(KeyEventKind::Revoked, revoked, None, &actor)),
                }
            }
        })
        .await
    }

    /// Removes a key and its record, so that nothing is left to look up. [`KeyManager::revoke`] keeps the record.
    ///
    /// # Errors
    ///
    /// [`ManageError::NotFound`], [`ManageError::PermissionDenied`] (`delete`).
    pub async fn remove(&self, actor: &Actor, id: impl Into<KeyId>) -> Result<KeyRecord, ManageError> {
        let id = id.into();
        self.as_actor(actor, Action::DELETE, move |manager, actor| {
            let id = id.clone();
            async move {
                manager.visible_key(&actor, &id).await?;
                let removed = manager.0.registry.clone().remove(id, manager.key_of(&actor)).await?;
                manager.notify(KeyEventKind::Removed, &removed, None, &actor);
                Ok(removed)
            }
        })
        .await
    }

    /// Removes every key of a user who leaves the actor's organization, and returns how many there were. Bot keys stay.
    ///
    /// # Errors
    ///
    /// [`ManageError::PermissionDenied`] (`delete`), [`ManageError::OwnKeysOnly`], [`ManageError::EnvironmentRestricted`].
    pub async fn remove_user_keys(&self, actor: &Actor, user: impl Into<String>) -> Result<usize, ManageError> {
        let user = user.into();
        self.as_actor(actor, Action::DELETE, move |manager, actor| {
            let user = user.clone();
            async move {
                if actor.is_own_keys_only() {
                    return Err(ManageError::OwnKeysOnly);
                }
                if actor.environment().is_some() {
                    return Err(ManageError::EnvironmentRestricted);
                }
                let organization = actor.organization().map(str::to_owned);
                let key = manager.key_of(&actor);
                let removed = manager.0.registry.clone().remove_user(organization, user, key).await?;
                for record in &removed {
                    manager.notify(KeyEventKind::Removed, record, None, &actor);
                }
                Ok(removed.len())
            }
        })
        .await
    }
}
