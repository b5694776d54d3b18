//! What is wrong with the form of a credential.

use std::fmt;

/// Names what is wrong with the form of a credential, without any part of a secret.
///
/// [`Rejection::cause`](crate::Rejection::cause) and [`Decision::cause`](crate::Decision::cause)
/// return it beside the [`Reason`](crate::Reason). The client gets a sentence instead.
///
/// A key of the right form has no cause, except an invalid key that looks mistyped. For example, a
/// scheme that accepts all visible ASCII reads `"KEY"` or `Bearer:KEY` as a key. If the layer
/// rejects such a key, the cause names the likely mistake. It depends only on the text of the key,
/// not on the store.
///
/// The guide's chapter on error responses lists every cause, its sentence and the remedy.
///
/// ```
/// use http::Request;
/// use tower_api_key::{ApiKeyLayer, Cause, store::MemoryStore};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let layer = ApiKeyLayer::builder(MemoryStore::new()).build()?;
/// let request = Request::get("/").header("authorization", "zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ").body(())?;
/// let rejection = layer.try_authenticate(&request).expect("a store in memory never waits").unwrap_err();
/// assert_eq!(rejection.cause(), Some(Cause::MissingScheme));
/// assert_eq!(Cause::MissingScheme.as_str(), "missing_scheme");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Cause {
    /// The request has no credential, not even in a place that other services use.
    NoCredential,
    /// The value is only a key, without a scheme before it: `Authorization: KEY`.
    MissingScheme,
    /// The scheme is not accepted: `Authorization: Basic ..` where only Bearer is.
    OtherScheme,
    /// The key is in a place that other services read and this one does not: `X-API-Key`,
    /// `?api_key` or `Authorization`.
    OtherPlace,
    /// A colon follows the scheme: `Bearer: KEY`.
    ColonAfterScheme,
    /// No space follows the scheme, but a tab, a comma, a quote or the key itself (`BearerKEY`).
    NoSpaceAfterScheme,
    /// The scheme is written twice before the key: `Bearer Bearer KEY`.
    RepeatedScheme,
    /// A scheme is before the key, in a place without schemes: `X-API-Key: Bearer KEY`.
    UnexpectedScheme,
    /// The key is in quotes: `Bearer "KEY"`.
    Quoted,
    /// The key is sent as a parameter: `Token token="KEY"`.
    Parameter,
    /// One value has several credentials, with commas between them: `KEY, KEY`;
    /// `Basic .., Bearer KEY`.
    SeveralInOneLine,
    /// The key is longer than the layer's
    /// [`max_key_len`](crate::layer::ApiKeyLayerBuilder::max_key_len).
    TooLong,
    /// The place for the key is empty: `X-API-Key:`, `Bearer` without a key, `?api_key=`.
    Empty,
    /// There is white space inside the key.
    Whitespace,
    /// The key has a character that is not allowed in this place.
    Character,
    /// The text after `Basic` is not base64 (RFC 7617 §2).
    NotBase64,
    /// The decoded text after `Basic` has no colon (RFC 7617 §2).
    NoColon,
    /// Two places of the policy carry a credential.
    TwoPlaces,
    /// A header, query parameter, cookie or subprotocol is sent more than once.
    Repeated,
}

impl Cause {
    /// Returns a label for a log or a metric: `missing_scheme`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoCredential => "no_credential",
            Self::MissingScheme => "missing_scheme",
            Self::OtherScheme => "other_scheme",
            Self::OtherPlace => "other_place",
            Self::ColonAfterScheme => "colon_after_scheme",
            Self::NoSpaceAfterScheme => "no_space_after_scheme",
            Self::RepeatedScheme => "repeated_scheme",
            Self::UnexpectedScheme => "unexpected_scheme",
            Self::Quoted => "quoted",
            Self::Parameter => "parameter",
            Self::SeveralInOneLine => "several_in_one_line",
            Self::TooLong => "too_long",
            Self::Empty => "empty",
            Self::Whitespace => "whitespace",
            Self::Character => "character",
            Self::NotBase64 => "not_base64",
            Self::NoColon => "no_colon",
            Self::TwoPlaces => "two_places",
            Self::Repeated => "repeated",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
