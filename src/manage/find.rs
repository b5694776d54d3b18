//! Finding a key by its own text.

use std::sync::Arc;

use super::{Actor, CALL_TIMEOUT, KeyManager, ManageError, concurrency::WorkKind};
use crate::{
    key::{ApiKey, Digests, KeyHasher},
    permission::Action,
    record::KeyRecord,
    store::Fault,
};

impl KeyManager {
    /// Returns the key with this text, if the actor sees it: for the one who has found a key in a
    /// log or a repository, and has nothing but the key.
    ///
    /// It looks the key up under every pepper of the hasher. It is not a use of the key: it counts
    /// nothing, rehashes nothing and emits no event, and a revoked or expired key is found too.
    /// White space around the text is ignored. The text is wiped after it was hashed.
    ///
    /// Do not put the text into a URL, which servers write into their logs.
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
    /// actor with a key, so that no caller can use the service to test guesses.
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
        let found = Arc::clone(&self.0.store).find(digests.clone(), CALL_TIMEOUT).await;
        let found = found.map_err(|fault| match fault {
            Fault::Failed(error) => ManageError::Store(error),
            Fault::Slow => ManageError::Store("the key store did not answer in time".into()),
        })?;
        // A cache may hold an earlier version, and a store may return another key's record.
        let Some(found) = found.filter(|found| digests.iter().any(|digest| digest == found.digest())) else {
            return Ok(None);
        };
        let current = self.0.registry.clone().get(found.id().clone()).await?;
        Ok(current.filter(|record| actor.sees(record)))
    }
}

/// The digests under which the key can be stored.
fn digests(hasher: &KeyHasher, key: &ApiKey) -> Digests {
    let newest = hasher.digest(key);
    let mut digests = Digests::from(newest);
    digests.rest.extend(hasher.others(key.expose().as_bytes(), newest));
    digests
}
