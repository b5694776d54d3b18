//! Foreign credentials: texts in a place of the policy that have no format of this service.
//! Example: a JWT after `Bearer`.

use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use http::{HeaderMap, HeaderValue, Uri};
use percent_encoding::percent_decode;
use zeroize::Zeroizing;

use super::{Reader, grammar::trim_ows, header::HeaderSource, sources::one};

impl Reader {
    /// Returns a reader of the places that hold a foreign credential, or `None` if there is no such
    /// place. `is_ours` returns whether a text has a format of this service.
    ///
    /// A place does not hold a foreign credential if it is empty, if it holds several values, or if
    /// its text has a format of this service, percent-decoded or not.
    pub(crate) fn of_others(&self, headers: &HeaderMap, uri: &Uri, is_ours: &dyn Fn(&[u8]) -> bool) -> Option<Self> {
        let is_ours: &dyn Fn(&[u8]) -> bool = &|text| is_ours(text) || is_ours_once_decoded(text, is_ours);
        let mut others = self.clone();
        others.sources = others.sources.others(headers, uri, is_ours);
        (!others.sources.is_empty()).then_some(others)
    }

    /// Returns this reader without the places of another.
    pub(crate) fn without(&self, others: &Self) -> Self {
        let mut ours = self.clone();
        ours.sources = ours.sources.without(&others.sources);
        ours
    }

    /// Returns a copy of headers and URI without what this reader reads.
    pub(crate) fn taken_out(&self, headers: &HeaderMap, uri: &Uri) -> (HeaderMap, Uri) {
        let (mut headers, mut uri) = (headers.clone(), uri.clone());
        self.hide(&mut headers, &mut uri);
        self.take_protocol(&mut headers);
        (headers, uri)
    }
}

impl HeaderSource {
    /// Returns whether this header has exactly one line, and the line holds a foreign text. The
    /// text follows a word of the policy, or is the whole value of a private header.
    pub(super) fn holds_others(&self, headers: &HeaderMap, is_ours: &dyn Fn(&[u8]) -> bool) -> bool {
        let Some(value) = one(headers.get_all(&self.name).iter().map(HeaderValue::as_bytes)) else { return false };
        let value = trim_ows(value);
        match self.text(value) {
            None | Some((_, [])) => false,
            Some((true, coded)) => match lenient(coded) {
                // The key may be the whole decoded text, the user name or the password.
                Some(pair) => !is_ours(&pair) && !pair.split(|byte| *byte == b':').any(is_ours),
                None => !is_ours(coded),
            },
            Some((false, text)) => !is_ours(text),
        }
    }
}

/// Decodes base64 also without padding, in the alphabet of URLs, and with spaces or quotes in it. A
/// key of ours with an encoding error must not count as the credential of another system.
fn lenient(coded: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let letters = coded.iter().filter(|byte| !b" \t\"'=".contains(byte)).map(|byte| match byte {
        b'-' => b'+',
        b'_' => b'/',
        byte => *byte,
    });
    STANDARD_NO_PAD.decode(Zeroizing::new(letters.collect::<Vec<u8>>())).ok().map(Zeroizing::new)
}

/// Percent-decodes a text up to three times, and returns whether one of the results is ours. A text
/// that is encoded even more often is not a credential of another system, so it counts as ours.
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
