//! Short-lived tokens, which the holder of a key gets in exchange for it.
//!
//! A token may do a part of what its key may do, for a short time. Hand it to a browser, a job or a
//! partner, where the key itself would be too much. A client presents it in place of a key.
//!
//! ```text
//! acme_tok_ AQEw7v…                                            …9Qk
//! └ prefix ┘└ base64url: version, flags, digest of the key, end, permissions, networks, MAC
//! ```
//!
//! - **No row.** A token has a MAC under a [`TokenSecret`] of the service, and no store keeps it.
//! - **Revocation.** At each use, the layer looks up the record of the key. When the key is
//!   revoked, regenerated or expired, its tokens end too, within the same time as the key itself. A
//!   disabled key pauses them.
//! - **A subset, always.** The permissions of a token are those that it names *and* its key has
//!   when it is used; so are its addresses. It never outlives its key.
//! - **Not a key.** A token cannot be exchanged for another token.
//!
//! [`Tokens::issue`] issues a token in a handler of yours. With the feature `admin-api`,
//! `TokenExchange` is an endpoint after OAuth 2.0 Token Exchange (RFC 8693).
//!
//! # What it costs
//!
//! To check a key takes one SHA-256 compression. A token takes one for each block of 64 bytes
//! of its padded content, and one more:
//!
//! | permissions and networks  | characters after the prefix | compressions |
//! |---------------------------|-----------------------------|--------------|
//! | none                      | 78                          | 2            |
//! | up to 13 bytes            | up to 95                    | 2            |
//! | up to 77 bytes            | up to 180                   | 3            |
//! | up to 141 bytes           | up to 266                   | 4            |
//! | each further 64 bytes     | 85 or 86 more               | 1 more       |
//!
//! A resource takes its name and two bytes; `create`, `read`, `update` and `delete` take one byte,
//! and any other action its name and one byte. A network of IPv4 takes up to 6 bytes, one of IPv6
//! up to 18. Each of the two lists takes one byte. Each previous secret adds as many compressions
//! for a token that the newest secret did not make.
//!
//! # Who may see a token
//!
//! A token is a credential until it ends. It shows the digest of its key. For a generated key, the
//! digest reveals nothing. An imported or static key that is weak, and hashed without a pepper,
//! can be guessed from it.

mod error;
#[cfg(feature = "admin-api")]
mod exchange;
mod issue;
mod new_token;
mod open;
#[cfg(test)]
mod properties;
mod restrictions;
mod secret;

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

pub use error::TokenError;
#[cfg(feature = "admin-api")]
pub use exchange::TokenExchange;
pub use new_token::{IssuedToken, NewToken};
pub use secret::{TokenConfigError, TokenSecret};
pub(crate) use {
    open::{OpenToken, Unopened},
    restrictions::Restrictions,
};

use crate::{
    clock::Clock,
    key::{FormatError, Hmac, KeyFormat},
};
use issue::encoded_len;
use open::{HEAD_LEN, TAG_LEN};

/// The length of the longest token, in characters: [`Tokens::issue`] issues no longer one. It is
/// the limit for keys too, see
/// [`MAX_KEY_LEN`](crate::scheme::MAX_KEY_LEN).
pub const MAX_TOKEN_LEN: usize = 512;

/// Issues the tokens of a service, and checks them. A clone is cheap, and shares the settings.
///
/// ```
/// use std::time::Duration;
/// use tower_api_key::token::{TokenConfigError, TokenSecret, Tokens};
///
/// let secret = TokenSecret::new(&[0x5a; 32])?; // from a secret manager: `openssl rand 32`
/// let tokens = Tokens::new("acme_tok", secret)?.max_lifetime(Duration::from_secs(900));
/// # Ok::<(), TokenConfigError>(())
/// ```
#[derive(Clone)]
#[must_use = "it issues no token until issue is called"]
pub struct Tokens(Arc<Settings>);

#[derive(Clone)]
struct Settings {
    /// Of it, only the prefix with its separator counts.
    format: KeyFormat,
    newest: Hmac,
    /// The MACs of the older secrets.
    older: Vec<Hmac>,
    max_lifetime: Duration,
    clock: Clock,
}

const DEFAULT_MAX_LIFETIME: Duration = Duration::from_secs(3600);

// === impl Tokens ===

impl Tokens {
    /// Makes tokens under this secret: `prefix`, an underscore, and base64url.
    ///
    /// The prefix has the rules of [`KeyFormat::new`]: letters, digits, `_` and `-`; there is no
    /// second separator after a prefix that ends with `_` or `-`. Choose one that none of your keys
    /// begins with. Tokens with another prefix are never accepted, even under the same secret.
    ///
    /// # Errors
    ///
    /// Returns [`TokenConfigError::Prefix`] for a prefix that [`KeyFormat::new`] rejects, or with
    /// which no token would fit into 512 characters.
    #[allow(clippy::needless_pass_by_value, reason = "the secret is wiped when its MAC is made")]
    pub fn new(prefix: impl Into<String>, secret: TokenSecret) -> Result<Self, TokenConfigError> {
        let format = KeyFormat::new(&prefix.into())?;
        if format.prefix().len() + encoded_len(HEAD_LEN + TAG_LEN) > MAX_TOKEN_LEN {
            return Err(FormatError::Prefix.into());
        }
        let newest = secret.mac(format.prefix());
        let (max_lifetime, clock) = (DEFAULT_MAX_LIFETIME, Clock::system());
        Ok(Self(Arc::new(Settings { format, newest, older: Vec::new(), max_lifetime, clock })))
    }

    /// Also accepts the tokens of an older secret. New tokens are still made under the secret of
    /// [`Tokens::new`].
    ///
    /// To change the secret on many nodes, let every node accept the new one first. The guide has
    /// the steps. After the longest lifetime, remove the old one.
    ///
    /// ```
    /// use tower_api_key::token::{TokenConfigError, TokenSecret, Tokens};
    ///
    /// # let (new, old) = (TokenSecret::new(&[0x5a; 32])?, TokenSecret::new(&[0xa5; 32])?);
    /// let tokens = Tokens::new("acme_tok", new)?.with_previous(old);
    /// # Ok::<(), TokenConfigError>(())
    /// ```
    #[allow(clippy::needless_pass_by_value, reason = "the secret is wiped when its MAC is made")]
    pub fn with_previous(mut self, secret: TokenSecret) -> Self {
        let settings = Arc::make_mut(&mut self.0);
        settings.older.push(secret.mac(settings.format.prefix()));
        self
    }

    /// Returns the prefix of all tokens, with its separator.
    pub(crate) fn prefix(&self) -> &str {
        self.0.format.prefix()
    }

    pub(crate) fn format(&self) -> &KeyFormat {
        &self.0.format
    }

    /// Returns the length of a token without restrictions, in characters.
    pub(crate) fn shortest_len(&self) -> usize {
        self.prefix().len() + encoded_len(HEAD_LEN + TAG_LEN)
    }

    /// Sets the longest lifetime of a new token. The default is 1 hour. A longer one is an error.
    pub fn max_lifetime(mut self, lifetime: Duration) -> Self {
        Arc::make_mut(&mut self.0).max_lifetime = lifetime;
        self
    }

    /// Reads the time from `now`, for tests.
    pub fn clock(mut self, now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        Arc::make_mut(&mut self.0).clock = Clock::new(now);
        self
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Settings { format, max_lifetime, .. } = &*self.0;
        f.debug_struct("Tokens")
            .field("prefix", &format.prefix())
            .field("max_lifetime", max_lifetime)
            .finish_non_exhaustive()
    }
}
