//! A key in a cookie.

use http::{HeaderMap, HeaderValue, header::COOKIE};

use super::{
    Scheme,
    diagnosis::{Around, Rules},
    grammar::trim_ows,
    is_readable,
    resolve::{Credential, KeyText, SourceResult},
};

#[derive(Clone, Debug)]
pub(super) struct CookieSource {
    pub(super) name: Box<str>,
    pub(super) order: usize,
    pub(super) scheme: &'static Scheme,
}

impl CookieSource {
    pub(super) fn find<'r>(&self, headers: &'r HeaderMap, rules: &Rules) -> SourceResult<'r> {
        let pairs = headers.get_all(COOKIE).iter().flat_map(|line| pairs(line.as_bytes()));
        let mut values = pairs.filter(|(name, _)| self.is_named(name)).map(|(_, value)| value);
        let Some(key) = values.next() else {
            return SourceResult::Nothing;
        };
        if values.next().is_some() {
            SourceResult::Twice(self.order, Some(self.scheme))
        } else if key.is_empty() {
            SourceResult::Empty(self.order, self.scheme)
        } else if is_readable(key, rules.max_key_len) && key.iter().copied().all(is_cookie_octet) {
            SourceResult::Key(self.order, Credential { scheme: self.scheme, key: KeyText::Borrowed(key) })
        } else {
            SourceResult::Malformed(self.order, self.scheme, rules.cause(key, Around::WholeWithoutCommas))
        }
    }

    fn is_named(&self, name: &[u8]) -> bool {
        name == self.name.as_bytes()
    }
}

/// Takes these cookies out, and leaves all others as they are.
pub(super) fn hide(sources: &[CookieSource], headers: &mut HeaderMap) {
    let is_ours = |pair: &[u8]| {
        let (name, _) = split(pair);
        sources.iter().any(|source| source.is_named(name))
    };
    let parts = |line: &HeaderValue| -> Vec<Vec<u8>> {
        line.as_bytes().split(|byte| *byte == b';').map(<[u8]>::to_vec).collect()
    };
    let lines: Vec<Vec<Vec<u8>>> = headers.get_all(COOKIE).iter().map(parts).collect();
    if !lines.iter().flatten().any(|pair| is_ours(pair)) {
        return;
    }
    headers.remove(COOKIE);
    for line in lines {
        let kept: Vec<&[u8]> = line.iter().filter(|pair| !is_ours(pair)).map(|pair| trim_ows(pair)).collect();
        if kept.iter().any(|pair| !pair.is_empty())
            && let Ok(mut line) = HeaderValue::from_bytes(&kept.join(&b"; "[..]))
        {
            line.set_sensitive(true);
            headers.append(COOKIE, line);
        }
    }
}

/// RFC 6265 §4.2.1, read as §5.2 reads a pair: white space around a name and around a value is not part of it.
pub(super) fn pairs(line: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    line.split(|byte| *byte == b';').map(split)
}

/// A pair without an equals sign is a value without a name.
fn split(pair: &[u8]) -> (&[u8], &[u8]) {
    match pair.iter().position(|byte| *byte == b'=') {
        Some(place) => (trim_ows(&pair[..place]), trim_ows(&pair[place + 1..])),
        None => (&[], trim_ows(pair)),
    }
}

/// RFC 6265 §4.1.1, of visible ASCII.
pub(super) fn is_cookie_octet(byte: u8) -> bool {
    !b"\",;\\".contains(&byte)
}
