//! A key in a query parameter.

use std::borrow::Cow;

use http::{Uri, uri::PathAndQuery};

use super::{
    Scheme,
    diagnosis::{Around, Rules},
    is_readable,
    resolve::{Credential, KeyText, SourceResult},
};
use crate::error::ConfigError;

#[derive(Clone, Debug)]
pub(super) struct QuerySource {
    name: Box<str>,
    pub(super) order: usize,
    pub(super) scheme: &'static Scheme,
}

impl QuerySource {
    pub(super) fn new(name: &str, order: usize, scheme: &Scheme) -> Result<Self, ConfigError> {
        if name.is_empty() {
            return Err(ConfigError::QueryName);
        }
        Ok(Self { name: name.into(), order, scheme: scheme.interned() })
    }

    pub(super) fn find<'r>(&self, uri: &'r Uri, rules: &Rules) -> SourceResult<'r> {
        let mut values = self.values(uri);
        let Some(value) = values.next() else {
            return SourceResult::Nothing;
        };
        if values.next().is_some() {
            return SourceResult::Twice(self.order, Some(self.scheme));
        }
        if value.is_empty() {
            return SourceResult::Empty(self.order, self.scheme);
        }
        if !is_readable(value.as_bytes(), rules.max_key_len) {
            return SourceResult::Malformed(self.order, self.scheme, rules.cause(value.as_bytes(), Around::Whole));
        }
        let key = match value {
            Cow::Borrowed(text) => KeyText::Borrowed(text.as_bytes()),
            Cow::Owned(text) => KeyText::Decoded(text.into_bytes().into()),
        };
        SourceResult::Key(self.order, Credential { scheme: self.scheme, key })
    }

    /// Returns the values of this parameter, decoded.
    pub(super) fn values<'r>(&self, uri: &'r Uri) -> impl Iterator<Item = Cow<'r, str>> {
        let pairs = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
        pairs.filter(|(name, _)| *name == *self.name).map(|(_, value)| value)
    }

    /// Returns whether a pair of a query sets this parameter.
    pub(super) fn is_in(&self, pair: &str) -> bool {
        form_urlencoded::parse(pair.as_bytes()).any(|(name, _)| *name == *self.name)
    }
}

/// Removes pairs from the query of a URI. If none is removed, the URI stays as it is.
pub(super) fn retain(uri: &mut Uri, keep: impl Fn(&str) -> bool) {
    let Some(query) = uri.query() else { return };
    let kept: Vec<&str> = query.split('&').filter(|pair| keep(pair)).collect();
    if kept.len() < query.split('&').count()
        && let Some(changed) = with_query(uri, &kept.join("&"))
    {
        *uri = changed;
    }
}

/// Returns the same URI with another query; `None` if it would be too long for its type.
pub(super) fn with_query(uri: &Uri, query: &str) -> Option<Uri> {
    let target = match query {
        "" => uri.path().to_owned(),
        query => format!("{}?{query}", uri.path()),
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(target).ok()?);
    Uri::from_parts(parts).ok()
}
