//! A key among the subprotocols that a WebSocket client offers.

use http::{HeaderMap, HeaderValue, header::SEC_WEBSOCKET_PROTOCOL};

use super::{
    Scheme,
    grammar::{is_tchar, trim_ows},
    is_readable,
    verdict::{Credential, Finding, KeyText},
};

#[derive(Debug)]
pub(super) struct ProtocolSource {
    pub(super) name: HeaderValue,
    pub(super) order: usize,
    pub(super) scheme: &'static Scheme,
}

impl ProtocolSource {
    pub(super) fn find<'r>(&self, headers: &'r HeaderMap) -> Finding<'r> {
        let mut protocols = offered(headers);
        if !protocols.any(|protocol| self.name == protocol) {
            return Finding::Nothing;
        }
        let key = protocols.next();
        if key.is_some_and(|key| self.name == key) || protocols.any(|protocol| self.name == protocol) {
            return Finding::Twice(Some(self.scheme));
        }
        match key {
            Some(key) if is_readable(key) && key.iter().copied().all(is_tchar) => {
                Finding::Key(self.order, Credential { scheme: self.scheme, key: KeyText::Borrowed(key) })
            }
            _ => Finding::Malformed(self.order, self.scheme),
        }
    }
}

/// Takes names and keys out of what is offered, and returns the first name that was: the protocol to select if nothing else is.
pub(super) fn take_out(sources: &[ProtocolSource], headers: &mut HeaderMap) -> Option<HeaderValue> {
    let name_of = |protocol: &[u8]| sources.iter().map(|source| &source.name).find(|name| **name == protocol);
    let mut protocols = offered(headers);
    let (mut taken, mut kept) = (None, Vec::new());
    while let Some(protocol) = protocols.next() {
        if let Some(name) = name_of(protocol) {
            taken.get_or_insert(name);
            protocols.next();
        } else {
            kept.push(protocol);
        }
    }
    drop(protocols);
    let (taken, kept) = (taken?.clone(), kept.join(&b", "[..]));
    headers.remove(SEC_WEBSOCKET_PROTOCOL);
    if !kept.is_empty()
        && let Ok(kept) = HeaderValue::from_bytes(&kept)
    {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, kept);
    }
    Some(taken)
}

/// RFC 6455 §11.3.4: the lines are one list. RFC 9110 §5.6.1.2: empty elements count for nothing.
fn offered(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let lines = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter();
    let elements = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    elements.map(trim_ows).filter(|element| !element.is_empty())
}
