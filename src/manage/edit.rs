//! Changes to a key that stays the same key.

use super::{
    Actor, KeyEventKind, KeyManager, ManageError, UpdateKey, WorkKind, check_no_escalation, check_permissions,
    checked_name, retried,
};
use crate::{
    permission::Action,
    record::{KeyId, KeyRecord, Status},
};

impl KeyManager {
    /// Changes the name or the permissions of a key, or switches it off or on. The next request sees it.
    ///
    /// # Errors
    ///
    /// [`ManageError::NotFound`], [`ManageError::PermissionDenied`] (`update`), [`ManageError::Name`], [`ManageError::PermissionName`],
    /// [`ManageError::TooManyPermissions`]; [`ManageError::Escalation`] if the key would
    /// then hold what the actor lacks, even if it did so before; [`ManageError::OutlivesActor`] if the edit enables a key that ends later than the
    /// actor's, or gives it more; [`RegistryError::Revoked`](crate::store::RegistryError::Revoked).
    pub async fn edit(&self, actor: &Actor, id: impl Into<KeyId>, edit: UpdateKey) -> Result<KeyRecord, ManageError> {
        let id = id.into();
        let work = if edit.only_disables() { WorkKind::TakesAway } else { WorkKind::Adds };
        self.in_turn(actor, Action::UPDATE, work, move |manager, actor| {
            let (id, edit) = (id.clone(), edit.clone());
            async move {
                let (before, after) = retried(|| manager.try_edit(&actor, &id, &edit)).await?;
                for kind in Self::kinds(&before, &after, &edit) {
                    manager.notify(kind, &after, None, &actor);
                }
                Ok(after)
            }
        })
        .await
    }

    /// Switches a key off, for now. This gives nobody anything, so it needs `apiKeys: update` and nothing else; and no change that others make
    /// meanwhile keeps it from being done. Whoever may update the key can
    /// enable it again, its own user among them: to end it for good, [revoke](KeyManager::revoke) it.
    ///
    /// # Errors
    ///
    /// [`ManageError::NotFound`], [`ManageError::PermissionDenied`] (`update`), [`RegistryError::Revoked`](crate::store::RegistryError::Revoked).
    pub async fn disable(&self, actor: &Actor, id: impl Into<KeyId>) -> Result<KeyRecord, ManageError> {
        self.edit(actor, id, UpdateKey::new().enabled(false)).await
    }

    /// Switches a key on again.
    ///
    /// # Errors
    ///
    /// As [`KeyManager::edit`].
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
            let after = self.0.registry.clone().disable(id.clone(), self.key_of(actor)).await?;
            return Ok((before, after));
        }
        let changed = Self::edited(actor, &before, edit)?;
        if edit.name.is_none() && edit.permissions.is_none() && before.status() == changed.status() {
            return Ok((before, changed));
        }
        let after = self.0.registry.clone().update(changed, self.key_of(actor)).await?;
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
            // What only takes away is not asked what it hands on.
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

    fn kinds(before: &KeyRecord, after: &KeyRecord, edit: &UpdateKey) -> Vec<KeyEventKind> {
        let switched = (before.status() != after.status())
            .then(|| if after.status() == Status::Active { KeyEventKind::Enabled } else { KeyEventKind::Disabled });
        let edited = (edit.name.is_some() || edit.permissions.is_some()).then_some(KeyEventKind::Edited);
        edited.into_iter().chain(switched).collect()
    }
}
