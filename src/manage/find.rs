//! Finds a key by its text.

use std::sync::Arc;

use super::{Actor, CALL_TIMEOUT, KeyManager, ManageError, concurrency::WorkKind};
use crate::{
    key::{ApiKey, Digests, KeyHasher},
    permission::Action,
    record::{KeyId, KeyRecord},
    store::Fault,
};

impl KeyManager {
    /// Returns the key with this text, if the actor sees it. Use it for a key that was found in a
    /// log or a repository.
    ///
    /// It looks the key up under every pepper of the hasher, and finds revoked and expired keys
    /// too. It does not count as a use of the key, rehashes nothing and has no event. It ignores
    /// white space around the text, and wipes its own copy of the text.
    ///
    /// Do not put the text into a URL: servers log URLs.
    ///
    /// ```
    /// use tower_api_key::{KeyManager, Owner, Permissions, manage::{Actor, ManageError}};
    ///
    /// # async fn leaked(manager: &KeyManager, text: &str) -> Result<(), ManageError> {
    /// let permissions = Permissions::new().grant("apiKeys", "read").grant("apiKeys", "delete");
    /// let operator = Actor::trusted(Owner::User("operator".into()), permissions).across_organizations();
    /// if let Some(record) = manager.find_by_key(&operator, text).await? {
    ///     manager.revoke(&operator.because("found in a log"), record.id().clone()).await?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ManageError::PermissionDenied`] (`read`); [`ManageError::TrustedActorRequired`] for an
    /// actor with a key, so that no holder of a key can test guessed keys.
    pub async fn find_by_key(&self, actor: &Actor, text: &str) -> Result<Option<KeyRecord>, ManageError> {
        let digests = ApiKey::new(text.trim()).ok().map(|key| digests(&self.0.hasher, &key));
        self.run_as(actor, Action::READ, WorkKind::Read, move |manager, actor| {
            let digests = digests.clone();
            async move {
                if actor.key_id().is_some() {
                    return Err(ManageError::TrustedActorRequired);
                }
                match digests {
                    Some(digests) => manager.stored_under(digests, &actor).await,
                    None => Ok(None),
                }
            }
        })
        .await
    }

    async fn stored_under(&self, digests: Digests, actor: &Actor) -> Result<Option<KeyRecord>, ManageError> {
        Ok(self.current_record(digests).await?.filter(|record| actor.sees(record)))
    }

    /// Returns the record that is stored under one of these digests, as it is now.
    pub(super) async fn current_record(&self, digests: Digests) -> Result<Option<KeyRecord>, ManageError> {
        let found = Arc::clone(&self.0.store).find(digests.clone(), CALL_TIMEOUT).await;
        let found = found.map_err(|fault| match fault {
            Fault::Failed(error) | Fault::OwnerRights(error) | Fault::Roles(error) => ManageError::Store(error),
            Fault::Slow => ManageError::Store("the key store did not answer in time".into()),
        })?;
        // A cache may hold an earlier version, and a store may return another key's record.
        let found = found.filter(|found| digests.iter().any(|digest| digest == found.digest()));
        // An unknown key costs as much as one that the actor does not see. No key has an empty id.
        let id = found.as_ref().map_or_else(|| KeyId::from(""), |found| found.id().clone());
        let current = self.0.registry.clone().get(id).await?;
        Ok(current.filter(|_| found.is_some()))
    }
}

/// The digests under which the key can be stored.
pub(super) fn digests(hasher: &KeyHasher, key: &ApiKey) -> Digests {
    let newest = hasher.digest(key);
    let mut digests = Digests::from(newest);
    digests.rest.extend(hasher.others(key.expose().as_bytes(), newest));
    digests
}
