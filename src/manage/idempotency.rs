//! Repeated requests: calls with the same idempotency key issue at most one key.

use std::time::{Duration, SystemTime};

use super::{Actor, KeyManager, KeyManagerBuilder, ManageError, NewKey, Rotation, to_micros};
use crate::{
    key::KeyDigest,
    permission::Action,
    record::{KeyId, Limiting},
    store::IdempotencyKey,
};

/// The maximum length of an idempotency key, in characters.
pub(crate) const MAX_IDEMPOTENCY_KEY: usize = 255;

/// The content of a request as bytes, equal for a repeat. Each text follows its length.
pub(super) struct Request(Vec<u8>);

/// The mark before a list. A text begins with 0 or 1.
#[derive(Clone, Copy)]
enum List {
    Networks = 2,
    Roles = 3,
}

// === impl Actor ===

impl Actor {
    /// Makes [`issue`](KeyManager::issue), [`regenerate`](KeyManager::regenerate) and
    /// [`rotate`](KeyManager::rotate) safe to repeat: calls with this idempotency key issue at most
    /// one API key.
    ///
    /// Choose a new text of 1 to 255 visible ASCII characters and spaces for each API key. If the
    /// response to a call is lost, repeat the call with the same text:
    ///
    /// - If the first call has issued a key, the repeat returns
    ///   [`RegistryError::AlreadyDone`](crate::store::RegistryError::AlreadyDone) with its id, even
    ///   if that key was revoked or removed since. The plain text is lost: regenerate the key, with
    ///   another text.
    /// - If the first call has failed, it stored nothing, and the repeat counts as the first call.
    /// - If the call differs from the first one, it returns
    ///   [`RegistryError::IdempotencyMismatch`](crate::store::RegistryError::IdempotencyMismatch).
    ///
    /// An idempotency key belongs to one [`author`](Self::author) in one organization. The store
    /// keeps it for [24 hours](super::KeyManagerBuilder::idempotency_lifetime).
    /// [`KeyManager::import`], [`KeyManager::import_digest`] and [`KeyManager::prepare_issue`] use
    /// it too; other calls ignore it.
    ///
    /// ```
    /// use tower_api_key::{KeyFormat, KeyManager, Owner, Permissions, manage::{Actor, ManageError, NewKey}};
    /// use tower_api_key::store::{MemoryStore, RegistryError};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let manager = KeyManager::builder(MemoryStore::new()).format(KeyFormat::new("acme")?).build()?;
    /// let service = Actor::trusted(Owner::ServiceAccount, Permissions::all_of("apiKeys"));
    /// let order = service.with_idempotency_key("order 1817");
    /// let issued = manager.issue(&order, NewKey::service_account("ci")).await?;
    ///
    /// let repeat = manager.issue(&order, NewKey::service_account("ci")).await;
    /// let Err(ManageError::Registry(RegistryError::AlreadyDone(id))) = repeat else { panic!() };
    /// assert_eq!(id, *issued.record().id());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn with_idempotency_key(mut self, text: impl Into<String>) -> Self {
        self.details.idempotency_key = Some(text.into());
        self
    }
}

// === impl KeyManagerBuilder, KeyManager ===

impl KeyManagerBuilder {
    /// Sets how long the store keeps an idempotency key; the default is 24 hours. Afterwards, a
    /// request with the same one issues another key. See [`Actor::with_idempotency_key`].
    pub fn idempotency_lifetime(mut self, lifetime: Duration) -> Self {
        self.idempotency_lifetime = lifetime;
        self
    }
}

impl KeyManager {
    /// Returns the actor's idempotency key for this request.
    ///
    /// # Errors
    ///
    /// A request with the same idempotency key has issued a key, or the text is invalid. The
    /// transaction of the change checks this again. Without this first check, the changes of the
    /// first request could cause another error.
    pub(super) async fn idempotency_key(
        &self,
        actor: &Actor,
        request: Request,
    ) -> Result<Option<IdempotencyKey>, ManageError> {
        let Some(text) = actor.idempotency_key() else { return Ok(None) };
        if !is_valid(text) {
            return Err(ManageError::IdempotencyKey);
        }
        let request = request.text(actor.reason());
        let key = IdempotencyKey::new(actor.organization(), &actor.author(), text, &request.0);
        let stored = self.0.registry.clone().find_idempotency(*key.id()).await?;
        match stored.filter(|stored| stored.expires_at > self.now()) {
            Some(stored) => Err(stored.answer(key.fingerprint()).into()),
            None => Ok(Some(key.with_lifetime(self.0.idempotency_lifetime))),
        }
    }

