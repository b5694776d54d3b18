//! Keeps credentials from whoever comes after the layer: loggers, and the inner service itself.

use http::{HeaderMap, Uri, uri::PathAndQuery};

use super::Reader;

impl Reader {
    /// Marks every value of an accepted header as sensitive, so that its `Debug` shows nothing.
    pub(crate) fn mark_sensitive(&self, headers: &mut HeaderMap) {
        for source in &self.headers {
            if let Some(first) = headers.get_mut(&source.name) {
                first.set_sensitive(true);
            }
        }
        let some_are_repeated = headers.len() > headers.keys_len();
        if some_are_repeated {
            for (name, value) in headers.iter_mut() {
                if self.headers.iter().any(|source| source.name == *name) {
                    value.set_sensitive(true);
                }
            }
        }
    }

    /// Removes every credential of ours, wherever it stands. An `Authorization` of somebody else's stays.
    pub(crate) fn hide(&self, headers: &mut HeaderMap, uri: &mut Uri) {
        for source in &self.headers {
            if headers.get_all(&source.name).iter().any(|value| source.claims(value.as_bytes())) {
                headers.remove(&source.name);
            }
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

    fn hides(&self, pair: &str) -> bool {
        form_urlencoded::parse(pair.as_bytes()).any(|(name, _)| self.queries.iter().any(|source| *source.name == *name))
    }
}

/// The same URI with another query. A part of a valid URI is valid, so there always is one.
fn with_query(uri: &Uri, query: &str) -> Option<Uri> {
    let target = match query {
        "" => uri.path().to_owned(),
        query => format!("{}?{query}", uri.path()),
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(target).ok()?);
    Uri::from_parts(parts).ok()
}
