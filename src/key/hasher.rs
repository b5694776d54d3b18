//! Hashes keys.

use std::fmt;

use thiserror::Error;

use super::{
    ApiKey, KeyDigest,
    sha256::{Hmac, Padded},
};

/// Hashes keys. Use the same hasher where you issue keys and where you verify them.
///
/// The default is SHA-256. [`KeyHasher::hmac_sha256`] adds a pepper; [`KeyHasher::with_previous`]
/// and [`KeyHasher::with_upcoming`] change the pepper while the service runs.
///
/// ```
/// use tower_api_key::{ApiKey, KeyHasher};
///
/// let key = ApiKey::new("hopx_live_51FwqftsmMDHHbJAMEXXHCgG").unwrap();
/// let pepper = [0x5a; 32]; // from a secret manager, not from the database
/// assert!(KeyHasher::sha256().digest(&key) != KeyHasher::hmac_sha256(&pepper).unwrap().digest(&key));
/// ```
#[derive(Clone)]
pub struct KeyHasher {
    newest: HashKind,
    /// The older hash functions. Keys in use may still be stored under them.
    older: Vec<HashKind>,
    /// The hash functions that other nodes already use. Unless the list is empty, this node
    /// rehashes no key.
    next: Vec<HashKind>,
}

#[derive(Clone)]
enum HashKind {
    Sha256,
    Hmac(Box<Hmac>),
}

/// The error for a pepper of fewer than 32 bytes, which would weaken the digest (RFC 2104 §3).
///
/// ```
/// use tower_api_key::KeyHasher;
///
/// let error = KeyHasher::hmac_sha256(b"secret").unwrap_err();
/// assert_eq!(error.actual_len(), 6);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a pepper needs at least 32 bytes and this one has {actual_len}: generate it with `openssl rand 32`")]
pub struct PepperTooShort {
    actual_len: usize,
}

/// A key with the padding for one hasher. Only that hasher may hash it.
///
/// Prepare it early: the processor stalls if it loads the padded block right after storing it.
pub(crate) struct PreparedKey<'k>(Padded<'k>);

impl KeyHasher {
    /// Returns a hasher that computes SHA-256. This is the default.
    ///
    /// ```
    /// use tower_api_key::{ApiKey, KeyHasher};
    ///
    /// let key: ApiKey = "abc".parse()?;
    /// assert_eq!(KeyHasher::sha256().digest(&key).as_bytes()[..4], [0xba, 0x78, 0x16, 0xbf]); // FIPS 180-4
    /// # Ok::<(), tower_api_key::key::InvalidKey>(())
    /// ```
    pub fn sha256() -> Self {
        Self::of(HashKind::Sha256)
    }

    /// Returns a hasher that computes HMAC-SHA-256 under a pepper.
    ///
    /// A pepper is a secret that you keep apart from the database. Someone who steals the database
    /// but not the pepper cannot test guesses. Someone who can write to the database cannot add a
    /// key that works.
    ///
    /// # Errors
    ///
    /// Returns [`PepperTooShort`] for fewer than 32 bytes.
    pub fn hmac_sha256(pepper: &[u8]) -> Result<Self, PepperTooShort> {
        if pepper.len() < 32 {
            return Err(PepperTooShort { actual_len: pepper.len() });
        }
        Ok(Self::of(HashKind::Hmac(Box::new(Hmac::new(pepper)))))
    }

    /// Also accepts keys hashed with `older`. New keys are still hashed with this hasher.
    ///
    /// A lookup tries this hasher first, then each older one in the order in which you added them.
    /// If none finds the key, it tries this hasher once more, since another node may just have
    /// rehashed the key. So with n hashers, an unknown key costs n + 1 lookups.
    ///
    /// A [`KeyManager`](crate::KeyManager) rehashes a key with this hasher when the key is used.
    /// The runbook "Rotate a pepper" in the guide shows how to change a pepper while a service
    /// runs.
    ///
    /// ```
    /// use tower_api_key::KeyHasher;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let (new, old) = ([0x5a; 32], [0xa5; 32]);
    /// let hasher = KeyHasher::hmac_sha256(&new)?
    ///     .with_previous(KeyHasher::hmac_sha256(&old)?)
    ///     .with_previous(KeyHasher::sha256()); // keys from before there was a pepper
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn with_previous(mut self, older: Self) -> Self {
        self.older.push(older.newest);
        self.older.extend(older.older);
        self.older.extend(older.next);
        self
    }

