//! Changes of a key's name, permissions and status.

use super::{
    Actor, KeyEventKind, KeyManager, ManageError, UpdateKey, check_no_escalation,
    concurrency::WorkKind,
    run::{is_version_conflict, retried},
    validation::{check_permissions, checked_name},
};
use crate::{
    permission::Action,
    record::{KeyId, KeyRecord, Status},
};

impl KeyManager {
    /// Changes the name or the permissions of a key, or disables or enables it. The next request
    /// with the key sees the change.
    ///
    /// ```
    /// use tower_api_key::{KeyId, KeyManager, KeyRecord, Permissions};
    /// use tower_api_key::manage::{Actor, ManageError, UpdateKey};
    ///
    /// async fn make_read_only(
    ///     manager: &KeyManager,
    ///     admin: &Actor,
    ///     id: KeyId,
    /// ) -> Result<KeyRecord, ManageError> {
    ///     let read_only = Permissions::new().grant("links", "read");
    ///     manager.edit(admin, id, UpdateKey::new().permissions(read_only)).await
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// - [`ManageError::NotFound`], [`ManageError::PermissionDenied`] (`update`).
    /// - [`ManageError::Name`], [`ManageError::PermissionName`],
    ///   [`ManageError::TooManyPermissions`].
    /// - [`ManageError::Escalation`] if the key would have a permission that the actor lacks, even
    ///   if it had the permission before.
    /// - [`ManageError::OutlivesActor`] if the key expires later than the actor's, and the edit
    ///   enables it or adds a permission.
    /// - [`RegistryError::Revoked`](crate::store::RegistryError::Revoked).
    pub async fn edit(&self, actor: &Actor, id: impl Into<KeyId>, edit: UpdateKey) -> Result<KeyRecord, ManageError> {
        let id = id.into();
        let kind = if edit.only_disables() { WorkKind::Revoke } else { WorkKind::Add };
        self.run_as(actor, Action::UPDATE, kind, move |manager, actor| {
            let (id, edit) = (id.clone(), edit.clone());
            async move {
                let (before, after) = retried(is_version_conflict, || manager.try_edit(&actor, &id, &edit)).await?;
                if before.version() != after.version() {
                    manager.notify(Self::kind(&before, &after), &after, None, &actor);
                }
                Ok(after)
            }
        })
        .await
    }

    /// Disables a key. The actor needs only `apiKeys: update`, and a concurrent change does not
    /// make the call fail.
    ///
    /// Every actor with `apiKeys: update` can enable the key again, including the user that owns
    /// it. To end a key permanently, [revoke](KeyManager::revoke) it.
    ///
    /// ```
    /// # use tower_api_key::{KeyId, KeyManager, manage::{Actor, ManageError}};
    /// # async fn f(manager: &KeyManager, admin: &Actor, id: KeyId) -> Result<(), ManageError> {
    /// manager.disable(admin, id.clone()).await?;
    /// manager.enable(admin, id).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ManageError::NotFound`], [`ManageError::PermissionDenied`] (`update`),
    /// [`RegistryError::Revoked`](crate::store::RegistryError::Revoked).
    pub async fn disable(&self, actor: &Actor, id: impl Into<KeyId>) -> Result<KeyRecord, ManageError> {
        self.edit(actor, id, UpdateKey::new().enabled(false)).await
    }

    /// Enables a disabled key; [`KeyManager::disable`] has an example.
    ///
    /// # Errors
    ///
    /// Those of [`KeyManager::edit`].
    pub async fn enable(&self, actor: &Actor, id: impl Into<KeyId>) -> Result<KeyRecord, ManageError> {
        self.edit(actor, id, UpdateKey::new().enabled(true)).await
    }

    async fn try_edit(
        &self,
        actor: &Actor,
        id: &KeyId,
        edit: &UpdateKey,
    ) -> Result<(KeyRecord, KeyRecord), ManageError> {
        let before = self.visible_key(actor, id).await?;
        if edit.only_disables() && before.status() != Status::Disabled {
            let after = self.0.registry.clone().disable(id.clone(), self.context_of(actor)).await?;
            return Ok((before, after));
        }
        let changed = Self::edited(actor, &before, edit)?;
        if edit.name.is_none() && edit.permissions.is_none() && before.status() == changed.status() {
            return Ok((before, changed));
        }
        let after = self.0.registry.clone().update(changed, self.context_of(actor)).await?;
        Ok((before, after))
    }

    fn edited(actor: &Actor, before: &KeyRecord, edit: &UpdateKey) -> Result<KeyRecord, ManageError> {
        let mut record = before.clone();
        if let Some(name) = &edit.name {
            record = record.with_name(checked_name(name)?);
        }
        if let Some(permissions) = &edit.permissions {
            check_permissions(permissions)?;
            record = record.with_permissions(permissions.clone());
        }
        match edit.enabled {
            // Disabling adds nothing, so it needs no check for escalation.
            Some(false) if edit.only_disables() => return Ok(record.with_status(Status::Disabled)),
            Some(enabled) => record = record.with_status(if enabled { Status::Active } else { Status::Disabled }),
            None => {}
        }
        check_no_escalation(actor, record.permissions())?;
        let enables = before.status() == Status::Disabled && record.status() == Status::Active;
        let adds = before.permissions().first_beyond(record.permissions()).is_some();
        if (enables || adds) && actor.ends_before(&record) {
            return Err(ManageError::OutlivesActor);
        }
        Ok(record)
    }

    fn kind(before: &KeyRecord, after: &KeyRecord) -> KeyEventKind {
        match after.status() {
            status if status == before.status() => KeyEventKind::Edited,
            Status::Active => KeyEventKind::Enabled,
            Status::Disabled => KeyEventKind::Disabled,
            Status::Revoked => KeyEventKind::Revoked,
        }
    }
}