    /// Returns the error for a call by a key that may have replaced itself. A replaced key in its
    /// grace period is read-only, so without this its repeated request would be denied.
    pub(super) async fn repeat_or_denial(&self, actor: &Actor, error: ManageError, request: Request) -> ManageError {
        let (ManageError::ActorInvalid, Some(id), Some(_)) = (&error, actor.key_id(), actor.idempotency_key()) else {
            return error;
        };
        let Ok(Some(record)) = self.0.registry.clone().get(id.clone()).await else { return error };
        let Ok(Some(current)) = self.actor_of(&record, &Action::READ).await else { return error };
        match self.idempotency_key(&current.confined_like(actor).described_like(actor), request).await {
            Err(done) => done,
            Ok(_) => error,
        }
    }
}

/// Returns whether the text is an idempotency key: visible ASCII characters and spaces, as in a
/// string of a structured field (RFC 9651 §3.3.3).
pub(super) fn is_valid(text: &str) -> bool {
    (1..=MAX_IDEMPOTENCY_KEY).contains(&text.len()) && text.bytes().all(|byte| matches!(byte, 0x20..=0x7E))
}

// === impl Request ===

impl Request {
    pub(super) fn issue(new: &NewKey) -> Self {
        Self(b"issue".to_vec()).new_key(new)
    }

    pub(super) fn import(digest: &KeyDigest, new: &NewKey) -> Self {
        Self([b"import", &digest.as_bytes()[..]].concat()).new_key(new)
    }

    pub(super) fn replacement(id: &KeyId, rotation: Option<Rotation>) -> Self {
        let request = Self(b"replace".to_vec()).text(Some(id.as_str()));
        match rotation {
            None => request.text(None),
            // A required version is a condition, and the first request has changed the version.
            Some(Rotation { grace, expires_at, version: _ }) => {
                request.text(Some(&grace.as_nanos().to_string())).instant(expires_at)
            }
        }
    }

    fn new_key(self, new: &NewKey) -> Self {
        let NewKey {
            is_bot,
            name,
            permissions,
            roles,
            environment,
            not_before,
            expires_at,
            metadata,
            addresses,
            limiting,
        } = new;
        let mut request = self
            .text(Some(if *is_bot { "bot" } else { "user" }))
            .text(Some(name))
            .text(environment.as_deref())
            .instant(*not_before)
            .instant(*expires_at)
            .text(permissions.has_wildcards().then_some("wildcards"));
        for (resource, actions) in permissions.iter() {
            let mut actions: Vec<_> = actions.iter().map(Action::as_str).collect();
            actions.sort_unstable();
            for action in actions {
                request = request.text(Some(resource)).text(Some(action));
            }
        }
        request = request.text(None);
        let mut metadata: Vec<_> = metadata.iter().collect();
        metadata.sort_by(|(one, _), (other, _)| one.cmp(other));
        let request =
            metadata.into_iter().fold(request, |request, (name, text)| request.text(Some(name)).text(Some(text)));
        // Without a plan, networks or roles, the text is that of the versions before them, for
        // their stored requests.
        let request = if *limiting == Limiting::default() { request } else { request.text(None).limiting(limiting) };
        let request = match addresses {
            Some(networks) => request.list(List::Networks, networks.iter().map(ToString::to_string)),
            None => request,
        };
        if roles.is_empty() { request } else { request.list(List::Roles, roles.iter().cloned()) }
    }

    fn limiting(self, limiting: &Limiting) -> Self {
        let Limiting { plan, numbers, meter } = limiting;
        let request = self.text(plan.as_deref()).text(meter.as_ref().map(KeyId::as_str));
        numbers.iter().fold(request, |request, (name, number)| {
            request.text(Some(name)).text(number.map(|number| number.to_string()).as_deref())
        })
    }

    fn instant(self, instant: Option<SystemTime>) -> Self {
        let micros = instant.map(|instant| match to_micros(instant).duration_since(SystemTime::UNIX_EPOCH) {
            Ok(since) => since.as_micros().to_string(),
            Err(before) => format!("-{}", before.duration().as_micros()),
        });
        self.text(micros.as_deref())
    }

    /// Adds a list in any order. No text before it can imitate its mark.
    fn list(mut self, list: List, names: impl Iterator<Item = String>) -> Self {
        self.0.push(list as u8);
        let mut names: Vec<String> = names.collect();
        names.sort_unstable();
        names.iter().fold(self, |request, name| request.text(Some(name)))
    }

    fn text(mut self, text: Option<&str>) -> Self {
        self.0.push(u8::from(text.is_some()));
        if let Some(text) = text {
            self.0.extend((text.len() as u64).to_be_bytes());
            self.0.extend(text.as_bytes());
        }
        self
    }
}
