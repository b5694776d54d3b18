//! Credentials that are somebody else's by the form of their text, in places that this policy reads too: a JWT after our `Bearer`.

use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use http::{HeaderMap, HeaderValue, Uri, header::COOKIE};
use percent_encoding::percent_decode;
use zeroize::Zeroizing;

use super::{Reader, cookie, grammar::trim_ows, read::HeaderSource, websocket};

impl Reader {
    /// A reader of those places alone that hold one credential each, whose text `is_ours` denies. `None` if no place does. An empty place and one that is
    /// given twice stay ours, and so does a text that is ours once it is percent-decoded.
    pub(crate) fn of_others(&self, headers: &HeaderMap, uri: &Uri, is_ours: &dyn Fn(&[u8]) -> bool) -> Option<Self> {
        let is_ours: &dyn Fn(&[u8]) -> bool = &|text| is_ours(text) || is_ours_once_decoded(text, is_ours);
        let is_others = |text: Option<&[u8]>| text.is_some_and(|text| !text.is_empty() && !is_ours(text));
        let mut others = self.clone();
        others.headers.retain(|source| source.holds_others(headers, is_ours));
        others.queries.retain(|source| {
            let pairs = || form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
            let value = one(pairs().filter(|(name, _)| *name == *source.name).map(|(_, value)| value));
            is_others(value.as_deref().map(str::as_bytes))
        });
        others.cookies.retain(|source| {
            let lines = headers.get_all(COOKIE).iter();
            let pairs = lines.flat_map(|line| cookie::pairs(line.as_bytes()));
            is_others(one(pairs.filter(|(name, _)| *name == source.name.as_bytes()).map(|(_, value)| value)))
        });
        others.protocols.retain(|source| is_others(one(websocket::keys_after(&source.name, headers))));
        let found =
            [others.headers.len(), others.queries.len(), others.cookies.len(), others.protocols.len()] != [0; 4];
        found.then_some(others)
    }

    /// This reader without the places of another.
    pub(crate) fn without(&self, others: &Self) -> Self {
        let mut ours = self.clone();
        ours.headers.retain(|source| !others.headers.iter().any(|other| other.name == source.name));
        ours.queries.retain(|source| !others.queries.iter().any(|other| other.name == source.name));
        ours.cookies.retain(|source| !others.cookies.iter().any(|other| other.name == source.name));
        ours.protocols.retain(|source| !others.protocols.iter().any(|other| other.name == source.name));
        ours
    }

    /// A copy of headers and URI without what this reader reads.
    pub(crate) fn taken_out(&self, headers: &HeaderMap, uri: &Uri) -> (HeaderMap, Uri) {
        let (mut headers, mut uri) = (headers.clone(), uri.clone());
        self.hide(&mut headers, &mut uri);
        self.take_protocol(&mut headers);
        (headers, uri)
    }
}

impl HeaderSource {
    /// Whether its one line holds a text after a word of ours, or a whole private value, that is not ours.
    fn holds_others(&self, headers: &HeaderMap, is_ours: &dyn Fn(&[u8]) -> bool) -> bool {
        let Some(value) = one(headers.get_all(&self.name).iter().map(HeaderValue::as_bytes)) else { return false };
        let value = trim_ows(value);
        match self.text(value) {
            None | Some((_, [])) => false,
            Some((true, coded)) => match lenient(coded) {
                // The user name or the password.
                Some(pair) => !is_ours(&pair) && !pair.split(|byte| *byte == b':').any(is_ours),
                None => !is_ours(coded),
            },
            Some((false, text)) => !is_ours(text),
        }
    }
}

/// What this codes, also without padding, in the alphabet of URLs, and with spaces or quotes in it: a slip in the coding of a key of ours makes it
/// nobody else's.
fn lenient(coded: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let letters = coded.iter().filter(|byte| !b" \t\"'=".contains(byte)).map(|byte| match byte {
        b'-' => b'+',
        b'_' => b'/',
        byte => *byte,
    });
    STANDARD_NO_PAD.decode(Zeroizing::new(letters.collect::<Vec<u8>>())).ok().map(Zeroizing::new)
}

/// The only item, if there is one and no other.
fn one<T>(mut items: impl Iterator<Item = T>) -> Option<T> {
    items.next().filter(|_| items.next().is_none())
}

/// Whether a text is ours as a URL carries it, `%5F` for `_`, coded up to three times. What is coded further is nobody's JWT: ours too.
fn is_ours_once_decoded(text: &[u8], is_ours: &dyn Fn(&[u8]) -> bool) -> bool {
    let decode = |text: &[u8]| Zeroizing::new(percent_decode(text).collect::<Vec<u8>>());
    let mut text = Zeroizing::new(text.to_vec());
    for _ in 0..3 {
        let decoded = decode(&text);
        if *decoded == *text {
            return false;
        }
        if is_ours(&decoded) {
            return true;
        }
        text = decoded;
    }
    *decode(&text) != *text
}
