//! Changes of a key's name, permissions, roles, status, times, addresses, metadata, plan and
//! limits.

use super::{
    Actor, KeyEventKind, KeyManager, ManageError, UpdateKey,
    addresses::widens,
    concurrency::WorkKind,
    issue::check_times,
    roles::check_roles,
    run::{is_version_conflict, retried},
    to_micros,
    update_key::TimeEdit,
    validation::{check_metadata, check_permissions, checked_name},
};
use crate::{
    permission::Action,
    record::{KeyId, KeyRecord, Status},
};

impl KeyManager {
    /// Changes the name, the permissions, the roles, the times, the addresses, the metadata, the
    /// plan or the limits of a key, or disables or enables it. The next request with the key sees
    /// the change.
    ///
    /// If the actor's key has an expiry, a key that the edit enables, extends, or gives permissions
    /// or addresses must not expire later. If the actor's key has a list of addresses, such a key
    /// must not be accepted from others. The actor can always set a sooner expiry, a later start
    /// and fewer addresses.
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
    /// - [`ManageError::Name`], [`ManageError::Metadata`], [`ManageError::PermissionName`],
    ///   [`ManageError::TooManyPermissions`], [`ManageError::RoleName`],
    ///   [`ManageError::UnknownRole`].
    /// - [`ManageError::Escalation`] if the key would have a permission that the actor lacks, even
    ///   if it had the permission before. Disabling a key, an earlier expiry, a later start and
    ///   fewer addresses need no permission but `update`.
    /// - [`ManageError::Expiry`] if the edit sets times at which the key would never work.
    /// - [`ManageError::OutlivesActor`] if the key expires later than the actor's, and the edit
    ///   enables it, adds a permission, a role or an address, or makes its expiry later or its
    ///   start earlier.
    /// - [`ManageError::AddressEscalation`] if the key is accepted from an address from which the
    ///   actor's is not, and the edit is one of these; [`ManageError::TooManyNetworks`].
    /// - [`ManageError::LifetimeTooLong`], [`ManageError::LifetimeTooShort`],
    ///   [`ManageError::ExpiryRequired`] if the edit sets an expiry that breaks the
    ///   [`ExpiryPolicy`](super::ExpiryPolicy).
    /// - [`ManageError::OperatorRequired`], [`ManageError::Limits`] if the edit sets a plan or
    ///   limits.
    /// - [`ManageError::VersionMismatch`], see [`UpdateKey::at_version`].
    /// - [`RegistryError::Revoked`](crate::store::RegistryError::Revoked);
    ///   [`RegistryError::ImmutableField`](crate::store::RegistryError::ImmutableField) for a later
    ///   expiry of a replaced key.
    pub async fn edit(&self, actor: &Actor, id: impl Into<KeyId>, edit: UpdateKey) -> Result<KeyRecord, ManageError> {
        let id = id.into();
        let kind = if edit.only_disables() { WorkKind::Revoke } else { WorkKind::Add };
        self.run_as(actor, Action::UPDATE, kind, move |manager, actor| {
            let (id, edit) = (id.clone(), edit.clone());
            async move {
                let (before, after) = retried(is_version_conflict, || manager.try_edit(&actor, &id, &edit)).await?;
                if before.version() != after.version() {
                    manager.notify(KeyEventKind::of_update(&before, &after), &after, None, &actor);
                }
                Ok(after)
            }
        })
        .await
    }

    /// Disables a key. The actor needs only `apiKeys: update`, and a concurrent change does not
    /// make the call fail.
    ///
    /// An actor with `apiKeys: update` and the permissions of the key can enable it again, even the
    /// user who owns it. To end a key permanently, [revoke](KeyManager::revoke) it.
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
        let changed = self.edited(actor, &before, edit).await?;
        actor.check_version(edit.version, &before)?;
        let is_switched = before.status() != changed.status();
        if edit.only_switches() && !is_switched {
            return Ok((before, changed));
        }
        let after = if edit.only_disables() && !actor.requires_version(edit.version) {
            self.0.registry.clone().disable(id.clone(), self.context_of(actor)).await?
        } else {
            self.0.registry.clone().update(changed, self.context_of(actor)).await?
        };
        Ok((before, after))
    }

    async fn edited(&self, actor: &Actor, before: &KeyRecord, edit: &UpdateKey) -> Result<KeyRecord, ManageError> {
        let mut record = before.clone();
        if let Some(name) = &edit.name {
            record = record.with_name(checked_name(name)?);
        }
        if let Some(permissions) = &edit.permissions {
            check_permissions(permissions)?;
            record = record.with_permissions(permissions.clone());
        }
        if let Some(roles) = &edit.roles {
            check_roles(roles)?;
            record = record.with_roles(roles.clone());
        }
        if let Some(enabled) = edit.enabled {
            record = record.with_status(if enabled { Status::Active } else { Status::Disabled });
        }
        if edit.edits_metadata() {
            let metadata = edit.edited_metadata(before);
            check_metadata(
                edit.metadata.iter().filter_map(|(name, text)| Some((name, text.as_ref()?))),
                metadata.len(),
            )?;
            record = record.with_all_metadata(metadata);
        }
        if let Some(TimeEdit(instant)) = edit.not_before {
            record = record.with_not_before(instant.map(to_micros));
        }
        if let Some(TimeEdit(instant)) = edit.expires_at {
            record = record.with_expires_at(instant.map(to_micros));
        }
        if let Some(addresses) = &edit.addresses {
            record = addresses.apply(record)?;
        }
        let record = edit.limits.apply(self, actor, record)?;
        let is_retimed = (before.not_before(), before.expires_at()) != (record.not_before(), record.expires_at());
        if is_retimed {
            check_times(self.now(), record.not_before(), record.expires_at())?;
        }
        if edit.expires_at.is_some() {
            self.check_edited_end(&record)?;
        }
        let opens = works_longer(before, &record) || widens(before, &record);
        let grants_the_same =
            before.permissions() == record.permissions() && before.role_names() == record.role_names();
        let is_own = actor.key_id() == Some(before.id()) && grants_the_same;
        if opens || !edit.only_takes_away() && !is_own {
            self.check_grants(actor, &record).await?;
        }
        let enables = before.status() == Status::Disabled && record.status() == Status::Active;
        let adds = before.permissions().first_beyond(record.permissions()).is_some()
            || record.role_names().iter().any(|role| !before.role_names().contains(role));
        if enables || adds || opens {
            actor.check_addresses(record.allowed_addresses())?;
            if actor.ends_before(self.0.validity.end(&record)) {
                return Err(ManageError::OutlivesActor);
            }
        }
        Ok(record)
    }
}

/// Returns whether the times of the changed record accept the key at an instant at which those of
/// the other do not.
fn works_longer(before: &KeyRecord, after: &KeyRecord) -> bool {
    let ends_later = match (before.expires_at(), after.expires_at()) {
        (None, _) => false,
        (Some(_), None) => true,
        (Some(end), Some(other)) => other > end,
    };
    // Without a start, a key works from the beginning of time: `None` is less than every instant.
    ends_later || after.not_before() < before.not_before()
}
