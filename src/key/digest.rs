//! What a store knows of a key.

use std::{
    fmt,
    hash::{Hash, Hasher},
    iter,
};

use subtle::ConstantTimeEq;
use thiserror::Error;

/// The hash of a key, 32 bytes. A store keeps it, and finds by it.
///
/// Two digests are compared in constant time, by `==` too.
///
/// ```
/// use tower_api_key::KeyDigest;
///
/// let stored: Vec<u8> = vec![7; 32];
/// let digest = KeyDigest::try_from(stored)?;
/// assert_eq!(digest, KeyDigest::from([7; 32]));
/// # Ok::<(), tower_api_key::key::InvalidDigest>(())
/// ```
#[derive(Clone, Copy)]
pub struct KeyDigest([u8; 32]);

/// Bytes that are no digest, because there are not 32 of them.
///
/// ```
/// use tower_api_key::{KeyDigest, key::InvalidDigest};
///
/// assert_eq!(KeyDigest::try_from(vec![7; 20]), Err(InvalidDigest(20)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a key digest is 32 bytes, not {0}")]
pub struct InvalidDigest(pub usize);

/// The digests of one key, under one pepper or several, in the order in which a store is asked.
#[derive(Clone)]
pub(crate) struct Digests {
    pub(crate) first: KeyDigest,
    pub(crate) rest: Vec<KeyDigest>,
}

impl KeyDigest {
    /// The bytes, to bind to a query.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    fn words(&self) -> [u64; 4] {
        let (words, _) = self.0.as_chunks();
        std::array::from_fn(|place| u64::from_ne_bytes(words[place]))
    }
}

/// Constant time: all bytes are folded into one word, and only that is compared, by `subtle`.
impl PartialEq for KeyDigest {
    fn eq(&self, other: &Self) -> bool {
        let pairs = self.words().into_iter().zip(other.words());
        let difference = pairs.fold(0, |difference, (a, b)| difference | (a ^ b));
        difference.ct_eq(&0).into()
    }
}

impl Eq for KeyDigest {}

/// A digest is uniform already, so its first eight bytes are hash enough.
impl Hash for KeyDigest {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let [first, ..] = self.words();
        state.write_u64(first);
    }
}

impl From<[u8; 32]> for KeyDigest {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl TryFrom<&[u8]> for KeyDigest {
    type Error = InvalidDigest;

    fn try_from(bytes: &[u8]) -> Result<Self, InvalidDigest> {
        let bytes: [u8; 32] = bytes.try_into().map_err(|_| InvalidDigest(bytes.len()))?;
        Ok(Self(bytes))
    }
}

impl TryFrom<Vec<u8>> for KeyDigest {
    type Error = InvalidDigest;

    fn try_from(bytes: Vec<u8>) -> Result<Self, InvalidDigest> {
        bytes.as_slice().try_into()
    }
}

impl Digests {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &KeyDigest> {
        iter::once(&self.first).chain(&self.rest)
    }
}

impl From<KeyDigest> for Digests {
    fn from(first: KeyDigest) -> Self {
        Self { first, rest: Vec::new() }
    }
}

/// Shows nothing: the digest of a weak key could be reversed.
impl fmt::Debug for KeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyDigest(..)")
    }
}
