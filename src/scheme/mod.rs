//! Schemes: the places where a request may carry a key, and how the key is read there.
//!
//! This module reads a borrowed credential out of a request. It knows no key format, no store and
//! no principal.
//!
//! [`Scheme`] has a table of the schemes. These rules apply, in this order:
//!
//! 1. Optional white space at both ends of a field value is not part of it (RFC 9110 §5.5).
//! 2. An empty `Authorization` is not a credential. Any other empty credential (a private header
//!    without a value, a word without a key, an empty query value or cookie) does not conflict with
//!    another credential. If it is the only one, it is malformed.
//! 3. A word matches in any case. One or more spaces follow it (RFC 9110 §11.4). A tab is not a
//!    space, and a comma does not end a key.
//! 4. A key has 1 to 512 bytes, or up to
//!    [`max_key_len`](crate::layer::ApiKeyLayerBuilder::max_key_len). Its characters are token68
//!    (RFC 9110 §11.2) after a word; visible ASCII in a private header, in Basic and in a query;
//!    cookie-octets (RFC 6265 §4.1.1) in a cookie; a token (RFC 9110 §5.6.2) in a list of WebSocket
//!    protocols.
//! 5. A credential header, query parameter, cookie or protocol that is repeated is rejected, even
//!    with equal values. Several `Cookie` lines are one header, and so are several
//!    `Sec-WebSocket-Protocol` lines (RFC 9113 §8.2.3, RFC 6455 §11.3.4).
//! 6. The policy's [`ConflictPolicy`] decides about two schemes in one request.
//!
//! An `Authorization` with a word outside the policy belongs to another system. The layer neither
//! reads a key from it nor removes it. The same applies to every header, cookie and protocol
//! outside the policy.

mod basic;
mod carrier;
mod challenge;
mod coding;
mod constructors;
mod cookie;
mod diagnosis;
mod grammar;
mod header;
mod known;
pub(crate) mod list;
mod others;
mod policy;
mod query;
mod read;
#[cfg(test)]
mod read_properties;
mod resolve;
mod sources;
mod suspect;
mod text_form;
mod usage;
mod vary;
mod websocket;
pub(crate) mod write;

use std::{
    borrow::Cow,
    collections::HashSet,
    sync::{LazyLock, Mutex, PoisonError},
};

pub(crate) use carrier::Carrier;
pub(crate) use challenge::Challenges;
pub(crate) use coding::KeyForm;
pub(crate) use diagnosis::{Diagnosis, Seen};
pub(crate) use grammar::all_bytes;
pub(crate) use header::Candidate;
pub(crate) use known::{PLACES, WORDS};
pub use policy::{ConflictPolicy, SchemePolicy};
pub(crate) use read::Reader;
pub(crate) use resolve::Credential;
pub use text_form::InvalidScheme;
pub(crate) use vary::Vary;

/// The length of the longest key that a layer reads by default, in bytes. Longer texts are rejected
/// before they are hashed. Set another limit with
/// [`ApiKeyLayerBuilder::max_key_len`](crate::layer::ApiKeyLayerBuilder::max_key_len).
pub const MAX_KEY_LEN: usize = 512;

/// The maximum of [`max_key_len`](crate::layer::ApiKeyLayerBuilder::max_key_len), 4 KiB.
pub const KEY_LEN_LIMIT: usize = 4096;

/// Returns whether a request can carry these bytes as a key: 1 to `max` of visible ASCII.
pub(crate) fn is_readable(key: &[u8], max: usize) -> bool {
    (1..=max).contains(&key.len()) && all_bytes(key, |byte| byte.is_ascii_graphic())
}

/// A place where a request may carry a key, and how the key is written there.
///
/// Names are checked when the layer is built, see [`ConfigError`](crate::ConfigError).
///
/// The text form, by `Display` and `FromStr`, is for logs and configuration files. It names the
/// place: `authorization:Bearer`, `header:x-api-key`, `query:key`, `cookie:key`,
/// `sec-websocket-protocol:api-key`. A suffix names an unusual form of the key:
/// `authorization:Basic:password`, `authorization:Bearer:visible-ascii`.
///
/// ```
/// use tower_api_key::Scheme;
///
/// assert_eq!(Scheme::bearer().to_string(), "authorization:Bearer");
/// assert_eq!("header:X-Auth-Token".parse(), Ok(Scheme::header("X-Auth-Token")));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Scheme {
    place: Carrier,
    word: Option<Cow<'static, str>>,
    form: KeyForm,
}

// === impl Scheme ===

impl Scheme {
    #[cfg(feature = "utoipa")]
    pub(crate) fn place(&self) -> &Carrier {
        &self.place
    }

    /// Returns the word before the key.
    #[cfg(feature = "utoipa")]
    pub(crate) fn word(&self) -> Option<&str> {
        self.word.as_deref()
    }

    /// Returns the form of the key in the credential.
    #[cfg(feature = "utoipa")]
    pub(crate) fn key_form(&self) -> KeyForm {
        self.form
    }

    /// Returns whether this is `Authorization: Bearer`, the only scheme that RFC 6750 covers.
    pub(crate) fn is_bearer(&self) -> bool {
        let name = self.challenge_name();
        name == "Bearer" || name.eq_ignore_ascii_case("bearer")
    }

    /// Returns whether the key is encoded in base64 with a user name or a password.
    pub(crate) fn is_basic(&self) -> bool {
        self.challenge_name().eq_ignore_ascii_case("basic")
    }

    /// Returns the name in a challenge: the word in `Authorization`, `ApiKey` for every other
    /// place.
    fn challenge_name(&self) -> &str {
        self.word.as_deref().filter(|_| self.place.is_authorization()).unwrap_or("ApiKey")
    }

    /// Returns the shared copy of this scheme. Principals refer to it without a reference count.
    ///
    /// Each distinct scheme stays in memory as long as the process runs. Schemes come from
    /// configuration, so there are few.
    fn interned(&self) -> &'static Scheme {
        static SCHEMES: LazyLock<Mutex<HashSet<&'static Scheme>>> = LazyLock::new(Mutex::default);
        let mut schemes = SCHEMES.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = schemes.get(self) {
            return known;
        }
        let kept: &'static Scheme = Box::leak(Box::new(self.clone()));
        schemes.insert(kept);
        kept
    }
}
