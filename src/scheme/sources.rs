//! The places of one policy, prepared for reading requests.
//!
//! The functions destructure [`Sources`] without `..`. For a new place, the compiler then names
//! every function that must handle it.

use std::ptr;

use http::{
    HeaderMap, HeaderName, HeaderValue, Uri,
    header::{COOKIE, SEC_WEBSOCKET_PROTOCOL},
};

use super::{
    Carrier, Scheme,
    cookie::{self, CookieSource},
    diagnosis::Rules,
    header::{self, HeaderSource},
    query::{self, QuerySource},
    resolve::Resolver,
    websocket::{self, ProtocolSource},
};
use crate::error::ConfigError;

#[derive(Clone, Debug, Default)]
pub(super) struct Sources {
    pub(super) headers: Vec<HeaderSource>,
    queries: Vec<QuerySource>,
    cookies: Vec<CookieSource>,
    protocols: Vec<ProtocolSource>,
}

impl Sources {
    /// Adds the scheme that is in position `order` of the policy.
    pub(super) fn add(&mut self, order: usize, scheme: &Scheme) -> Result<(), ConfigError> {
        match &scheme.place {
            Carrier::Header(name) => header::add(&mut self.headers, name, order, scheme)?,
            Carrier::Query(name) => self.queries.push(QuerySource::new(name, order, scheme)?),
            Carrier::Cookie(name) => self.cookies.push(CookieSource::new(name, order, scheme)?),
            Carrier::WebSocketProtocol(name) => self.protocols.push(ProtocolSource::new(name, order, scheme)?),
        }
        Ok(())
    }

    /// Reads every place of a request, and adds the results to `found`.
    pub(super) fn find<'r>(&self, headers: &'r HeaderMap, uri: &'r Uri, rules: &Rules, found: &mut Resolver<'r>) {
        let Self { headers: in_headers, queries, cookies, protocols } = self;
        let in_headers = in_headers.iter().map(|source| source.find(headers, rules));
        let queries = queries.iter().map(|source| source.find(uri, rules));
        let cookies = cookies.iter().map(|source| source.find(headers, rules));
        let protocols = protocols.iter().map(|source| source.find(headers, rules));
        for result in in_headers.chain(queries).chain(cookies).chain(protocols) {
            found.add(result);
        }
    }

    /// Returns every request header that may carry a key.
    pub(super) fn carriers(&self) -> Vec<HeaderName> {
        let Self { headers, queries: _, cookies, protocols } = self;
        let private = headers.iter().map(|source| source.name.clone());
        let cookie = (!cookies.is_empty()).then_some(COOKIE);
        private.chain(cookie).chain((!protocols.is_empty()).then_some(SEC_WEBSOCKET_PROTOCOL)).collect()
    }

    /// Returns whether the policy reads no key from a query, a cookie or a WebSocket protocol.
    pub(super) fn are_headers(&self) -> bool {
        let Self { headers: _, queries, cookies, protocols } = self;
        queries.is_empty() && cookies.is_empty() && protocols.is_empty()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.headers.is_empty() && self.are_headers()
    }

    /// Returns the position of a scheme in the policy's order.
    pub(super) fn order_of(&self, scheme: &'static Scheme) -> Option<usize> {
        let Self { headers, queries, cookies, protocols } = self;
        let headers = headers.iter().flat_map(|source| &source.forms).map(|form| (form.order, form.scheme));
        let queries = queries.iter().map(|source| (source.order, source.scheme));
        let cookies = cookies.iter().map(|source| (source.order, source.scheme));
        let protocols = protocols.iter().map(|source| (source.order, source.scheme));
        let mut all = headers.chain(queries).chain(cookies).chain(protocols);
        all.find(|(_, other)| ptr::eq(*other, scheme)).map(|(order, _)| order)
    }

    /// Removes every credential of these places, except WebSocket protocols: see
    /// [`Sources::take_protocol`]. An `Authorization` of another system stays.
    pub(super) fn hide(&self, headers: &mut HeaderMap, uri: &mut Uri) {
        let Self { headers: in_headers, queries, cookies, protocols: _ } = self;
        for source in in_headers {
            if headers.get_all(&source.name).iter().any(|value| source.claims(value.as_bytes())) {
                headers.remove(&source.name);
            }
        }
        if !cookies.is_empty() {
            cookie::hide(cookies, headers);
        }
        if !queries.is_empty() {
            query::retain(uri, |pair| !self.is_in(pair));
        }
    }

    pub(super) fn has_protocols(&self) -> bool {
        !self.protocols.is_empty()
    }

    /// Removes the key and its name from the protocols that a WebSocket client offers. Returns the
    /// name.
    pub(super) fn take_protocol(&self, headers: &mut HeaderMap) -> Option<HeaderValue> {
        if self.protocols.is_empty() { None } else { websocket::take_out(&self.protocols, headers) }
    }

    /// Returns whether a pair of a query carries a key.
    pub(super) fn is_in(&self, pair: &str) -> bool {
        self.queries.iter().any(|source| source.is_in(pair))
    }

    /// Returns the places that hold exactly one text for which `is_ours` returns false.
    pub(super) fn others(mut self, headers: &HeaderMap, uri: &Uri, is_ours: &dyn Fn(&[u8]) -> bool) -> Self {
        let is_others = |text: Option<&[u8]>| text.is_some_and(|text| !text.is_empty() && !is_ours(text));
        let Self { headers: in_headers, queries, cookies, protocols } = &mut self;
        in_headers.retain(|source| source.holds_others(headers, is_ours));
        queries.retain(|source| is_others(one(source.values(uri)).as_deref().map(str::as_bytes)));
        cookies.retain(|source| is_others(one(source.values(headers))));
        protocols.retain(|source| is_others(one(source.values(headers).into_iter())));
        self
    }

    /// Returns these places without the `others`.
    pub(super) fn without(mut self, others: &Self) -> Self {
        let Self { headers, queries, cookies, protocols } = &mut self;
        headers.retain(|source| !others.headers.iter().any(|other| other.name == source.name));
        queries.retain(|source| !others.queries.iter().any(|other| ptr::eq(other.scheme, source.scheme)));
        cookies.retain(|source| !others.cookies.iter().any(|other| ptr::eq(other.scheme, source.scheme)));
        protocols.retain(|source| !others.protocols.iter().any(|other| ptr::eq(other.scheme, source.scheme)));
        self
    }
}

/// Returns the only item, or `None` if there is none or a second one.
pub(super) fn one<T>(mut items: impl Iterator<Item = T>) -> Option<T> {
    items.next().filter(|_| items.next().is_none())
}
