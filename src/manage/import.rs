//! Keys of other systems.

use std::sync::Arc;

use super::{
    Actor, CALL_TIMEOUT, KeyEventKind, KeyManager, ManageError, NewKey, call_details::CallDetails,
    concurrency::WorkKind, idempotency::Request, issue::environment,
};
use crate::{
    key::{ApiKey, Digests, FormatError, KeyDigest},
    permission::Action,
    record::{KeyId, KeyRecord, Limiting},
    store::{Fault, RegistryError},
};

impl KeyManager {
    /// Imports a key of another system by its plain text.
    ///
    /// The manager accepts formats of other systems after
    /// [`also_accept`](super::KeyManagerBuilder::also_accept) or
    /// [`accept_any_format`](super::KeyManagerBuilder::accept_any_format).
    ///
    /// ```
    /// use tower_api_key::{ApiKey, KeyFormat, KeyManager, Owner, Permissions, store::MemoryStore};
    /// use tower_api_key::manage::{Actor, NewKey};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let format = KeyFormat::new("acme")?;
    /// let manager =
    ///     KeyManager::builder(MemoryStore::new()).format(format).accept_any_format().build()?;
    /// let permissions = Permissions::new().grant("apiKeys", "create");
    /// let admin = Actor::trusted(Owner::ServiceAccount, permissions);
    /// let key: ApiKey = "51FwqftsmMDHHbJAMEXXHCgG".parse()?;
    /// let record = manager.import(&admin, &key, NewKey::service_account("legacy")).await?;
    /// assert_eq!(record.name(), Some("legacy"));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`KeyManager::issue`], and:
    ///
    /// - [`ManageError::Format`] for a key that is too long, has no format that the layer
    ///   accepts, has a wrong checksum, or has the format of another environment.
    /// - [`ManageError::UnsupportedKeyCharacters`] for a key that no scheme can carry. The schemes
    ///   are those of all layers built from this manager. Before the first layer is built, they are
    ///   those of [`KeyManagerBuilder::schemes`](super::KeyManagerBuilder::schemes).
    /// - [`ManageError::KeyShown`] if another text contains the key.
    /// - [`RegistryError::DuplicateDigest`].
    pub async fn import(&self, actor: &Actor, key: &ApiKey, new: NewKey) -> Result<KeyRecord, ManageError> {
        let (key, digest) = (key.clone(), self.0.hasher.digest(key));
        self.run_as(actor, Action::CREATE, WorkKind::Add, move |manager, actor| {
            let (key, new) = (key.clone(), new.clone());
            async move {
                check_hidden(&key, &actor, [], &new)?;
                let idempotency = manager.idempotency_key(&actor, Request::import(&digest, &new)).await?;
                let environment = environment(&actor, &new)?;
                manager.check_importable(&key, digest, environment.as_deref()).await?;
                let record = manager.draft(&actor, new, environment, digest).await?;
                let record = record.with_mask(manager.mask(&key));
                manager.insert(&actor, KeyEventKind::Imported, &record, idempotency).await?;
                Ok(record)
            }
        })
        .await
    }

