//! Replacing a key by a new one: at once, or with a grace period.

use super::{
    Actor, Issued, KeyEventKind, KeyManager, ManageError, Rotation,
    concurrency::WorkKind,
    idempotency::Request,
    issue::{check_times, new_id},
    run::{is_version_conflict, retried},
    to_micros,
};
use crate::{
    permission::Action,
    record::{KeyId, KeyRecord, Obstacle, Owner, Status},
    store::RegistryError,
};

impl KeyManager {
    /// Replaces a key at once: the next request with the old key is rejected. If the call fails,
    /// the old key works as before.
    ///
    /// The new key has the name, permissions, roles, status, start, expiry, addresses and metadata
    /// of the old one. If the actor's key expires earlier, the new key expires with it. A
    /// predecessor that is still in its grace period is revoked.
    ///
    /// ```
    /// use tower_api_key::{KeyId, KeyManager, manage::{Actor, ManageError}};
    ///
    /// async fn replace(manager: &KeyManager, actor: &Actor, id: KeyId) -> Result<String, ManageError> {
    ///     let issued = manager.regenerate(actor, id).await?;
    ///     Ok(issued.key().expose().to_owned()) // show it once
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ManageError::NotFound`], [`ManageError::PermissionDenied`] (`update`),
    /// [`ManageError::Escalation`], [`ManageError::UnknownRole`],
    /// [`ManageError::AddressEscalation`] for a key that is accepted from more addresses than the
    /// actor's, [`ManageError::NotOwner`], [`ManageError::Expired`],
    /// [`ManageError::ExpiryRequired`] for a key without an expiry, if the policy requires one,
    /// [`RegistryError::Revoked`], [`RegistryError::Replaced`]; for an actor with an idempotency
    /// key, those that [`KeyManager::issue`] lists.
    pub async fn regenerate(&self, actor: &Actor, id: impl Into<KeyId>) -> Result<Issued, ManageError> {
        self.replace_key(actor, id.into(), None).await
    }

    /// Replaces a key with a grace period, in which both keys work.
    ///
    /// The old key expires after the grace period, at its own expiry, or at the expiry of the
    /// actor's key, whichever comes first. A predecessor that is still in an earlier grace period
    /// is revoked.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_api_key::{KeyId, KeyManager, manage::{Actor, Issued, ManageError, Rotation}};
    ///
    /// async fn rotate(
    ///     manager: &KeyManager,
    ///     actor: &Actor,
    ///     id: KeyId,
    /// ) -> Result<Issued, ManageError> {
    ///     let one_day = Duration::from_secs(86_400);
    ///     manager.rotate(actor, id, Rotation::grace_period(one_day)).await
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`KeyManager::regenerate`], and:
    ///
    /// - [`ManageError::OutlivesActor`] if the requested expiry is later than that of the actor's
    ///   key.
    /// - [`ManageError::LifetimeTooLong`], [`ManageError::LifetimeTooShort`] if the requested
    ///   expiry breaks the [`ExpiryPolicy`](super::ExpiryPolicy).
    /// - [`ManageError::VersionMismatch`], see [`Rotation::at_version`].
    /// - [`ManageError::Expiry`] if the new key would never work, or the end of the grace period is
    ///   not a representable time.
    pub async fn rotate(&self, actor: &Actor, id: impl Into<KeyId>, rotation: Rotation) -> Result<Issued, ManageError> {
        self.replace_key(actor, id.into(), Some(rotation)).await
    }

    async fn replace_key(&self, actor: &Actor, id: KeyId, rotation: Option<Rotation>) -> Result<Issued, ManageError> {
        let request = || Request::replacement(&id, rotation);
        let work = {
            let id = id.clone();
            move |manager: Self, actor| {
                let id = id.clone();
                async move {
                    let attempt = || async {
                        let done = manager.try_replace_key(&actor, &id, rotation).await;
                        if done.is_err() {
                            // A concurrent repeat may have replaced the key meanwhile.
                            manager.idempotency_key(&actor, Request::replacement(&id, rotation)).await?;
                        }
                        done
                    };
                    retried(is_version_conflict, attempt).await
                }
            }
        };
        match self.run_as(actor, Action::UPDATE, WorkKind::Add, work).await {
            Err(error) => Err(self.repeat_or_denial(actor, error, request()).await),
            issued => issued,
        }
    }

    async fn try_replace_key(
        &self,
        actor: &Actor,
        id: &KeyId,
        rotation: Option<Rotation>,
    ) -> Result<Issued, ManageError> {
        let idempotency = self.idempotency_key(actor, Request::replacement(id, rotation)).await?;
        let old = self.visible_key(actor, id).await?;
        let now = self.now();
        self.check_replaceable(actor, &old).await?;
        actor.check_version(rotation.and_then(|rotation| rotation.version), &old)?;
        let key = self.0.formats.generate(old.environment())?;
        let new_id = new_id(now)?;
        let new = old
            .clone()
            .successor(new_id.clone(), self.0.hasher.digest(&key))
            .with_mask(self.mask(&key))
            .with_created_at(now)
            .with_created_by(actor.author());
        let asked = rotation.and_then(|rotation| rotation.expires_at).map(to_micros);
        let expires_at = self.end_of_successor(actor, &old, now, asked)?;
        let new = new.with_expires_at(expires_at);
        let (kind, old, new) = match rotation {
            None => (KeyEventKind::Regenerated, old.with_status(Status::Revoked), new),
            Some(Rotation { grace, expires_at: _, version: _ }) => {
                let end_of_grace = now.checked_add(grace).map(to_micros).ok_or(ManageError::Expiry)?;
                check_times(now, new.not_before(), expires_at)?;
                let end = actor.earlier_end(old.expires_at().into_iter().chain([end_of_grace]).min());
                (KeyEventKind::Rotated, old.with_expires_at(end), new)
            }
        };
        let old = old.with_replaced_by(new_id.clone());
        let context = self.context_of(actor).with_idempotency_key(idempotency);
        let done = self.0.registry.clone().replace(old, new.clone(), context).await?;
        self.notify(kind, &done.old, Some(new_id), actor);
        if let Some(ended) = &done.ended {
            self.notify(KeyEventKind::Revoked, ended, None, actor);
        }
        self.notify(KeyEventKind::Issued, &new, None, actor);
        Ok(Issued { key, record: new })
    }

    /// Fails unless the actor may receive the plain text of this key's replacement.
    async fn check_replaceable(&self, actor: &Actor, old: &KeyRecord) -> Result<(), ManageError> {
        let id = || old.id().clone();
        if matches!(old.owner(), Some(Owner::User(_))) && old.owner() != actor.owner() {
            return Err(ManageError::NotOwner(id()));
        }
        // A key that replaces itself adds nothing, also if its owner has lost rights.
        if actor.key_id() != Some(old.id()) {
            self.check_grants(actor, old).await?;
        }
        actor.check_addresses(old.allowed_addresses())?;
        if old.status() == Status::Revoked {
            return Err(RegistryError::Revoked(id()).into());
        }
        if old.replaced_by().is_some() {
            return Err(RegistryError::Replaced(id()).into());
        }
        let is_over = old.expires_at().is_some_and(|end| end <= self.now());
        if is_over || self.0.validity.obstacle(old) == Some(Obstacle::Expired) {
            return Err(ManageError::Expired(id()));
        }
        Ok(())
    }
}
