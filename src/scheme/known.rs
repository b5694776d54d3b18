//! Words, headers and parameters that other services use. Error responses may name them, since they
//! are public.

/// Words before a credential: those registered with IANA, and others in wide use.
pub(crate) const WORDS: &[&str] = &[
    "Bearer",
    "Basic",
    "Token",
    "Digest",
    "ApiKey",
    "Api-Key",
    "API_KEY",
    "X-API-Key",
    "Key",
    "Authorization",
    "JWT",
    "DPoP",
    "GNAP",
    "HOBA",
    "Mutual",
    "Negotiate",
    "NTLM",
    "OAuth",
    "PrivateToken",
    "SCRAM-SHA-1",
    "SCRAM-SHA-256",
    "vapid",
    "Concealed",
    "Hawk",
    "Signature",
    "AWS4-HMAC-SHA256",
    "SSWS",
];

/// A place where other services read a key.
pub(crate) enum ForeignCarrier {
    Header(&'static str),
    Query(&'static str),
    Cookie(&'static str),
}

use ForeignCarrier::{Cookie, Header, Query};

impl ForeignCarrier {
    /// Returns the place in words: `the header X-API-Key`.
    pub(crate) fn field(&self) -> String {
        match self {
            Header(name) => format!("the header {name}"),
            Query(name) => format!("the query parameter {name}"),
            Cookie(name) => format!("the cookie {name}"),
        }
    }
}

/// Places where other services read a key. `Authorization` comes first.
pub(crate) const PLACES: &[ForeignCarrier] = &[
    Header("Authorization"),
    Header("X-API-Key"),
    Header("Api-Key"),
    Header("ApiKey"),
    Header("X-ApiKey"),
    Header("X-Api-Token"),
    Header("X-Auth-Token"),
    Header("X-Auth-Key"),
    Header("X-Access-Token"),
    Header("X-Authorization"),
    Header("X-Token"),
    Header("X-Key"),
    Header("Access-Token"),
    Header("Auth-Token"),
    Header("Private-Token"),
    Header("X-Goog-Api-Key"),
    Header("api_key"),
    Header("X_API_KEY"),
    Query("api_key"),
    Query("api-key"),
    Query("apikey"),
    Query("apiKey"),
    Query("x-api-key"),
    Query("access_token"),
    Query("auth_token"),
    Query("token"),
    Query("key"),
    Cookie("api_key"),
    Cookie("api-key"),
    Cookie("apikey"),
    Cookie("x-api-key"),
    Cookie("access_token"),
];

/// Names of parameters in which callers send a key: `token="KEY"`.
const PARAMETERS: &[&str] = &["token", "key", "api_key", "api-key", "apikey", "access_token"];

/// Returns the index of a word in [`WORDS`].
pub(super) fn word(word: &[u8]) -> Option<u8> {
    index_of(WORDS, |known| word.eq_ignore_ascii_case(known.as_bytes()))
}

pub(super) fn is_parameter(name: &[u8]) -> bool {
    PARAMETERS.iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes()))
}

/// Returns the index of a header in [`PLACES`].
pub(super) fn header(name: &str) -> Option<u8> {
    index_of(PLACES, |known| matches!(known, Header(known) if name.eq_ignore_ascii_case(known)))
}

pub(super) fn query(name: &str) -> Option<u8> {
    index_of(PLACES, |known| matches!(known, Query(known) if known.eq_ignore_ascii_case(name)))
}

pub(super) fn cookie(name: &[u8]) -> Option<u8> {
    index_of(PLACES, |known| matches!(known, Cookie(known) if known.as_bytes().eq_ignore_ascii_case(name)))
}

fn index_of<T>(list: &[T], fits: impl FnMut(&T) -> bool) -> Option<u8> {
    list.iter().position(fits).and_then(|index| u8::try_from(index).ok())
}
