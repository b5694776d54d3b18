//! Sends the principal's id to the inner service in a header, for proxies.

use http::{HeaderMap, HeaderName, HeaderValue, header::CONNECTION};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::{
    error::ConfigError,
    record::KeyId,
    scheme::{Reader, list},
};

/// The header that carries the principal's id. Clients cannot set it.
#[derive(Debug)]
pub(super) struct IdentityHeader(HeaderName);

/// The ASCII characters that are percent-encoded: control characters and spaces, which a header
/// value cannot contain or may lose at its ends (RFC 9110 §5.5), and the percent sign.
const ENCODED: &AsciiSet = &CONTROLS.add(b' ').add(b'%');

impl IdentityHeader {
    pub(super) fn new(name: &str, reader: &Reader) -> Result<Self, ConfigError> {
        let header = HeaderName::from_bytes(name.as_bytes()).ok();
        let header = header
            .filter(|header| !reader.carriers().iter().any(|carrier| look_alike(carrier.as_ref(), header.as_ref())));
        header.map(Self).ok_or_else(|| ConfigError::ForwardIdentity(name.to_owned()))
    }

    /// Replaces the header, and removes its name from `Connection`, so that a client
    /// cannot make a proxy drop it (RFC 9110 §7.6.1).
    pub(super) fn set(&self, headers: &mut HeaderMap, id: Option<&KeyId>) {
        self.keep_from_connection(headers);
        while let Some(sent) = headers.keys().find(|name| look_alike(name.as_ref(), self.0.as_ref())).cloned() {
            headers.remove(sent);
        }
        if let Some(id) = id {
            let encoded = utf8_percent_encode(id.as_str(), ENCODED).to_string();
            if let Ok(value) = HeaderValue::from_str(&encoded) {
                headers.insert(&self.0, value);
            }
        }
    }

    fn keep_from_connection(&self, headers: &mut HeaderMap) {
        list::retain(headers, &CONNECTION, b',', |option| {
            HeaderName::from_bytes(option).is_ok() && !look_alike(option, self.0.as_ref())
        });
    }
}

/// Returns whether a CGI gateway turns both names into the same environment variable:
/// `HTTP_X_PRINCIPAL` for `x-principal`, `x_principal` and `x.principal`.
fn look_alike(a: &[u8], b: &[u8]) -> bool {
    let folded = |byte: &u8| if byte.is_ascii_alphanumeric() { byte.to_ascii_lowercase() } else { b'-' };
    a.iter().map(folded).eq(b.iter().map(folded))
}
