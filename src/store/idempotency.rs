//! Requests with an `Idempotency-Key`: each makes at most one key.

use std::time::{Duration, SystemTime};

use sha2::{Digest, Sha256};

use super::RegistryError;
use crate::record::{Author, KeyId};

/// The `Idempotency-Key` of a request that makes a key: see
/// [`ChangeContext::with_idempotency_key`].
///
/// A key is unique for its author in an organization. The store keeps a digest of it, and never
/// its text.
///
/// ```
/// use tower_api_key::{Author, KeyRecord, KeyRegistry};
/// use tower_api_key::store::{ChangeContext, IdempotencyKey, MemoryStore, RegistryError};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let keys = MemoryStore::new();
/// let order = |request| IdempotencyKey::new(Some("acme"), &Author::System, "order 1817", request);
/// let first = ChangeContext::new(Author::System).with_idempotency_key(order(b"a key for CI"));
/// keys.insert(KeyRecord::new("k1", [7; 32]), None, Some(&first)).await??;
///
/// let repeat = keys.insert(KeyRecord::new("k2", [8; 32]), None, Some(&first)).await?;
/// assert_eq!(repeat, Err(RegistryError::AlreadyDone("k1".into())));
/// let other = ChangeContext::new(Author::System).with_idempotency_key(order(b"a key for Bob"));
/// let other = keys.insert(KeyRecord::new("k2", [8; 32]), None, Some(&other)).await?;
/// assert_eq!(other, Err(RegistryError::IdempotencyMismatch));
/// # Ok(())
/// # }
/// ```
///
/// [`ChangeContext::with_idempotency_key`]: super::ChangeContext::with_idempotency_key
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyKey {
    id: [u8; 32],
    fingerprint: [u8; 32],
    lifetime: Duration,
}

/// What a store keeps of an [`IdempotencyKey`]: its digest, the request, and the key that the
/// request made.
///
/// [`RegistryTransaction::claim`](super::RegistryTransaction::claim) stores it.
///
/// ```
/// use std::time::SystemTime;
/// use tower_api_key::store::{IdempotencyRecord, RegistryError};
///
/// let stored = IdempotencyRecord::new([1; 32], [2; 32], "k1", SystemTime::UNIX_EPOCH);
/// assert_eq!(stored.answer(&[2; 32]), RegistryError::AlreadyDone("k1".into()));
/// assert_eq!(stored.answer(&[3; 32]), RegistryError::IdempotencyMismatch);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct IdempotencyRecord {
    /// The SHA-256 digest of the organization, the author and the text.
    pub id: [u8; 32],
    /// The SHA-256 digest of the request.
    pub fingerprint: [u8; 32],
    /// The key that the request made.
    pub key_id: KeyId,
    /// From this instant on, the text can be used for another request.
    pub expires_at: SystemTime,
}

/// How long a store keeps an idempotency key, unless it is set.
pub(crate) const LIFETIME: Duration = Duration::from_secs(24 * 3_600);

/// The longest time that a store keeps one: a century.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 3_600);

/// How many expired records a store removes when it stores a new one.
pub(super) const PRUNED: u32 = 100;

// === impl IdempotencyKey, IdempotencyRecord ===

impl IdempotencyKey {
    /// Returns the key with this text of an author in an organization. `request` holds all that
    /// the request asks for: a repeat has the same bytes.
    pub fn new(organization: Option<&str>, author: &Author, text: &str, request: &[u8]) -> Self {
        let mut id = Sha256::new_with_prefix("tower-api-key idempotency");
        for part in [organization, Some(author.kind()), author.id(), Some(text)] {
            id.update([u8::from(part.is_some())]);
            let part = part.unwrap_or_default();
            id.update((part.len() as u64).to_be_bytes());
            id.update(part);
        }
        Self { id: id.finalize().into(), fingerprint: Sha256::digest(request).into(), lifetime: LIFETIME }
    }

    /// Sets how long the store keeps it; the default is 24 hours.
    #[must_use]
    pub fn with_lifetime(self, lifetime: Duration) -> Self {
        Self { lifetime, ..self }
    }

    /// Returns the digest of the organization, the author and the text.
    pub fn id(&self) -> &[u8; 32] {
        &self.id
    }

    /// Returns the digest of the request.
    pub fn fingerprint(&self) -> &[u8; 32] {
        &self.fingerprint
    }

    /// Returns the record to store at this time, for a request that makes the key `key_id`.
    pub(super) fn record(&self, key_id: &KeyId, at: SystemTime) -> IdempotencyRecord {
        let expires_at = at.checked_add(self.lifetime.min(LONGEST)).unwrap_or(at);
        IdempotencyRecord { id: self.id, fingerprint: self.fingerprint, key_id: key_id.clone(), expires_at }
    }
}

impl IdempotencyRecord {
    /// Returns the record of a request that made the key `key_id`.
    pub fn new(id: [u8; 32], fingerprint: [u8; 32], key_id: impl Into<KeyId>, expires_at: SystemTime) -> Self {
        Self { id, fingerprint, key_id: key_id.into(), expires_at }
    }

    /// Returns the answer to a later request with the same idempotency key:
    /// [`RegistryError::AlreadyDone`] for the same request, otherwise
    /// [`RegistryError::IdempotencyMismatch`].
    pub fn answer(&self, fingerprint: &[u8; 32]) -> RegistryError {
        if self.fingerprint == *fingerprint {
            RegistryError::AlreadyDone(self.key_id.clone())
        } else {
            RegistryError::IdempotencyMismatch
        }
    }
}
