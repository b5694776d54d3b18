//! Keys in memory, changeable while they are served.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    hash::{BuildHasherDefault, Hasher},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use thiserror::Error;

use super::{KeyStore, Lookup};
use crate::{
    key::KeyDigest,
    record::{KeyId, KeyRecord, Owner, Status},
};

/// Keys in memory. Clones share the keys; a change is seen by the next request.
///
/// A look-up takes no lock. Everything else takes turns, so each change sees what the one before has done, and none undoes a
/// revocation.
///
/// ```
/// use tower_api_key::{KeyFormat, KeyHasher, KeyRecord, store::MemoryStore};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let keys = MemoryStore::new();
/// let key = KeyFormat::new("acme")?.generate()?;
/// keys.insert(KeyRecord::for_key("k1", &key, &KeyHasher::sha256()).grant("stats", "read"))?;
///
/// keys.revoke("k1")?;
/// assert!(keys.enable("k1").is_err());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
pub struct MemoryStore(Arc<Shared>);

#[derive(Default)]
struct Shared {
    /// What requests read.
    by_digest: papaya::HashMap<KeyDigest, KeyRecord, BuildHasherDefault<FirstBytes>>,
    /// What changes go through, one at a time.
    by_id: Mutex<BTreeMap<KeyId, KeyRecord>>,
}

/// Why a store refused a change. Nothing was changed.
///
/// ```
/// use tower_api_key::store::{MemoryStore, StoreError};
///
/// let refused = MemoryStore::new().revoke("k1");
/// assert_eq!(refused.err(), Some(StoreError::NotFound("k1".into())));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// There is a key with this id already.
    #[error("there is a key {0} already")]
    DuplicateId(KeyId),
    /// The key is in the store already, under this id.
    #[error("the key is in the store already, as {0}")]
    DuplicateKey(KeyId),
    /// There is no key with this id.
    #[error("there is no key {0}")]
    NotFound(KeyId),
    /// The key was revoked, and stays so.
    #[error("the key {0} was revoked")]
    Revoked(KeyId),
    /// An update gave the record another id or another digest.
    #[error("an update may not change the id or the digest of {0}")]
    Identity(KeyId),
}

// === impl MemoryStore ===

impl MemoryStore {
    /// A store without keys.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a record.
    ///
    /// # Errors
    ///
    /// [`StoreError::DuplicateId`], [`StoreError::DuplicateKey`].
    pub fn insert(&self, record: KeyRecord) -> Result<(), StoreError> {
        let mut by_id = self.changes();
        if by_id.contains_key(record.id()) {
            return Err(StoreError::DuplicateId(record.id().clone()));
        }
        let by_digest = self.0.by_digest.pin();
        if let Err(taken) = by_digest.try_insert(*record.digest(), record.clone()) {
            return Err(StoreError::DuplicateKey(taken.current.id().clone()));
        }
        by_id.insert(record.id().clone(), record);
        Ok(())
    }

    /// The record with this id.
    pub fn get(&self, id: impl AsRef<str>) -> Option<KeyRecord> {
        self.changes().get(id.as_ref()).cloned()
    }

    /// Every record, in the order of ids.
    pub fn list(&self) -> Vec<KeyRecord> {
        self.changes().values().cloned().collect()
    }

    /// Changes a record, and returns it as it is now. All but look-ups wait for `change`, so it must not call this store.
    ///
    /// ```
    /// # use tower_api_key::{KeyRecord, store::MemoryStore};
    /// # let keys = MemoryStore::new();
    /// # keys.insert(KeyRecord::new("k1", [7; 32]))?;
    /// let record = keys.update("k1", |record| record.grant("stats", "read"))?;
    /// assert!(record.permissions().allows("stats", "read"));
    /// # Ok::<(), tower_api_key::store::StoreError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`StoreError::NotFound`]; [`StoreError::Revoked`] if the change would bring a revoked key back;
    /// [`StoreError::Identity`] if it gives the record another id or digest.
    pub fn update(
        &self,
        id: impl AsRef<str>,
        change: impl FnOnce(KeyRecord) -> KeyRecord,
    ) -> Result<KeyRecord, StoreError> {
        let mut by_id = self.changes();
        let id = id.as_ref();
        let record = by_id.get_mut(id).ok_or_else(|| StoreError::NotFound(id.into()))?;
        let changed = change(record.clone());
        if changed.id() != record.id() || changed.digest() != record.digest() {
            return Err(StoreError::Identity(id.into()));
        }
        if record.status() == Status::Revoked && changed.status() != Status::Revoked {
            return Err(StoreError::Revoked(id.into()));
        }
        self.0.by_digest.pin().insert(*changed.digest(), changed.clone());
        *record = changed.clone();
        Ok(changed)
    }

    /// Switches a key off.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotFound`], [`StoreError::Revoked`].
    pub fn disable(&self, id: impl AsRef<str>) -> Result<KeyRecord, StoreError> {
        self.update(id, |record| record.with_status(Status::Disabled))
    }

    /// Switches a key on again.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotFound`], [`StoreError::Revoked`].
    pub fn enable(&self, id: impl AsRef<str>) -> Result<KeyRecord, StoreError> {
        self.update(id, |record| record.with_status(Status::Active))
    }

    /// Switches a key off for good. Its record stays, so that its use is told from that of an unknown key.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotFound`].
    pub fn revoke(&self, id: impl AsRef<str>) -> Result<KeyRecord, StoreError> {
        self.update(id, |record| record.with_status(Status::Revoked))
    }

    /// Removes a record, and returns it.
    pub fn remove(&self, id: impl AsRef<str>) -> Option<KeyRecord> {
        let mut by_id = self.changes();
        let record = by_id.remove(id.as_ref())?;
        self.0.by_digest.pin().remove(record.digest());
        Some(record)
    }

    /// Removes every key of this user, in whatever organization, and returns how many there were. Bot keys belong to no user, and stay.
    pub fn remove_user(&self, user: &str) -> usize {
        let mut by_id = self.changes();
        let by_digest = self.0.by_digest.pin();
        let before = by_id.len();
        by_id.retain(|_, record| {
            let leaves = matches!(record.owner(), Some(Owner::User(id)) if id == user);
            if leaves {
                by_digest.remove(record.digest());
            }
            !leaves
        });
        before - by_id.len()
    }

    fn look_up(&self, digest: &KeyDigest) -> Option<KeyRecord> {
        self.0.by_digest.pin().get(digest).cloned()
    }

    /// A change that panicked half-way has changed nothing, so a poisoned lock is as good as new.
    fn changes(&self) -> MutexGuard<'_, BTreeMap<KeyId, KeyRecord>> {
        self.0.by_id.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl KeyStore for MemoryStore {
    type Error = Infallible;

    async fn find(&self, digest: &KeyDigest) -> Result<Option<KeyRecord>, Infallible> {
        Ok(self.look_up(digest))
    }

    fn find_now(&self, digest: &KeyDigest) -> Lookup {
        self.look_up(digest).into()
    }
}

impl std::fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryStore").field("keys", &self.0.by_digest.len()).finish()
    }
}

/// Takes the eight bytes that a digest hands over for its hash.
#[derive(Default)]
struct FirstBytes(u64);

impl Hasher for FirstBytes {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.0 ^= u64::from_ne_bytes(word);
        }
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = word;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
