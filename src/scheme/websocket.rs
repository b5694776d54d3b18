//! A key among the subprotocols that a WebSocket client offers.

use http::{HeaderMap, HeaderValue, header::SEC_WEBSOCKET_PROTOCOL};

use super::{
    Scheme,
    diagnosis::{Around, Rules},
    grammar::{is_tchar, trim_ows},
    is_readable,
    resolve::{Credential, KeyText, SourceResult},
};

#[derive(Clone, Debug)]
pub(super) struct ProtocolSource {
    pub(super) name: HeaderValue,
    pub(super) order: usize,
    pub(super) scheme: &'static Scheme,
}

impl ProtocolSource {
    pub(super) fn find<'r>(&self, headers: &'r HeaderMap, rules: &Rules) -> SourceResult<'r> {
        let mut protocols = offered(headers);
        if !protocols.any(|protocol| self.name == protocol) {
            return SourceResult::Nothing;
        }
        let key = protocols.next();
        if key.is_some_and(|key| self.name == key) || protocols.any(|protocol| self.name == protocol) {
            return SourceResult::Twice(self.order, Some(self.scheme));
        }
        match key {
            Some(key) if is_readable(key, rules.max_key_len) && key.iter().copied().all(is_tchar) => {
                SourceResult::Key(self.order, Credential { scheme: self.scheme, key: KeyText::Borrowed(key) })
            }
            Some(key) => SourceResult::Malformed(self.order, self.scheme, rules.cause(key, Around::WholeWithoutCommas)),
            None => SourceResult::Empty(self.order, self.scheme),
        }
    }
}

/// Takes names and keys out of what is offered, and returns the first name that was: the protocol to select if nothing else is.
pub(super) fn take_out(sources: &[ProtocolSource], headers: &mut HeaderMap) -> Option<HeaderValue> {
    let name_of = |protocol: &[u8]| sources.iter().map(|source| &source.name).find(|name| **name == protocol);
    let protocols: Vec<&[u8]> = offered(headers).collect();
    let taken = protocols.iter().find_map(|protocol| name_of(protocol))?.clone();
    // A name may stand where another one's key would.
    let is_ours = |place: usize| {
        name_of(protocols[place]).is_some()
            || place.checked_sub(1).is_some_and(|name| name_of(protocols[name]).is_some())
    };
    let kept: Vec<&[u8]> =
        (0..protocols.len()).filter(|place| !is_ours(*place)).map(|place| protocols[place]).collect();
    let kept = kept.join(&b", "[..]);
    headers.remove(SEC_WEBSOCKET_PROTOCOL);
    if !kept.is_empty()
        && let Ok(kept) = HeaderValue::from_bytes(&kept)
    {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, kept);
    }
    Some(taken)
}

/// What is offered behind this name, wherever it stands; nothing behind the last.
pub(super) fn keys_after<'r>(name: &HeaderValue, headers: &'r HeaderMap) -> impl Iterator<Item = &'r [u8]> {
    let protocols: Vec<&[u8]> = offered(headers).collect();
    let places: Vec<usize> = (0..protocols.len()).filter(|place| *name == protocols[*place]).collect();
    places.into_iter().map(move |place| protocols.get(place + 1).copied().unwrap_or_default())
}

/// RFC 6455 §11.3.4: the lines are one list. RFC 9110 §5.6.1.2: empty elements count for nothing.
fn offered(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let lines = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter();
    let elements = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    elements.map(trim_ows).filter(|element| !element.is_empty())
}
