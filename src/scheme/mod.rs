//! Schemes: the places where a request may carry a key, and how the key is read there.
//!
//! This module reads a borrowed credential out of a request. It knows no key format, no store and
//! no principal.
//!
//! | scheme                         | the request carries                 | the key is    |
//! |--------------------------------|-------------------------------------|---------------|
//! | [`Scheme::bearer`]             | `Authorization: Bearer KEY`         | token68       |
//! | [`Scheme::token`]              | `Authorization: Token KEY`          | token68       |
//! | [`Scheme::authorization`]      | `Authorization: WORD KEY`           | token68       |
//! | [`Scheme::x_api_key`]          | `X-API-Key: KEY`                    | visible ASCII |
//! | [`Scheme::header`]             | `NAME: KEY`                         | visible ASCII |
//! | [`Scheme::header_with_prefix`] | `NAME: WORD KEY`                    | token68       |
//! | [`Scheme::basic`]              | `Authorization: Basic BASE64`       | the user name |
//! | [`Scheme::basic_password`]     | `Authorization: Basic BASE64`       | the password  |
//! | [`Scheme::cookie`]             | `Cookie: NAME=KEY`                  | cookie octets |
//! | [`Scheme::websocket_protocol`] | `Sec-WebSocket-Protocol: NAME, KEY` | a token       |
//! | [`Scheme::query`]              | `?NAME=KEY` (discouraged)           | visible ASCII |
//!
//! [`Scheme::visible_ascii`] makes the key after a word visible ASCII instead of token68.
//!
//! The rules, in the order in which they apply:
//!
//! 1. Optional white space at both ends of a field value is not part of it (RFC 9110 §5.5).
//! 2. An empty `Authorization` is not a credential. Any other empty credential (a private header
//!    without a value, a word without a key, an empty query value or cookie) conflicts with
//!    nothing. If it is the only one, it is malformed.
//! 3. A word matches in any case. One or more spaces follow it (RFC 9110 §11.4). A tab is not a
//!    space, and a comma does not end a key.
//! 4. A key has 1 to 512 bytes, or up to
//!    [`max_key_len`](crate::layer::ApiKeyLayerBuilder::max_key_len). Its characters are token68
//!    (RFC 9110 §11.2) after a word; visible ASCII in a private header, in Basic and in a query;
//!    cookie-octets (RFC 6265 §4.1.1) in a cookie; a token (RFC 9110 §5.6.2) among protocols.
//! 5. A credential header, query parameter, cookie or protocol that is repeated is rejected, even
//!    with equal values. Several `Cookie` lines are one header, and so are several
//!    `Sec-WebSocket-Protocol` lines (RFC 9113 §8.2.3, RFC 6455 §11.3.4).
//! 6. The policy's [`ConflictPolicy`] decides about two schemes in one request.
//!
//! An `Authorization` with a word outside the policy belongs to another system and is left alone,
//! and so is any header, cookie or protocol outside the policy.

mod basic;
mod carrier;
mod challenge;
mod coding;
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
mod write;

use std::{
    borrow::Cow,
    collections::HashSet,
    sync::{LazyLock, Mutex, PoisonError},
};

pub(crate) use carrier::Carrier;
use carrier::{AUTHORIZATION, Spelled};
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
#[cfg(feature = "client")]
pub(crate) use write::Writer;

