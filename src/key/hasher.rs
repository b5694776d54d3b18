//! From a key to its digest.

use std::fmt;

use thiserror::Error;

use super::{
    ApiKey, KeyDigest,
    sha256::{Hmac, Padded},
};

/// How keys are hashed: everywhere the same, where they are issued and where they are checked.
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
    /// How else keys that are in use may have been hashed.
    older: Vec<HashKind>,
    /// How other nodes hash already. While there is one, no key is moved here.
    next: Vec<HashKind>,
}

#[derive(Clone)]
enum HashKind {
    Sha256,
    Hmac(Box<Hmac>),
}

/// A pepper of fewer than 32 bytes, which would be the weakest part of the digest (RFC 2104 §3).
///
/// ```
/// use tower_api_key::{KeyHasher, key::PepperTooShort};
///
/// assert_eq!(KeyHasher::hmac_sha256(b"secret").err(), Some(PepperTooShort(6)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a pepper has at least 32 bytes, not {0}")]
pub struct PepperTooShort(pub usize);

impl KeyHasher {
    /// SHA-256 of the key: the default.
    pub fn sha256() -> Self {
        Self::of(HashKind::Sha256)
    }

    /// HMAC-SHA-256 of the key under a pepper: a secret that is kept apart from the database, so that
    /// a stolen or changed database alone neither tests a guess nor plants a key.
    ///
    /// # Errors
    ///
    /// [`PepperTooShort`] for fewer than 32 bytes.
    pub fn hmac_sha256(pepper: &[u8]) -> Result<Self, PepperTooShort> {
        if pepper.len() < 32 {
            return Err(PepperTooShort(pepper.len()));
        }
        Ok(Self::of(HashKind::Hmac(Box::new(Hmac::new(pepper)))))
    }

    /// Knows keys that were hashed like `older` too. New keys are hashed as before: this is the newest, and keys are looked for under
    /// it first, then under each older one in the order in which they were added. Where none has it, the newest is asked once
    /// more, since the key may just have been moved there; so an unknown key costs one look-up more than there are peppers.
    ///
    /// A [`KeyManager`](crate::KeyManager) moves a key to the newest when it is used. The runbook "Rotate a pepper" shows how a pepper is changed
    /// while a service runs.
    ///
    /// ```
    /// use tower_api_key::KeyHasher;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let (new, old) = ([0x5a; 32], [0xa5; 32]);
    /// let hasher = KeyHasher::hmac_sha256(&new)?
    ///     .with_previous(KeyHasher::hmac_sha256(&old)?)
    ///     .with_previous(KeyHasher::sha256()); // from the time before there was a pepper
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

    /// Knows keys that were hashed like `next` too, as other nodes make them already, and moves none. It is the first step of changing
    /// a pepper on many nodes: each learns the next one before any writes with it.
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

    /// The digest under which a store keeps this key: the newest.
    pub fn digest(&self, key: &ApiKey) -> KeyDigest {
        self.newest.digest(key.expose().as_bytes())
    }

    /// The key, made ready for [`KeyHasher::digest_padded`].
    pub(crate) fn padded<'k>(&self, key: &'k [u8]) -> Padded<'k> {
        self.newest.padded(key)
    }

    pub(crate) fn digest_padded(&self, key: &Padded<'_>) -> KeyDigest {
        self.newest.digest_padded(key)
    }

    /// Whether a key can be found under one digest only.
    pub(crate) fn is_one(&self) -> bool {
        self.older.is_empty() && self.next.is_empty()
    }

    /// Where else this key may be found when it is not under its `newest` digest: in the order in which keys move, so that none is missed on
    /// its way.
    pub(crate) fn others<'k>(&'k self, key: &'k [u8], newest: KeyDigest) -> impl Iterator<Item = KeyDigest> + 'k {
        let again = (!self.older.is_empty()).then_some(newest);
        let older = self.older.iter().map(|older| older.digest(key));
        older.chain(again).chain(self.next(key))
    }

    /// The digests of this key as other nodes make them already.
    pub(crate) fn next<'k>(&'k self, key: &'k [u8]) -> impl Iterator<Item = KeyDigest> + 'k {
        self.next.iter().map(|next| next.digest(key))
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
        assert_eq!(KeyHasher::hmac_sha256(&[0; 31]).err(), Some(PepperTooShort(31)));
        assert!(KeyHasher::hmac_sha256(&[0; 32]).is_ok());
    }
}
