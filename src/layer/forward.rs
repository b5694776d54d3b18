//! Tells the inner service in a header who is calling, for proxies.

use http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::{error::ConfigError, record::KeyId, scheme::Reader};

/// The header that carries the principal's id, and never what a client has put there.
#[derive(Debug)]
pub(super) struct IdentityHeader(HeaderName);

/// What a field value would lose or could not carry, and the sign of the encoding itself.
const ENCODED: &AsciiSet = &CONTROLS.add(b' ').add(b'%');

impl IdentityHeader {
    pub(super) fn new(name: &str, reader: &Reader) -> Result<Self, ConfigError> {
        let header = HeaderName::from_bytes(name.as_bytes()).ok();
        let header = header.filter(|header| !reader.carriers().iter().any(|carrier| look_alike(carrier, header)));
        header.map(Self).ok_or_else(|| ConfigError::ForwardIdentity(name.to_owned()))
    }

    /// Replaces whatever came in. An underscore for a hyphen counts as the same name, as it does where headers become variables.
    pub(super) fn set(&self, headers: &mut HeaderMap, id: Option<&KeyId>) {
        while let Some(sent) = headers.keys().find(|name| look_alike(name, &self.0)).cloned() {
            headers.remove(sent);
        }
        if let Some(id) = id {
            let encoded = utf8_percent_encode(id.as_str(), ENCODED).to_string();
            if let Ok(value) = HeaderValue::from_str(&encoded) {
                headers.insert(&self.0, value);
            }
        }
    }
}

fn look_alike(a: &HeaderName, b: &HeaderName) -> bool {
    let folded = |byte: u8| if byte == b'_' { b'-' } else { byte };
    a.as_str().bytes().map(folded).eq(b.as_str().bytes().map(folded))
}