/// The length of the longest key that a layer reads by default, in bytes. Longer texts are rejected
/// before they are hashed.
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
    /// Returns the scheme `Authorization: Bearer KEY` (RFC 6750 §2.1).
    pub const fn bearer() -> Self {
        Self::word_in_authorization(Cow::Borrowed("Bearer"))
    }

    /// Returns the scheme `Authorization: Token KEY`.
    pub const fn token() -> Self {
        Self::word_in_authorization(Cow::Borrowed("Token"))
    }

    /// Returns the scheme `Authorization: WORD KEY`, with any auth-scheme (RFC 9110 §11.1). The
    /// word `Basic` means [`Scheme::basic`].
    pub fn authorization(word: impl Into<String>) -> Self {
        Self::word_in_authorization(Cow::Owned(word.into()))
    }

    /// Returns `Authorization: Basic BASE64`, where the user name is the key (RFC 7617 §2).
    ///
    /// `curl -u KEY:` sends this, and every HTTP client that takes a user name. The password is
    /// ignored and may have up to 512 bytes.
    ///
    /// A browser answers the challenge of this scheme with a dialog for name and password. It then
    /// sends them by itself, as it does with a cookie.
    pub const fn basic() -> Self {
        Self::word_in_authorization(Cow::Borrowed("Basic"))
    }

    /// Returns `Authorization: Basic BASE64`, where the password is the key (RFC 7617 §2).
    ///
    /// `curl -u :KEY` and `curl -u token:KEY` send this. The user name is ignored. A policy has
    /// either this scheme or [`Scheme::basic`], since both read the same header.
    ///
    /// ```
    /// use tower_api_key::Scheme;
    ///
    /// assert_eq!(Scheme::basic_password().to_string(), "authorization:Basic:password");
    /// ```
    pub const fn basic_password() -> Self {
        let mut scheme = Self::basic();
        scheme.form = KeyForm::Password;
        scheme
    }

    /// Returns the scheme `X-API-Key: KEY`.
    pub const fn x_api_key() -> Self {
        Self::whole(Carrier::Header(Spelled { lower: Cow::Borrowed("x-api-key"), given: Cow::Borrowed("X-API-Key") }))
    }

    /// Returns the scheme `NAME: KEY`, in a private header. Its whole value is the key.
    ///
    /// `Scheme::header("authorization")` accepts a key without a word before it.
    pub fn header(name: impl Into<String>) -> Self {
        Self::whole(Carrier::Header(Spelled::new(name.into())))
    }

    /// Returns the scheme `NAME: WORD KEY`, in a private header with a word before the key.
    pub fn header_with_prefix(name: impl Into<String>, word: impl Into<String>) -> Self {
        Self { word: Some(Cow::Owned(word.into())), ..Self::header(name) }
    }

    /// Returns `?NAME=KEY`, in the query string. **Discouraged, and never on by default.**
    ///
    /// URLs are recorded where headers are not: in access logs of proxies, in the history of
    /// browsers, in `Referer`, in error reports. RFC 6750 §2.3 says that this method "SHOULD NOT be
    /// used" where a header is possible. Name and value are form-decoded, so a client must send a
    /// `+` in a key as `%2B`.
    ///
    /// [`hide_credentials`](crate::layer::ApiKeyLayerBuilder::hide_credentials) removes the
    /// parameter from the request's URI. It cannot reach a copy that was made before the layer,
    /// such as axum's `OriginalUri`.
    pub fn query(name: impl Into<String>) -> Self {
        Self::whole(Carrier::Query(Cow::Owned(name.into())))
    }

    /// Returns the scheme `Cookie: NAME=KEY` (RFC 6265 §4.2). Names are case-sensitive. The quotes
    /// of a quoted value are part of it, so a quoted value is malformed.
    ///
    /// A browser sends a cookie by itself, even when another site makes it send the request. Set
    /// the cookie with `SameSite=Strict`, `HttpOnly` and `Secure`, and reject cross-site requests
    /// that change something: tower-http's `csrf` does, except for the GET of a WebSocket
    /// handshake.
    pub fn cookie(name: impl Into<String>) -> Self {
        Self::whole(Carrier::Cookie(Cow::Owned(name.into())))
    }

    /// Returns the scheme `Sec-WebSocket-Protocol: NAME, KEY` (RFC 6455 §11.3.4), for browsers,
    /// which cannot set another header on a WebSocket: `new WebSocket(url, [NAME, KEY])`. The key
    /// is the protocol that follows `NAME`.
    ///
    /// Your service sees neither `NAME` nor the key, but does see the client's other protocols. If
    /// it accepts the WebSocket and selects none of them, the layer selects `NAME`: a browser
    /// closes the connection if a server selects none of the offered protocols.
    pub fn websocket_protocol(name: impl Into<String>) -> Self {
        Self::whole(Carrier::WebSocketProtocol(Cow::Owned(name.into())))
    }

    /// Accepts a key of visible ASCII after the word, instead of token68 (RFC 9110 §11.2):
    /// `Authorization: Bearer 7|abcDEF`.
    ///
    /// The rest of the value is the key, so a comma or a quote is part of it. A space is not
    /// allowed. A scheme without a word, and `Basic`, read visible ASCII anyway and do not change.
    ///
    /// ```
    /// use tower_api_key::Scheme;
    ///
    /// let scheme = Scheme::bearer().visible_ascii();
    /// assert_eq!(scheme.to_string(), "authorization:Bearer:visible-ascii");
    /// assert_eq!(Scheme::x_api_key().visible_ascii(), Scheme::x_api_key());
    /// ```
    #[must_use]
    pub fn visible_ascii(mut self) -> Self {
        if self.word.is_some() && !self.is_basic() {
            self.form = KeyForm::VisibleAscii;
        }
        self
    }

    const fn word_in_authorization(word: Cow<'static, str>) -> Self {
        Self { place: Carrier::Header(AUTHORIZATION), word: Some(word), form: KeyForm::Usual }
    }

    /// A place with nothing but the key in its value.
    const fn whole(place: Carrier) -> Self {
        Self { place, word: None, form: KeyForm::Usual }
    }

    #[cfg(feature = "utoipa")]
    pub(crate) fn place(&self) -> &Carrier {
        &self.place
    }

    /// Returns the word before the key.
    #[cfg(feature = "utoipa")]
    pub(crate) fn word(&self) -> Option<&str> {
        self.word.as_deref()
    }

    /// Returns which text of the credential is the key.
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

    /// Returns the shared copy of this scheme, for principals to use without a reference count.
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
