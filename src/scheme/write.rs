//! Writes a key into a request, as `read` reads it: what stood in its place before goes, so that no request carries two.

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{
    HeaderMap, HeaderName, HeaderValue, Uri,
    header::{COOKIE, SEC_WEBSOCKET_PROTOCOL},
};
use zeroize::Zeroizing;

use super::{Carrier, KEY_LEN_LIMIT, KeyForm, Reader, Scheme, SchemePolicy, grammar::trim_ows, hide::with_query};
use crate::error::ConfigError;

/// A key, made ready for being sent by one scheme.
pub(crate) struct Writer {
    reader: Reader,
    credential: Written,
}

/// What a request is given.
enum Written {
    /// The whole value of a header.
    Header(HeaderName, HeaderValue),
    /// The last element of a header that is a list, and what stands between elements.
    Element(HeaderName, u8, Zeroizing<Vec<u8>>),
    /// A pair of the query, coded.
    Parameter(Zeroizing<String>),
}

// === impl Writer ===

impl Writer {
    /// Names are wrong where a [`Reader`] finds them wrong, and a key is carried where a [`Reader`] reads the same key again.
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

    /// Gives a request the key, in place of any other.
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
                let others = without(uri, |pair| self.reader.hides(pair));
                let query = [&others, pair.as_str()].join(if others.is_empty() { "" } else { "&" });
                // A URI that would be too long for its type stays as it is: it has no key then.
                if let Some(written) = with_query(uri, &query) {
                    *uri = written;
                }
            }
        }
    }

    /// Takes this very key out of a URL that repeats it: the `Location` of a server that has sent its own query on.
    #[cfg(feature = "client")]
    pub(crate) fn withdraw(&self, uri: &mut Uri) {
        let Written::Parameter(ours) = &self.credential else { return };
        let is_ours = |pair: &str| parse(pair).eq(parse(ours));
        if uri.query().is_some_and(|query| query.split('&').any(is_ours))
            && let Some(hidden) = with_query(uri, &without(uri, is_ours))
        {
            *uri = hidden;
        }
    }
}

impl Written {
    fn new(scheme: &Scheme, key: &str) -> Option<Self> {
        Some(match &scheme.place {
            Carrier::Header(name) => {
                let value = Zeroizing::new(match &scheme.word {
                    None => key.to_owned(),
                    Some(word) if scheme.is_basic() => {
                        // RFC 7617 §2, with nothing in the part that does not count.
                        let user_pass = Zeroizing::new(match scheme.form {
                            KeyForm::Password => format!(":{key}"),
                            _ => format!("{key}:"),
                        });
                        format!("{word} {}", *Zeroizing::new(STANDARD.encode(user_pass.as_bytes())))
                    }
                    Some(word) => format!("{word} {key}"),
                });
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

/// All lines as one, and `element` behind them: an HTTP/1 client sends one `Cookie` (RFC 6265 §5.4), and subprotocols stand in the
/// order of preference (RFC 6455 §4.1).
fn append(headers: &mut HeaderMap, name: &HeaderName, separator: u8, element: &[u8]) {
    let lines = headers.get_all(name).iter();
    let others = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == separator)).map(trim_ows);
    let elements: Vec<&[u8]> = others.filter(|other| !other.is_empty()).chain([element]).collect();
    if let Ok(mut line) = HeaderValue::from_bytes(&Zeroizing::new(elements.join(&[separator, b' '][..]))) {
        line.set_sensitive(true);
        headers.insert(name, line);
    }
}

/// The query but for these pairs.
fn without(uri: &Uri, is_ours: impl Fn(&str) -> bool) -> String {
    let pairs = uri.query().unwrap_or_default().split('&');
    pairs.filter(|pair| !is_ours(pair)).collect::<Vec<_>>().join("&")
}

#[cfg(feature = "client")]
fn parse(pair: &str) -> form_urlencoded::Parse<'_> {
    form_urlencoded::parse(pair.as_bytes())
}
