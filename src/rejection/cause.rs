//! What is wrong with the form of a credential.

use std::fmt;

/// Names what is wrong with the form of a credential, without any part of a secret.
///
/// [`Rejection::cause`](crate::Rejection::cause) and [`Decision::cause`](crate::Decision::cause)
/// return it beside the [`Reason`](crate::Reason); the client reads it as a sentence. A key of the
/// right form has no cause. An invalid key that looks mistyped (`"KEY"`, `Bearer:KEY`, where
/// visible ASCII is accepted) has a cause beside its own reason; only the text of the key decides
/// that.
///
/// The guide's chapter on error responses lists every cause with its sentence and what to do.
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
    /// No credential is in the request, here or in a place that other services use.
    NoCredential,
    /// A key is where a scheme and a key belong: `Authorization: KEY`.
    MissingScheme,
    /// The scheme is not accepted: `Authorization: Basic ..` where only Bearer is.
    OtherScheme,
    /// A key is where other services read one and this one does not: in `X-API-Key`, in `?api_key`,
    /// in `Authorization`.
    OtherPlace,
    /// A colon follows the scheme: `Bearer: KEY`.
    ColonAfterScheme,
    /// Something else than a space follows the scheme: a tab, a comma, a quote, the key itself
    /// (`BearerKEY`).
    NoSpaceAfterScheme,
    /// The scheme is written twice before the key: `Bearer Bearer KEY`.
    RepeatedScheme,
    /// There is a scheme before the key, where the whole value is the key: `X-API-Key: Bearer KEY`.
    UnexpectedScheme,
    /// The key is in quotes: `Bearer "KEY"`.
    Quoted,
    /// The key is sent as a parameter: `Token token="KEY"`.
    Parameter,
    /// A comma divides several credentials in one value: `KEY, KEY`; `Basic .., Bearer KEY`.
    SeveralInOneLine,
    /// The key is longer than the layer's
    /// [`max_key_len`](crate::layer::ApiKeyLayerBuilder::max_key_len).
    TooLong,
    /// The place for the key is empty: `X-API-Key:`, `Bearer` without a key, `?api_key=`.
    Empty,
    /// There is white space inside the key.
    Whitespace,
    /// The key has a character that keys in this place do not have.
    Character,
    /// What follows `Basic` is not base64 (RFC 7617 §2).
    NotBase64,
    /// What follows `Basic` has no colon once it is decoded (RFC 7617 §2).
    NoColon,
    /// Two places of the policy carry a credential.
    TwoPlaces,
    /// A header, query parameter, cookie or subprotocol is sent more than once.
    Repeated,
}

impl Cause {
    /// A label, fit for a log or a metric: `missing_scheme`.
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
