//! A key in a cookie.

use http::{HeaderMap, HeaderValue, header::COOKIE};

use super::{
    Scheme,
    diagnosis::{Around, Rules},
    grammar::{is_tchar, trim_ows},
    is_readable, list,
    resolve::{Credential, KeyText, SourceResult},
};
use crate::error::ConfigError;

#[derive(Clone, Debug)]
pub(super) struct CookieSource {
    name: Box<str>,
    pub(super) order: usize,
    pub(super) scheme: &'static Scheme,
}

impl CookieSource {
    pub(super) fn new(name: &str, order: usize, scheme: &Scheme) -> Result<Self, ConfigError> {
        if name.is_empty() || !name.bytes().all(is_tchar) {
            return Err(ConfigError::CookieName(name.to_owned()));
        }
        Ok(Self { name: name.into(), order, scheme: scheme.interned() })
    }

    pub(super) fn find<'r>(&self, headers: &'r HeaderMap, rules: &Rules) -> SourceResult<'r> {
        let mut values = self.values(headers);
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

    /// Returns the values of this cookie.
    pub(super) fn values<'r>(&self, headers: &'r HeaderMap) -> impl Iterator<Item = &'r [u8]> {
        let pairs = headers.get_all(COOKIE).iter().flat_map(|line| pairs(line.as_bytes()));
        pairs.filter(|(name, _)| self.is_named(name)).map(|(_, value)| value)
    }

    fn is_named(&self, name: &[u8]) -> bool {
        name == self.name.as_bytes()
    }
}

/// Removes the cookies of these sources. All other cookies stay on their lines.
pub(super) fn hide(sources: &[CookieSource], headers: &mut HeaderMap) {
    let is_ours = |pair: &[u8]| {
        let (name, _) = split(pair);
        sources.iter().any(|source| source.is_named(name))
    };
    if !list::elements(headers, &COOKIE, b';').any(is_ours) {
        return;
    }
    let lines: Vec<HeaderValue> = headers.get_all(COOKIE).iter().cloned().collect();
    headers.remove(COOKIE);
    for line in &lines {
        let kept: Vec<&[u8]> = list::split(line, b';').filter(|pair| !is_ours(pair)).collect();
        if let Some(line) = list::join(&kept, b';', true) {
            headers.append(COOKIE, line);
        }
    }
}

/// Returns the pairs of a line (RFC 6265 §4.2.1). White space around names and values is not part
/// of them (§5.2).
pub(super) fn pairs(line: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    line.split(|byte| *byte == b';').map(split)
}

/// Splits a pair. Without an equals sign it is a value without a name.
fn split(pair: &[u8]) -> (&[u8], &[u8]) {
    match pair.iter().position(|byte| *byte == b'=') {
        Some(place) => (trim_ows(&pair[..place]), trim_ows(&pair[place + 1..])),
        None => (&[], trim_ows(pair)),
    }
}

/// Returns whether a byte of visible ASCII is a cookie-octet (RFC 6265 §4.1.1).
pub(super) fn is_cookie_octet(byte: u8) -> bool {
    !b"\",;\\".contains(&byte)
}
