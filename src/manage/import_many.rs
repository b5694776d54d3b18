//! Imports many keys of another system, with their history there.

use std::time::SystemTime;

use super::{
    Actor, KeyEventKind, KeyManager, ManageError, NewKey,
    concurrency::WorkKind,
    import::check_hidden,
    issue::{environment, owner},
    to_micros,
    validation::checked_name,
};
use crate::{
    key::{ApiKey, KeyDigest},
    permission::Action,
    record::{KeyId, KeyRecord, Owner, Status},
};

/// A key of another system, for [`KeyManager::import_many`].
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use tower_api_key::{Owner, Status, manage::{ImportKey, NewKey}};
///
/// let then = SystemTime::UNIX_EPOCH + Duration::from_secs(1_600_000_000);
/// let old = ImportKey::digest([7; 32], NewKey::user("laptop").grant("links", "read"))
///     .id("4711")
///     .owner(Owner::User("alice".into()))
///     .created_at(then)
///     .used(12, then + Duration::from_secs(60))
///     .status(Status::Disabled);
/// # let _ = old;
/// ```
#[derive(Clone, Debug)]
#[must_use = "it only describes a key: pass it to KeyManager::import_many"]
pub struct ImportKey {
    text: KeyText,
    new: NewKey,
    id: Option<KeyId>,
    owner: Option<Owner>,
    created_at: Option<SystemTime>,
    status: Status,
    use_count: u64,
    last_used_at: Option<SystemTime>,
}

#[derive(Clone, Debug)]
enum KeyText {
    Plain(ApiKey),
    Digest(KeyDigest),
}

/// The maximum number of keys of one import.
pub(super) const MAX_IMPORT: usize = 1_000;
/// Ids that no key gets: the management API has routes with these names, or may get them.
const RESERVED: [&str; 9] =
    ["self", "bulk", "import", "rotate", "find", "events", "expiring", "openapi.json", "webhooks"];

// === impl ImportKey ===

impl ImportKey {
    /// Describes a key by its plain text: see [`KeyManager::import`].
    pub fn key(key: &ApiKey, new: NewKey) -> Self {
        Self::new(KeyText::Plain(key.clone()), new)
    }

    /// Describes a key by its digest: see [`KeyManager::import_digest`].
    pub fn digest(digest: impl Into<KeyDigest>, new: NewKey) -> Self {
        Self::new(KeyText::Digest(digest.into()), new)
    }

    /// Reads a plain text or a digest in hexadecimal digits. The error names the one that is wrong.
    #[cfg(feature = "admin-api")]
    pub(super) fn read(key: Option<&str>, digest: Option<&str>, new: NewKey) -> Result<Self, &'static str> {
        match (key, digest) {
            (Some(key), None) => Ok(Self::key(&key.parse().map_err(|_| "key")?, new)),
            (None, Some(digest)) => Ok(Self::digest(digest_of(digest).ok_or("digest")?, new)),
            _ => Err("key"),
        }
    }

    fn new(text: KeyText, new: NewKey) -> Self {
        Self {
            text,
            new,
            id: None,
            owner: None,
            created_at: None,
            status: Status::Active,
            use_count: 0,
            last_used_at: None,
        }
    }

    /// Returns the texts that are stored beside those of the new key.
    fn other_texts(&self) -> impl Iterator<Item = &str> {
        let Self { text: _, new: _, id, owner, created_at: _, status: _, use_count: _, last_used_at: _ } = self;
        let user = owner.as_ref().and_then(|owner| match owner {
            Owner::User(user) => Some(&**user),
            Owner::ServiceAccount => None,
        });
        id.as_ref().map(KeyId::as_str).into_iter().chain(user)
    }

    /// Keeps this id: 1 to 100 visible characters, no space or slash, and not the name of a route
    /// of the management API such as `self`. The default is a new id.
    ///
    /// The id may be that of a removed key, and the events of that key are kept. So an actor that
    /// is confined to [its own keys](Actor::own_keys_only) cannot set it.
    pub fn id(mut self, id: impl Into<KeyId>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// Sets the owner. Only the service itself, a trusted actor that is not a user, can import the
    /// key of another user. The default is that of [`KeyManager::issue`].
    pub fn owner(mut self, owner: Owner) -> Self {
        self.owner = Some(owner);
        self
    }

    /// Keeps the time of creation, which must not be in the future. The default is now.
    pub fn created_at(mut self, instant: SystemTime) -> Self {
        self.created_at = Some(instant);
        self
    }

    /// Keeps the status. The default is active.
    pub fn status(mut self, status: Status) -> Self {
        self.status = status;
        self
    }

    /// Keeps the number of uses and the time of the last one, which must not be in the future.
    pub fn used(mut self, count: u64, last: impl Into<Option<SystemTime>>) -> Self {
        (self.use_count, self.last_used_at) = (count, last.into());
        self
    }

    /// Returns the owner of the key, if the actor may import a key of that owner.
    fn owner_by(&self, actor: &Actor) -> Result<Owner, ManageError> {
        match &self.owner {
            None => owner(actor, self.new.is_bot),
            Some(Owner::ServiceAccount) => owner(actor, true),
            Some(own) if actor.owner() == Some(own) => Ok(own.clone()),
            // Anyone with the plain text can act as the user.
            Some(Owner::User(_)) if !actor.is_service() || actor.is_own_keys_only() => Err(ManageError::ForeignOwner),
            Some(user @ Owner::User(id)) => checked_name(id).map(|_| user.clone()),
        }
    }
}

