//! The constructors of [`Scheme`], and their table.

use std::borrow::Cow;

use super::{
    Carrier, KeyForm, Scheme,
    carrier::{AUTHORIZATION, Spelled},
};

// === impl Scheme ===

/// The schemes, one constructor each:
///
/// | scheme                         | the request carries                 | the key is    |
/// |--------------------------------|-------------------------------------|---------------|
/// | [`Scheme::bearer`]             | `Authorization: Bearer KEY`         | token68       |
/// | [`Scheme::token`]              | `Authorization: Token KEY`          | token68       |
/// | [`Scheme::authorization`]      | `Authorization: WORD KEY`           | token68       |
/// | [`Scheme::x_api_key`]          | `X-API-Key: KEY`                    | visible ASCII |
/// | [`Scheme::header`]             | `NAME: KEY`                         | visible ASCII |
/// | [`Scheme::header_with_prefix`] | `NAME: WORD KEY`                    | token68       |
/// | [`Scheme::basic`]              | `Authorization: Basic BASE64`       | the user name |
/// | [`Scheme::basic_password`]     | `Authorization: Basic BASE64`       | the password  |
/// | [`Scheme::cookie`]             | `Cookie: NAME=KEY`                  | cookie octets |
/// | [`Scheme::websocket_protocol`] | `Sec-WebSocket-Protocol: NAME, KEY` | a token       |
/// | [`Scheme::query`]              | `?NAME=KEY` (discouraged)           | visible ASCII |
///
/// [`Scheme::visible_ascii`] makes the key after a word visible ASCII instead of token68.
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
    /// `curl -u KEY:` sends this, and so does every HTTP client to which you pass a user name. The
    /// password is ignored and may have up to 512 bytes.
    ///
    /// A browser answers the challenge of this scheme with a dialog for name and password. It then
    /// sends them automatically, like a cookie.
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
    /// A browser sends a cookie automatically, even in a request that another site causes. Set the
    /// cookie with `SameSite=Strict`, `HttpOnly` and `Secure`, and reject cross-site requests that
    /// change data. The `csrf` layer of tower-http rejects them, except for the GET of a WebSocket
    /// handshake.
    pub fn cookie(name: impl Into<String>) -> Self {
        Self::whole(Carrier::Cookie(Cow::Owned(name.into())))
    }

    /// Returns the scheme `Sec-WebSocket-Protocol: NAME, KEY` (RFC 6455 §11.3.4), for browsers,
    /// which cannot set another header on a WebSocket: `new WebSocket(url, [NAME, KEY])`. The key
    /// is the protocol that follows `NAME`.
    ///
    /// Your service sees neither `NAME` nor the key, but does see the client's other protocols. If
    /// it accepts the WebSocket and selects none of them, the layer selects `NAME`, since a browser
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

    /// Returns a scheme in which the whole value of the place is the key.
    pub(super) const fn whole(place: Carrier) -> Self {
        Self { place, word: None, form: KeyForm::Usual }
    }
}
