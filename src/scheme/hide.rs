//! Keeps credentials from whoever comes after the layer: loggers, and the inner service itself.

use http::{HeaderMap, HeaderValue, Uri, uri::PathAndQuery};

use super::{Reader, cookie, websocket};

impl Reader {
    /// Marks every value of an accepted header as sensitive, so that its `Debug` shows nothing.
    pub(crate) fn mark_sensitive(&self, headers: &mut HeaderMap) {
        for name in &self.carriers {
            if let Some(first) = headers.get_mut(name) {
                first.set_sensitive(true);
            }
        }
        let some_are_repeated = headers.len() > headers.keys_len();
        if some_are_repeated {
            for (name, value) in headers.iter_mut() {
                if self.carriers.contains(name) {
                    value.set_sensitive(true);
                }
            }
        }
    }

    /// Removes every credential of ours, wherever it stands. An `Authorization` of somebody else's stays. WebSocket protocols go in any case:
    /// see [`Reader::take_protocol`].
    pub(crate) fn hide(&self, headers: &mut HeaderMap, uri: &mut Uri) {
        for source in &self.headers {
            if headers.get_all(&source.name).iter().any(|value| source.claims(value.as_bytes())) {
                headers.remove(&source.name);
            }
        }
        if !self.cookies.is_empty() {
            cookie::hide(&self.cookies, headers);
        }
        if let Some(query) = uri.query()
            && query.split('&').any(|pair| self.hides(pair))
        {
            let kept: Vec<&str> = query.split('&').filter(|pair| !self.hides(pair)).collect();
            if let Some(hidden) = with_query(uri, &kept.join("&")) {
                *uri = hidden;
            }
        }
    }

    /// Takes a key and its name out of the protocols that a WebSocket client offers, so that nobody selects them. Returns the name.
    pub(crate) fn take_protocol(&self, headers: &mut HeaderMap) -> Option<HeaderValue> {
        if self.protocols.is_empty() { None } else { websocket::take_out(&self.protocols, headers) }
    }

    pub(super) fn hides(&self, pair: &str) -> bool {
        form_urlencoded::parse(pair.as_bytes()).any(|(name, _)| self.queries.iter().any(|source| *source.name == *name))
    }
}

/// The same URI with another query. A part of a valid URI is valid, so there always is one.
pub(super) fn with_query(uri: &Uri, query: &str) -> Option<Uri> {
    let target = match query {
        "" => uri.path().to_owned(),
        query => format!("{}?{query}", uri.path()),
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(target).ok()?);
    Uri::from_parts(parts).ok()
}
