//! The secret of a service, under which its tokens are made.

use std::fmt;

use thiserror::Error;
use zeroize::Zeroizing;

use crate::key::{FormatError, Hmac};

/// The secret of a service, under which its tokens are made and checked. `Debug` does not show it,
/// and its memory is wiped on drop.
///
/// Keep it where you keep a pepper: apart from the database. Every node needs the same one.
///
/// ```
/// use tower_api_key::token::{TokenConfigError, TokenSecret};
///
/// let secret = TokenSecret::new(&[0x5a; 32])?; // from a secret manager: `openssl rand 32`
/// assert_eq!(format!("{secret:?}"), "TokenSecret(..)");
/// # Ok::<(), TokenConfigError>(())
/// ```
#[derive(Clone)]
pub struct TokenSecret(Zeroizing<Box<[u8]>>);

/// The error of a secret or a prefix that no tokens can be made with.
///
/// ```
/// use tower_api_key::{key::FormatError, token::{TokenConfigError, TokenSecret, Tokens}};
///
/// let short = TokenSecret::new(b"secret").err();
/// assert_eq!(short, Some(TokenConfigError::SecretTooShort { actual_len: 6 }));
/// let prefix = Tokens::new("acme.t", TokenSecret::new(&[0x5a; 32])?).err();
/// assert_eq!(prefix, Some(TokenConfigError::Prefix(FormatError::PrefixCharacter('.'))));
/// # Ok::<(), TokenConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TokenConfigError {
    /// The secret has fewer than 32 bytes, which would weaken the tokens (RFC 2104 §3).
    #[error("a token secret needs at least 32 bytes and this one has {actual_len}: generate it with `openssl rand 32`")]
    SecretTooShort {
        /// The number of bytes that were given.
        actual_len: usize,
    },
    /// The prefix is none of a [`KeyFormat`](crate::KeyFormat), or so long that no token fits.
    #[error("the prefix of tokens cannot be used: {0}")]
    Prefix(#[from] FormatError),
}

/// The shortest secret, in bytes: as long as the output of SHA-256.
const MIN_SECRET: usize = 32;

// === impl TokenSecret ===

impl TokenSecret {
    /// Returns a secret of these bytes.
    ///
    /// # Errors
    ///
    /// Returns [`TokenConfigError::SecretTooShort`] for fewer than 32 bytes.
    pub fn new(bytes: &[u8]) -> Result<Self, TokenConfigError> {
        if bytes.len() < MIN_SECRET {
            return Err(TokenConfigError::SecretTooShort { actual_len: bytes.len() });
        }
        Ok(Self(Zeroizing::new(bytes.into())))
    }

    /// Returns the MAC of the tokens with this prefix. Its key is derived, so that tokens with
    /// another prefix have another one, and so has everything else that is made with the same
    /// bytes. No key has a space, so that a pepper of these bytes never hashes this text.
    pub(super) fn mac(&self, prefix: &str) -> Hmac {
        let purpose = format!("tower-api-key token {prefix}");
        Hmac::new(&*Zeroizing::new(Hmac::new(&self.0).digest(&Hmac::padded(purpose.as_bytes()))))
    }
}

impl fmt::Debug for TokenSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenSecret(..)")
    }
}
