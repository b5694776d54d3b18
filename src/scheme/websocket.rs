//! A key in the list of subprotocols that a WebSocket client offers.

use http::{HeaderMap, HeaderValue, header::SEC_WEBSOCKET_PROTOCOL};

use super::{
    Scheme,
    diagnosis::{Around, Rules},
    grammar::is_tchar,
    is_readable, list,
    resolve::{Credential, KeyText, SourceResult},
};
use crate::error::ConfigError;

#[derive(Clone, Debug)]
pub(super) struct ProtocolSource {
    name: HeaderValue,
    pub(super) order: usize,
    pub(super) scheme: &'static Scheme,
}

impl ProtocolSource {
    pub(super) fn new(name: &str, order: usize, scheme: &Scheme) -> Result<Self, ConfigError> {
        let is_token = !name.is_empty() && name.bytes().all(is_tchar);
        let valid = HeaderValue::from_str(name).ok().filter(|_| is_token);
        let name = valid.ok_or_else(|| ConfigError::WebSocketProtocol(name.to_owned()))?;
        Ok(Self { name, order, scheme: scheme.interned() })
    }

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

    /// Returns every protocol that follows this name. If the name is the last protocol, the result
    /// has an empty text for it.
    pub(super) fn values<'r>(&self, headers: &'r HeaderMap) -> Vec<&'r [u8]> {
        let protocols: Vec<&[u8]> = offered(headers).collect();
        let names = (0..protocols.len()).filter(|index| self.name == protocols[*index]);
        names.map(|index| protocols.get(index + 1).copied().unwrap_or_default()).collect()
    }
}

/// Removes names and keys from the offered protocols. Returns the first name that was offered,
/// which is the protocol to select if the service selects none.
pub(super) fn take_out(sources: &[ProtocolSource], headers: &mut HeaderMap) -> Option<HeaderValue> {
    let mut taken = None;
    let mut is_key = false;
    list::retain(headers, &SEC_WEBSOCKET_PROTOCOL, b',', |protocol| {
        // A name may be in the position of another name's key.
        let name = sources.iter().map(|source| &source.name).find(|name| **name == protocol);
        let is_kept = name.is_none() && !is_key;
        is_key = name.is_some();
        taken = taken.take().or(name.cloned());
        is_kept
    });
    taken
}

/// Returns the offered protocols: all lines are one list (RFC 6455 §11.3.4).
fn offered(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    list::elements(headers, &SEC_WEBSOCKET_PROTOCOL, b',')
}