    /// Also accepts keys hashed with `next`, which other nodes already use. This node then rehashes
    /// no key.
    ///
    /// This is the first step of changing a pepper on many nodes: every node accepts the next
    /// pepper before any node writes with it.
    ///
    /// ```
    /// use tower_api_key::KeyHasher;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let (new, old) = ([0x5a; 32], [0xa5; 32]);
    /// let first_step = KeyHasher::hmac_sha256(&old)?.with_upcoming(KeyHasher::hmac_sha256(&new)?);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn with_upcoming(mut self, next: Self) -> Self {
        self.next.push(next.newest);
        self.next.extend(next.older);
        self.next.extend(next.next);
        self
    }

    fn of(newest: HashKind) -> Self {
        Self { newest, older: Vec::new(), next: Vec::new() }
    }

    /// Returns the digest under which a store keeps this key.
    pub fn digest(&self, key: &ApiKey) -> KeyDigest {
        self.newest.digest(key.expose().as_bytes())
    }

    /// Prepares a key for [`KeyHasher::digest_prepared`].
    pub(crate) fn prepare<'k>(&self, key: &'k [u8]) -> PreparedKey<'k> {
        PreparedKey(self.newest.padded(key))
    }

    pub(crate) fn digest_prepared(&self, key: &PreparedKey<'_>) -> KeyDigest {
        self.newest.digest_padded(&key.0)
    }

    /// Returns whether a key can be stored under one digest only.
    pub(crate) fn is_one(&self) -> bool {
        self.older.is_empty() && self.next.is_empty()
    }

    /// Returns the digests to look up if this key is not stored under its `newest` digest: the
    /// older ones, the newest again, then the next ones. Nodes rehash keys in the same order. So if
    /// a key is rehashed between two lookups, a later lookup finds it.
    pub(crate) fn others<'k>(&'k self, key: &'k [u8], newest: KeyDigest) -> impl Iterator<Item = KeyDigest> + 'k {
        let again = (!self.older.is_empty()).then_some(newest);
        let older = self.older.iter().map(|older| older.digest(key));
        older.chain(again).chain(self.next(key))
    }

    /// Returns the digests of this key that other nodes already write.
    pub(crate) fn next<'k>(&'k self, key: &'k [u8]) -> impl Iterator<Item = KeyDigest> + 'k {
        self.next.iter().map(|next| next.digest(key))
    }
}

impl PepperTooShort {
    /// Returns the number of bytes that were given.
    pub const fn actual_len(&self) -> usize {
        self.actual_len
    }
}

impl HashKind {
    fn digest(&self, key: &[u8]) -> KeyDigest {
        self.digest_padded(&self.padded(key))
    }

    fn padded<'k>(&self, key: &'k [u8]) -> Padded<'k> {
        match self {
            Self::Sha256 => Padded::plain(key),
            Self::Hmac(_) => Hmac::padded(key),
        }
    }

    fn digest_padded(&self, key: &Padded<'_>) -> KeyDigest {
        match self {
            Self::Sha256 => key.digest().into(),
            Self::Hmac(keyed) => keyed.digest(key).into(),
        }
    }
}

impl Default for KeyHasher {
    fn default() -> Self {
        Self::sha256()
    }
}

impl fmt::Debug for KeyHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |kind: &HashKind| match kind {
            HashKind::Sha256 => "sha256",
            HashKind::Hmac(_) => "hmac-sha256",
        };
        write!(f, "KeyHasher({}", name(&self.newest))?;
        self.older.iter().chain(&self.next).try_for_each(|other| write!(f, ", or {}", name(other)))?;
        f.write_str(")")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pepper_is_as_long_as_the_digest() {
        assert_eq!(KeyHasher::hmac_sha256(&[0; 31]).err(), Some(PepperTooShort { actual_len: 31 }));
        assert!(KeyHasher::hmac_sha256(&[0; 32]).is_ok());
    }
}
