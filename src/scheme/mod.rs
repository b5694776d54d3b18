//! Where a credential may stand in a request, and how it is read.
//!
//! A request in, a borrowed credential out. Knows no key format, no store and no principal.
//!
//! | scheme                             | the request carries             | the key is             |
//! |------------------------------------|---------------------------------|------------------------|
//! | [`Scheme::bearer`]                 | `Authorization: Bearer KEY`     | token68                |
//! | [`Scheme::token`]                  | `Authorization: Token KEY`      | token68                |
//! | [`Scheme::authorization`]          | `Authorization: WORD KEY`       | token68                |
//! | [`Scheme::x_api_key`]              | `X-API-Key: KEY`                | visible ASCII          |
//! | [`Scheme::header`]                 | `NAME: KEY`                     | visible ASCII          |
//! | [`Scheme::header_with_prefix`]       | `NAME: WORD KEY`                | token68                |
//! | [`Scheme::basic`]                  | `Authorization: Basic CODED`    | the user name, decoded |
//! | [`Scheme::basic_password`]         | `Authorization: Basic CODED`    | the password, decoded  |
//! | [`Scheme::cookie`]                 | `Cookie: NAME=KEY`              | cookie octets          |
//! | [`Scheme::websocket_protocol`]     | `Sec-WebSocket-Protocol: NAME, KEY` | a token            |
//! | [`Scheme::query`] (risky)          | `?NAME=KEY`                     | visible ASCII, decoded |
//!
//! [`Scheme::visible_ascii`] makes the key after a word visible ASCII instead of token68.
//!
//! The rules, in the order in which they are applied:
//!
//! 1. Optional white space at both ends of a field value is not part of it (RFC 9110 §5.5).
//! 2. An empty `Authorization` is nothing of ours. Any other empty credential (a private header without a value, a word without a key, an
//!    empty query value or cookie) conflicts with nothing; alone it is malformed.
//! 3. A scheme word matches without regard to case, then come one or more spaces (RFC 9110 §11.4).
//!    A tab is not a space, and a comma ends nothing.
//! 4. A key is 1 to 512 bytes (or [`max_key_len`](crate::layer::ApiKeyLayerBuilder::max_key_len)) of its alphabet: token68 (RFC 9110 §11.2) after a
//!    word, visible ASCII in a private header, the user name or password and a query value, cookie-octets (RFC 6265 §4.1.1) in a cookie, a token (RFC 9110 §5.6.2) in a list of protocols.
//! 5. A credential header, query parameter, cookie or protocol that is given twice is refused, equal or not. Several `Cookie` and
//!    several `Sec-WebSocket-Protocol` lines are one (RFC 9113 §8.2.3, RFC 6455 §11.3.4).
//! 6. Two schemes in one request are decided by the policy's [`ConflictPolicy`] rule.
//!
//! An `Authorization` with a word outside the policy and any header, cookie or protocol outside the policy are somebody else's and
//! are left alone.

mod basic;
mod challenge;
mod cookie;
mod diagnosis;
mod grammar;
mod hide;
mod known;
mod others;
mod policy;
mod read;
mod resolve;
mod suspect;
mod usage;
mod vary;
mod websocket;
mod write;

use std::{
    borrow::Cow,
    collections::HashSet,
    fmt,
    hash::{Hash, Hasher},
    ops::Deref,
    sync::{LazyLock, Mutex, PoisonError},
};

pub(crate) use challenge::Challenges;
pub(crate) use diagnosis::{Diagnosis, Seen};
pub(crate) use grammar::all_bytes;
pub(crate) use known::{PLACES, WORDS};
pub use policy::{ConflictPolicy, SchemePolicy};
pub(crate) use read::{Candidate, Reader};
pub(crate) use resolve::Credential;
pub(crate) use vary::Vary;
#[cfg(feature = "client")]
pub(crate) use write::Writer;

/// The longest key that a layer reads by default, in bytes. Anything longer is refused before it is hashed.
pub const MAX_KEY_LEN: usize = 512;

/// The upper bound of [`max_key_len`](crate::layer::ApiKeyLayerBuilder::max_key_len), in bytes: 4 KiB.
pub const KEY_LEN_LIMIT: usize = 4096;

/// Whether a request could carry these bytes as a key: 1 to `max` of visible ASCII.
pub(crate) fn is_readable(key: &[u8], max: usize) -> bool {
    (1..=max).contains(&key.len()) && all_bytes(key, |byte| byte.is_ascii_graphic())
}

