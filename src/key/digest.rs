//! The digest of a key. A store keeps it in place of the key.

use std::{
    cmp::Ordering,
    fmt,
    hash::{Hash, Hasher},
    iter,
};

use subtle::ConstantTimeEq;
use thiserror::Error;

/// The digest of a key: 32 bytes. A store keeps it and looks keys up by it.
///
/// `==` takes constant time. Ordering compares byte by byte and does not take constant time. Use
/// the order to sort or index stored digests, but never to compare a presented key with a stored
/// one.
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

/// The error of converting bytes into a [`KeyDigest`], if there are not exactly 32 bytes.
///
/// ```
/// use tower_api_key::KeyDigest;
///
/// let error = KeyDigest::try_from(vec![7; 20]).unwrap_err();
/// assert_eq!(error.actual_len(), 20);
/// assert_eq!(error.to_string(), "a key digest is 32 bytes, not 20");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a key digest is 32 bytes, not {actual_len}")]
pub struct InvalidDigest {
    actual_len: usize,
}

/// The digests of one key under one or several peppers, in the order in which they are looked up.
#[derive(Clone)]
pub(crate) struct Digests {
    pub(crate) first: KeyDigest,
    pub(crate) rest: Vec<KeyDigest>,
}

impl KeyDigest {
    /// Returns the bytes, for example to bind them to a query.
    ///
    /// ```
    /// use tower_api_key::KeyDigest;
    ///
    /// assert_eq!(KeyDigest::from([7; 32]).as_bytes(), &[7; 32]);
    /// ```
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    fn words(&self) -> [u64; 4] {
        let (words, _) = self.0.as_chunks();
        std::array::from_fn(|place| u64::from_ne_bytes(words[place]))
    }
}

/// Constant time: folds the differences of all bytes into one word, and compares that with
/// `subtle`.
impl PartialEq for KeyDigest {
    fn eq(&self, other: &Self) -> bool {
        let pairs = self.words().into_iter().zip(other.words());
        let difference = pairs.fold(0, |difference, (a, b)| difference | (a ^ b));
        difference.ct_eq(&0).into()
    }
}

impl Eq for KeyDigest {}

/// Compares byte by byte, and not in constant time.
impl Ord for KeyDigest {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.cmp(&other.0)
    }
}

impl PartialOrd for KeyDigest {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Hashes the first eight bytes only, since the bytes of a digest are uniform already.
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
        let bytes: [u8; 32] = bytes.try_into().map_err(|_| InvalidDigest { actual_len: bytes.len() })?;
        Ok(Self(bytes))
    }
}

impl TryFrom<Vec<u8>> for KeyDigest {
    type Error = InvalidDigest;

    fn try_from(bytes: Vec<u8>) -> Result<Self, InvalidDigest> {
        bytes.as_slice().try_into()
    }
}

impl InvalidDigest {
    /// Returns the number of bytes that were given.
    pub const fn actual_len(&self) -> usize {
        self.actual_len
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

/// Shows nothing, since the digest of a weak key could be reversed.
impl fmt::Debug for KeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyDigest(..)")
    }
}