    /// Imports a key of another system by its digest, which must be from the manager's own hasher.
    ///
    /// Without the plain text, the manager cannot check the format of the key, whether a scheme can
    /// carry it, or whether the store has it under another pepper. A layer accepts the key only if
    /// it has a format of the manager, or if the layer accepts any format.
    ///
    /// ```
    /// use tower_api_key::{KeyManager, KeyRecord, manage::{Actor, ManageError, NewKey}};
    ///
    /// async fn import(
    ///     manager: &KeyManager,
    ///     admin: &Actor,
    ///     sha256: [u8; 32],
    /// ) -> Result<KeyRecord, ManageError> {
    ///     manager.import_digest(admin, sha256, NewKey::service_account("legacy")).await
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`KeyManager::issue`]; [`RegistryError::DuplicateDigest`].
    pub async fn import_digest(
        &self,
        actor: &Actor,
        digest: impl Into<KeyDigest>,
        new: NewKey,
    ) -> Result<KeyRecord, ManageError> {
        let digest = digest.into();
        self.run_as(actor, Action::CREATE, WorkKind::Add, move |manager, actor| {
            let new = new.clone();
            async move {
                let idempotency = manager.idempotency_key(&actor, Request::import(&digest, &new)).await?;
                let environment = environment(&actor, &new)?;
                let record = manager.draft(&actor, new, environment, digest).await?;
                manager.insert(&actor, KeyEventKind::Imported, &record, idempotency).await?;
                Ok(record)
            }
        })
        .await
    }

    /// Rejects a key that no layer would accept, or that is stored already.
    pub(super) async fn check_importable(
        &self,
        key: &ApiKey,
        digest: KeyDigest,
        environment: Option<&str>,
    ) -> Result<(), ManageError> {
        if key.expose().len() > self.0.max_key_len {
            return Err(FormatError::TooLong(self.0.max_key_len).into());
        }
        self.0.formats.check_imported(key, environment)?;
        self.0.policies.check_carried(key)?;
        self.check_other_peppers(key, digest).await
    }

    /// Rejects a key that the store has under another pepper. The stored record may be revoked, and
    /// an import would make the key valid again.
    async fn check_other_peppers(&self, key: &ApiKey, newest: KeyDigest) -> Result<(), ManageError> {
        let mut others = self.0.hasher.others(key.expose().as_bytes(), newest);
        let Some(first) = others.next() else {
            return Ok(());
        };
        let digests = Digests { first, rest: others.collect() };
        match Arc::clone(&self.0.store).find(digests, CALL_TIMEOUT).await {
            Ok(None) => Ok(()),
            Ok(Some(_)) => Err(RegistryError::DuplicateDigest.into()),
            Err(Fault::Failed(error) | Fault::OwnerRights(error) | Fault::Roles(error)) => {
                Err(ManageError::Store(error))
            }
            Err(Fault::Slow) => Err(ManageError::Store("the key store timed out".into())),
        }
    }
}

/// A shorter key may be a part of a text by chance, so only an equal text is rejected.
const SHORTEST_PART: usize = 8;

/// Rejects texts that contain the key: they are stored, shown and logged as they are. `others` are
/// those beside the actor's and the new key's. Call it before any error can repeat one of them.
pub(super) fn check_hidden<'t>(
    key: &ApiKey,
    actor: &'t Actor,
    others: impl IntoIterator<Item = &'t str>,
    new: &'t NewKey,
) -> Result<(), ManageError> {
    let key = key.expose();
    let shows = |text: &str| text == key || (key.len() >= SHORTEST_PART && text.contains(key));
    let NewKey {
        is_bot: _,
        name,
        permissions,
        roles,
        environment,
        not_before: _,
        expires_at: _,
        metadata,
        addresses: _,
        limiting: Limiting { plan, numbers, meter },
    } = new;
    let CallDetails { reason, request_id, address: _, versions: _, idempotency_key, operator } = &actor.details;
    let optional = [environment, reason, request_id, idempotency_key, operator].into_iter().flatten();
    let texts = [name].into_iter().chain(optional).chain(roles).map(String::as_str).chain(others);
    let metadata = metadata.iter().flat_map(|(name, text)| [name, text]).map(String::as_str);
    let limiting = plan.as_deref().into_iter().chain(meter.as_ref().map(KeyId::as_str));
    let limiting = limiting.chain(numbers.keys().map(|name| &**name));
    let is_granted =
        |(resource, actions): (&str, &[Action])| shows(resource) || actions.iter().any(|action| shows(action.as_str()));
    let is_shown = texts.chain(metadata).chain(limiting).any(shows) || permissions.iter().any(is_granted);
    if is_shown { Err(ManageError::KeyShown) } else { Ok(()) }
}