/// One place where a request may carry a key.
///
/// Names are checked when the layer is built, see [`ConfigError`](crate::ConfigError).
/// The text form names the place: `authorization:Bearer`, `header:x-api-key`, `query:key`, `cookie:key`, `sec-websocket-protocol:api-key`,
/// and what is unusual about the key: `authorization:Basic:password`, `authorization:Bearer:visible-ascii`.
///
/// ```
/// use tower_api_key::Scheme;
///
/// assert_eq!(Scheme::bearer().to_string(), "authorization:Bearer");
/// assert_eq!(Scheme::header("X-Auth-Token").to_string(), "header:x-auth-token");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Scheme {
    place: Carrier,
    word: Option<Cow<'static, str>>,
    form: KeyForm,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Carrier {
    Header(Spelled),
    Query(Cow<'static, str>),
    Cookie(Cow<'static, str>),
    WebSocketProtocol(Cow<'static, str>),
}

/// Which text of a credential is the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum KeyForm {
    /// What the place implies: see the table of the [module](self).
    Usual,
    /// Visible ASCII after a word.
    VisibleAscii,
    /// The password of `Basic`.
    Password,
}

/// A header name, and how it was spelled: two spellings of one name are equal.
#[derive(Clone, Debug)]
pub(crate) struct Spelled {
    lower: Cow<'static, str>,
    given: Cow<'static, str>,
}

const AUTHORIZATION: Spelled = Spelled { lower: Cow::Borrowed("authorization"), given: Cow::Borrowed("Authorization") };

impl Scheme {
    /// `Authorization: Bearer KEY` (RFC 6750 §2.1).
    pub const fn bearer() -> Self {
        Self::word_in_authorization(Cow::Borrowed("Bearer"))
    }

    /// `Authorization: Token KEY`.
    pub const fn token() -> Self {
        Self::word_in_authorization(Cow::Borrowed("Token"))
    }

    /// `Authorization: WORD KEY`, with a word of your own (RFC 9110 §11.4). The word `Basic` means [`Scheme::basic`].
    pub fn authorization(word: impl Into<String>) -> Self {
        Self::word_in_authorization(Cow::Owned(word.into()))
    }

    /// `Authorization: Basic CODED`, where the user name is the key (RFC 7617 §2): what `curl -u KEY:` sends, and every HTTP client that
    /// takes a user name. The password counts for nothing, up to 512 bytes of it.
    ///
    /// A browser answers the challenge of this scheme with a dialog for name and password, and then sends them by itself, as it does a cookie.
    pub const fn basic() -> Self {
        Self::word_in_authorization(Cow::Borrowed("Basic"))
    }

    /// `Authorization: Basic CODED`, where the password is the key and the user name counts for nothing (RFC 7617 §2): what
    /// `curl -u :KEY` sends, and `curl -u token:KEY`. A request is read by this or by [`Scheme::basic`], so a policy has one of them.
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

    /// `X-API-Key: KEY`.
    pub const fn x_api_key() -> Self {
        Self::whole(Carrier::Header(Spelled { lower: Cow::Borrowed("x-api-key"), given: Cow::Borrowed("X-API-Key") }))
    }

    /// `NAME: KEY`, in a private header whose whole value is the key.
    ///
    /// `Scheme::header("authorization")` accepts a key without any word before it.
    pub fn header(name: impl Into<String>) -> Self {
        Self::whole(Carrier::Header(Spelled::new(name.into())))
    }

    /// `NAME: WORD KEY`, in a private header that asks for a word before the key.
    pub fn header_with_prefix(name: impl Into<String>, word: impl Into<String>) -> Self {
        Self { word: Some(Cow::Owned(word.into())), ..Self::header(name) }
    }

    /// `?NAME=KEY`, in the query string. **Risky, and never on by default.**
    ///
    /// A URL is written down where a header is not: in the access logs of every proxy, in a browser's history, in
    /// `Referer`, in error reports. RFC 6750 §2.3 says that it "SHOULD NOT be used" where a header can be.
    /// The parameter's name and value are form-decoded, so a `+` in a key must be sent as `%2B`.
    ///
    /// [`hide_credentials`](crate::layer::ApiKeyLayerBuilder::hide_credentials) takes the parameter out of the request's
    /// URI, but cannot reach a copy that something before the layer has made, as axum's `OriginalUri` is.
    pub fn query(name: impl Into<String>) -> Self {
        Self::whole(Carrier::Query(Cow::Owned(name.into())))
    }

    /// `Cookie: NAME=KEY` (RFC 6265 §4.2). Names are case-sensitive; of a quoted value the quotes are part, so that it is malformed.
    ///
    /// A browser sends a cookie by itself, also when another site asks it to: set it `SameSite=Strict`, `HttpOnly` and `Secure`, and
    /// refuse what changes something on behalf of another site (tower-http's `csrf`; it lets the GET of a WebSocket's handshake pass).
    pub fn cookie(name: impl Into<String>) -> Self {
        Self::whole(Carrier::Cookie(Cow::Owned(name.into())))
    }

    /// `Sec-WebSocket-Protocol: NAME, KEY` (RFC 6455 §11.3.4), for browsers, which cannot set a header there:
    /// `new WebSocket(url, [NAME, KEY])`. The key is the protocol that follows `NAME`.
    ///
    /// Neither reaches your service; the client's other protocols do. Where your service accepts the WebSocket and selects
    /// none of them, the layer answers `NAME`, since a browser hangs up on a server that selects nothing of what it has offered.
    pub fn websocket_protocol(name: impl Into<String>) -> Self {
        Self::whole(Carrier::WebSocketProtocol(Cow::Owned(name.into())))
    }

    /// Accepts a key of visible ASCII after the word, where token68 (RFC 9110 §11.2) is the rule: `Authorization: Bearer 7|abcDEF`. The
    /// whole rest of the value is the key, so that a comma or a quote is part of it; a space is not allowed.
    ///
    /// A scheme without a word reads visible ASCII already, as `Basic` does, and stays as it is.
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

    /// A place whose whole value is the key.
    const fn whole(place: Carrier) -> Self {
        Self { place, word: None, form: KeyForm::Usual }
    }

    #[cfg(feature = "utoipa")]
    pub(crate) fn place(&self) -> &Carrier {
        &self.place
    }

    /// The word before the key.
    #[cfg(feature = "utoipa")]
    pub(crate) fn word(&self) -> Option<&str> {
        self.word.as_deref()
    }

    /// Which text of the credential is the key.
    #[cfg(feature = "utoipa")]
    pub(crate) fn key_form(&self) -> KeyForm {
        self.form
    }

    /// Whether this is `Authorization: Bearer`, the only scheme that RFC 6750 speaks about.
    pub(crate) fn is_bearer(&self) -> bool {
        let name = self.challenge_name();
        name == "Bearer" || name.eq_ignore_ascii_case("bearer")
    }

    /// Whether the key is a user name in base64.
    pub(crate) fn is_basic(&self) -> bool {
        self.challenge_name().eq_ignore_ascii_case("basic")
    }

    /// Whether a browser adds the credential by itself, or follows a link that has it: so that another site can make it send one.
    #[cfg(feature = "admin-api")]
    pub(crate) fn is_ambient(&self) -> bool {
        match &self.place {
            Carrier::Header(name) => self.is_basic() || **name == *"cookie",
            Carrier::Query(_) | Carrier::Cookie(_) | Carrier::WebSocketProtocol(_) => true,
        }
    }

    /// Whether a request can carry this key by this scheme: whether what is written is read again as the same key.
    pub(crate) fn carries(&self, key: &str) -> bool {
        write::Writer::new(self, key).is_ok()
    }

    /// The scheme's name in a challenge: the word of an `Authorization`, `ApiKey` for every other place.
    fn challenge_name(&self) -> &str {
        match (&self.place, &self.word) {
            (Carrier::Header(name), Some(word)) if *name == AUTHORIZATION => word,
            _ => "ApiKey",
        }
    }

    /// The one shared copy of this scheme, so that a principal points at it and counts no reference.
    ///
    /// Each distinct scheme is kept as long as the process lives; schemes come from configuration, so there are few.
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

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.place, &self.word) {
            (Carrier::Header(name), Some(word)) if *name == AUTHORIZATION => {
                write!(f, "authorization:{word}")
            }
            (Carrier::Header(name), Some(word)) => write!(f, "header:{}:{word}", &**name),
            (Carrier::Header(name), None) => write!(f, "header:{}", &**name),
            (Carrier::Query(name), _) => write!(f, "query:{name}"),
            (Carrier::Cookie(name), _) => write!(f, "cookie:{name}"),
            (Carrier::WebSocketProtocol(name), _) => write!(f, "sec-websocket-protocol:{name}"),
        }?;
        f.write_str(match self.form {
            KeyForm::Usual => "",
            KeyForm::VisibleAscii => ":visible-ascii",
            KeyForm::Password => ":password",
        })
    }
}

// === impl Spelled ===

impl Spelled {
    fn new(given: String) -> Self {
        Self { lower: Cow::Owned(given.to_ascii_lowercase()), given: Cow::Owned(given) }
    }
}

/// The name in lower case.
impl Deref for Spelled {
    type Target = str;

    fn deref(&self) -> &str {
        &self.lower
    }
}

impl PartialEq for Spelled {
    fn eq(&self, other: &Self) -> bool {
        self.lower == other.lower
    }
}

impl Eq for Spelled {}

impl Hash for Spelled {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.lower.hash(state);
    }
}