// === impl KeyManager ===

impl KeyManager {
    /// Imports up to 1,000 keys of another system, and returns one result for each, in the same
    /// order. A rejected key does not stop the others.
    ///
    /// A key keeps the id, the owner, the time of creation, the status, the usage, the expiry and
    /// the metadata that you set. Like a new key, it has no permission that the actor lacks and
    /// expires no later than the actor's key. An interrupted import can be repeated: a key that is
    /// stored already is rejected.
    ///
    /// ```
    /// use tower_api_key::{KeyManager, manage::{Actor, ImportKey, ManageError, NewKey}};
    ///
    /// async fn adopt(
    ///     manager: &KeyManager,
    ///     admin: &Actor,
    ///     rows: Vec<(String, [u8; 32])>,
    /// ) -> Result<(), ManageError> {
    ///     let keys = rows.iter().map(|(id, digest)| {
    ///         ImportKey::digest(*digest, NewKey::service_account("legacy")).id(id.as_str())
    ///     });
    ///     for ((id, _), imported) in rows.iter().zip(manager.import_many(admin, keys.collect()).await?) {
    ///         if let Err(error) = imported {
    ///             eprintln!("{id}: {error}");
    ///         }
    ///     }
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// - [`ManageError::TooManyKeys`] for more than 1,000 keys: nothing is imported.
    /// - [`ManageError::PermissionDenied`] (`create`).
    ///
    /// The result of a key has the errors of [`KeyManager::import`] or
    /// [`KeyManager::import_digest`], and [`ManageError::Id`], [`ManageError::ForeignOwner`],
    /// [`ManageError::OwnKeysOnly`], [`ManageError::Expiry`]. A lifetime by an
    /// [`ExpiryPolicy`](super::ExpiryPolicy) counts from the creation.
    pub async fn import_many(
        &self,
        actor: &Actor,
        keys: Vec<ImportKey>,
    ) -> Result<Vec<Result<KeyRecord, ManageError>>, ManageError> {
        if keys.len() > MAX_IMPORT {
            return Err(ManageError::TooManyKeys { most: MAX_IMPORT });
        }
        self.run_as(actor, Action::CREATE, WorkKind::Read, |_, _| async { Ok(()) }).await?;
        self.run_long(actor, WorkKind::Import, |manager, actor| async move {
            let mut results = Vec::with_capacity(keys.len());
            for key in keys {
                results.push(manager.import_one(&actor, key).await);
            }
            Ok(results)
        })
        .await
    }

    async fn import_one(&self, actor: &Actor, import: ImportKey) -> Result<KeyRecord, ManageError> {
        self.run_as(actor, Action::CREATE, WorkKind::Add, move |manager, actor| {
            let import = import.clone();
            async move {
                if import.id.is_some() && actor.is_own_keys_only() {
                    return Err(ManageError::OwnKeysOnly);
                }
                if let KeyText::Plain(key) = &import.text {
                    check_hidden(key, &actor, import.other_texts(), &import.new)?;
                }
                let owner = import.owner_by(&actor)?;
                let environment = environment(&actor, &import.new)?;
                let (digest, mask) = match &import.text {
                    KeyText::Plain(key) => {
                        let digest = manager.0.hasher.digest(key);
                        manager.check_importable(key, digest, environment.as_deref()).await?;
                        (digest, Some(manager.mask(key)))
                    }
                    KeyText::Digest(digest) => (*digest, None),
                };
                let created_at = import.created_at.map_or(manager.now(), to_micros);
                let new = import.new.clone();
                let record = manager.draft_since(created_at, owner, &actor, new, environment, digest).await?;
                let record = manager.with_history(&actor, &import, record)?;
                let record = mask.into_iter().fold(record, KeyRecord::with_mask);
                manager.insert(&actor, KeyEventKind::Imported, &record, None).await?;
                Ok(record)
            }
        })
        .await
    }

    /// Adds the history of the key in the other system.
    fn with_history(&self, actor: &Actor, import: &ImportKey, record: KeyRecord) -> Result<KeyRecord, ManageError> {
        let now = self.now();
        let last_used_at = import.last_used_at.map(to_micros);
        if record.created_at().into_iter().chain(last_used_at).any(|instant| instant > now) {
            return Err(ManageError::Expiry);
        }
        let record = match &import.id {
            Some(id) => record.with_id(checked_id(id)?.clone()),
            None => record,
        };
        let record = record.with_usage(import.use_count, last_used_at).with_status(import.status);
        let is_revoked = import.status == Status::Revoked;
        Ok(if is_revoked { record.with_revoked(now, actor.author()) } else { record })
    }
}

fn checked_id(id: &KeyId) -> Result<&KeyId, ManageError> {
    let text = id.as_str();
    let is_segment = !text.contains([' ', '/', '\\']) && !matches!(text, "." | "..") && !RESERVED.contains(&text);
    let is_good = is_segment && checked_name(text).is_ok();
    if is_good { Ok(id) } else { Err(ManageError::Id) }
}

#[cfg(feature = "admin-api")]
fn digest_of(hex: &str) -> Option<KeyDigest> {
    let digits: Vec<u32> = hex.chars().map(|digit| digit.to_digit(16)).collect::<Option<_>>()?;
    let bytes = digits.chunks(2).map(|pair| u8::try_from(pair[0] * 16 + pair.get(1)?).ok());
    let bytes: Vec<u8> = bytes.collect::<Option<_>>()?;
    KeyDigest::try_from(bytes).ok()
}
