//! Writes a key into a request, in the form that `read` reads. It replaces any other key in the
//! same place, so that no request carries two.

use http::{
    HeaderMap, HeaderName, HeaderValue, Uri,
    header::{COOKIE, SEC_WEBSOCKET_PROTOCOL},
};
use zeroize::Zeroizing;

use super::{Carrier, KEY_LEN_LIMIT, Reader, Scheme, SchemePolicy, coding::Coding, list, query};
use crate::error::ConfigError;

/// A key that is ready to be sent by one scheme.
pub(crate) struct Writer {
    reader: Reader,
    credential: Written,
}

/// The text that a request carries.
enum Written {
    /// The whole value of a header.
    Header(HeaderName, HeaderValue),
    /// The last element of a header that is a list, and the separator of that list.
    Element(HeaderName, u8, Zeroizing<Vec<u8>>),
    /// A pair of the query, encoded.
    Parameter(Zeroizing<String>),
}

// === impl Writer ===

impl Writer {
    /// Prepares a key for sending. It returns an error if a [`Reader`] rejects the name, or does
    /// not read the written key back.
    pub(crate) fn new(scheme: &Scheme, key: &str) -> Result<Self, ConfigError> {
        let reader = Reader::new(&SchemePolicy::new([scheme.clone()]), KEY_LEN_LIMIT)?;
        let not_carried = || ConfigError::UnsupportedKeyCharacters(scheme.to_string());
        let credential = Written::new(scheme, key).ok_or_else(not_carried)?;
        let writer = Self { reader, credential };
        let (mut headers, mut uri) = (HeaderMap::new(), Uri::from_static("/"));
        writer.write(&mut headers, &mut uri);
        let read = writer.reader.read(&headers, &uri).is_ok_and(|credential| *credential.key == *key.as_bytes());
        if read { Ok(writer) } else { Err(not_carried()) }
    }

    /// Writes the key into a request and removes any other key in this place.
    pub(crate) fn write(&self, headers: &mut HeaderMap, uri: &mut Uri) {
        match &self.credential {
            Written::Header(name, value) => {
                headers.insert(name, value.clone());
            }
            Written::Element(name, separator, element) => {
                self.reader.hide(headers, uri);
                self.reader.take_protocol(headers);
                append(headers, name, *separator, element);
            }
            Written::Parameter(pair) => {
                let others = without(uri, |pair| self.reader.sources.is_in(pair));
                let query = [&others, pair.as_str()].join(if others.is_empty() { "" } else { "&" });
                // If the new URI would be too long for its type, the URI stays as it is, and the
                // key is not sent.
                if let Some(written) = query::with_query(uri, &query) {
                    *uri = written;
                }
            }
        }
    }

    /// Removes this key from a URL that repeats it, such as a `Location` to which a server has
    /// copied its own query.
    #[cfg(feature = "client")]
    pub(crate) fn withdraw(&self, uri: &mut Uri) {
        let Written::Parameter(ours) = &self.credential else { return };
        query::retain(uri, |pair| !parse(pair).eq(parse(ours)));
    }
}

impl Written {
    fn new(scheme: &Scheme, key: &str) -> Option<Self> {
        Some(match &scheme.place {
            Carrier::Header(name) => {
                let value = Coding::of(scheme).write(scheme.word.as_deref(), key);
                let mut value = HeaderValue::from_str(&value).ok()?;
                value.set_sensitive(true);
                Self::Header(HeaderName::from_bytes(name.as_bytes()).ok()?, value)
            }
            Carrier::Query(name) => {
                let mut pair = form_urlencoded::Serializer::new(String::new());
                Self::Parameter(pair.append_pair(name, key).finish().into())
            }
            Carrier::Cookie(name) => Self::Element(COOKIE, b';', format!("{name}={key}").into_bytes().into()),
            Carrier::WebSocketProtocol(name) => {
                Self::Element(SEC_WEBSOCKET_PROTOCOL, b',', format!("{name}, {key}").into_bytes().into())
            }
        })
    }
}

/// Joins all lines into one and appends `element`. An HTTP/1 client sends one `Cookie` (RFC 6265
/// §5.4). Subprotocols are in the order of preference (RFC 6455 §4.1), so the key comes last.
fn append(headers: &mut HeaderMap, name: &HeaderName, separator: u8, element: &[u8]) {
    let elements: Vec<&[u8]> = list::elements(headers, name, separator).chain([element]).collect();
    if let Some(line) = list::join(&elements, separator, true) {
        headers.insert(name, line);
    }
}

/// Returns the query without the pairs for which `is_ours` returns true.
fn without(uri: &Uri, is_ours: impl Fn(&str) -> bool) -> String {
    let pairs = uri.query().unwrap_or_default().split('&');
    pairs.filter(|pair| !is_ours(pair)).collect::<Vec<_>>().join("&")
}

#[cfg(feature = "client")]
fn parse(pair: &str) -> form_urlencoded::Parse<'_> {
    form_urlencoded::parse(pair.as_bytes())
}
