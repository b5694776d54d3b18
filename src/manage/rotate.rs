//! A new key in the place of an old one: at once, or with grace.

use super::{
    Actor, Issued, KeyEventKind, KeyManager, ManageError, Rotation, check_no_escalation,
    issue::{check_times, new_id},
    retried, to_micros,
};
use crate::{
    permission::Action,
    record::{KeyId, KeyRecord, Owner, Status},
    store::RegistryError,
};

impl KeyManager {
    /// Puts a new key in the place of an old one, in one step: the old one is refused from the very next request on. If the step fails,
    /// the old one works as before.
    ///
    /// The new key has the name, the permissions and the expiry of the old one; it is disabled if the old one was. Replaced by an actor whose
    /// key expires, it expires no later than that. A key that the old one
    /// had replaced, and that is still in grace, is revoked: of the keys that replaced one another, none but the newest and the one before
    /// it works.
    ///
    /// # Errors
    ///
    /// [`ManageError::NotFound`], [`ManageError::PermissionDenied`] (`update`), [`ManageError::Escalation`], [`ManageError::NotOwner`],
    /// [`ManageError::Expired`], [`RegistryError::Revoked`], [`RegistryError::Replaced`].
    pub async fn regenerate(&self, actor: &Actor, id: impl Into<KeyId>) -> Result<Issued, ManageError> {
        self.replace_key(actor, id.into(), None).await
    }

    /// Puts a new key beside an old one, which then stops by itself: after the grace, at its own expiry, or when the actor's key expires,
    /// whichever comes first. An earlier
    /// grace ends at once, as with [`KeyManager::regenerate`].
    ///
    /// # Errors
    ///
    /// As [`KeyManager::regenerate`]; [`ManageError::OutlivesActor`] if the new key was to expire later than the actor's; [`ManageError::Expiry`] if the new key would never work, or the grace has no end.
    pub async fn rotate(&self, actor: &Actor, id: impl Into<KeyId>, rotation: Rotation) -> Result<Issued, ManageError> {
        self.replace_key(actor, id.into(), Some(rotation)).await
    }

    async fn replace_key(&self, actor: &Actor, id: KeyId, rotation: Option<Rotation>) -> Result<Issued, ManageError> {
        self.as_actor(actor, Action::UPDATE, move |manager, actor| {
            let id = id.clone();
            async move { retried(|| manager.try_replace_key(&actor, &id, rotation)).await }
        })
        .await
    }

    async fn try_replace_key(
        &self,
        actor: &Actor,
        id: &KeyId,
        rotation: Option<Rotation>,
    ) -> Result<Issued, ManageError> {
        let old = self.visible_key(actor, id).await?;
        let now = self.now();
        self.check_replaceable(actor, &old)?;
        let key = self.0.formats.generate(old.environment())?;
        let new_id = new_id(now)?;
        let new = old
            .clone()
            .successor(new_id.clone(), self.0.hasher.digest(&key))
            .with_mask(self.mask(&key))
            .with_created_at(now)
            .with_expires_at(actor.earlier_end(old.expires_at()));
        let (kind, old, new) = match rotation {
            None => (KeyEventKind::Regenerated, old.with_status(Status::Revoked), new),
            Some(Rotation { grace, expires_at }) => {
                let asked = expires_at.map(|end| actor.end_of_new(Some(to_micros(end)))).transpose()?;
                let expires_at = asked.flatten().or(new.expires_at());
                let end_of_grace = now.checked_add(grace).map(to_micros).ok_or(ManageError::Expiry)?;
                check_times(now, new.not_before(), expires_at)?;
                let end = actor.earlier_end(old.expires_at().into_iter().chain([end_of_grace]).min());
                (KeyEventKind::Rotated, old.with_expires_at(end), new.with_expires_at(expires_at))
            }
        };
        let old = old.with_replaced_by(new_id.clone());
        let done = self.0.registry.clone().replace(old, new.clone(), self.key_of(actor)).await?;
        self.notify(kind, &done.old, Some(new_id), actor);
        if let Some(ended) = &done.ended {
            self.notify(KeyEventKind::Revoked, ended, None, actor);
        }
        Ok(Issued { key, record: new })
    }

    /// Whether the actor may see the text of a key that stands in the place of this one.
    fn check_replaceable(&self, actor: &Actor, old: &KeyRecord) -> Result<(), ManageError> {
        let id = || old.id().clone();
        if matches!(old.owner(), Some(Owner::User(_))) && old.owner() != actor.owner() {
            return Err(ManageError::NotOwner(id()));
        }
        check_no_escalation(actor, old.permissions())?;
        if old.status() == Status::Revoked {
            return Err(RegistryError::Revoked(id()).into());
        }
        if old.replaced_by().is_some() {
            return Err(RegistryError::Replaced(id()).into());
        }
        if old.expires_at().is_some_and(|end| end <= self.now()) {
            return Err(ManageError::Expired(id()));
        }
        Ok(())
    }
}
