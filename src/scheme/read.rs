//! Reads the credential out of a request's headers and query, without copying it.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, Uri, header::AUTHORIZATION};

use super::{
    Conflict, MAX_KEY_LEN, Place, Scheme, SchemePolicy,
    grammar::{after_word, is_tchar, is_token68, trim_ows},
    is_readable,
    verdict::{Credential, Finding, Unread, Verdict},
};
use crate::error::ConfigError;

/// A policy, made ready for reading.
#[derive(Debug)]
pub(crate) struct Reader {
    pub(super) headers: Vec<HeaderSource>,
    pub(super) queries: Vec<QuerySource>,
    conflict: Conflict,
}

/// A header that may carry a key, in one or several forms.
#[derive(Debug)]
pub(super) struct HeaderSource {
    pub(super) name: HeaderName,
    forms: Vec<Form>,
}

/// One scheme: the word that stands before the key, if any, and its place in the policy's order.
#[derive(Debug)]
struct Form {
    order: usize,
    word: Option<Box<str>>,
    scheme: &'static Scheme,
}

#[derive(Debug)]
pub(super) struct QuerySource {
    pub(super) name: Box<str>,
    order: usize,
    scheme: &'static Scheme,
}

// === impl Reader ===

impl Reader {
    pub(crate) fn new(policy: &SchemePolicy) -> Result<Self, ConfigError> {
        if policy.schemes().is_empty() {
            return Err(ConfigError::NoScheme);
        }
        let mut reader = Self { headers: Vec::new(), queries: Vec::new(), conflict: policy.conflict() };
        for (order, scheme) in policy.schemes().iter().enumerate() {
            if policy.schemes()[..order].contains(scheme) {
                continue;
            }
            match &scheme.place {
                Place::Header(name) => reader.add_header(name, order, scheme)?,
                Place::Query(name) if name.is_empty() => return Err(ConfigError::QueryName),
                Place::Query(name) => {
                    let name = name.as_ref().into();
                    reader.queries.push(QuerySource { name, order, scheme: scheme.interned() });
                }
            }
        }
        Ok(reader)
    }

    fn add_header(&mut self, name: &str, order: usize, scheme: &Scheme) -> Result<(), ConfigError> {
        let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| ConfigError::HeaderName(name.to_owned()))?;
        if let Some(word) = &scheme.word
            && (word.is_empty() || !word.bytes().all(is_tchar))
        {
            return Err(ConfigError::SchemeWord(word.clone().into_owned()));
        }
        let form = Form { order, word: scheme.word.as_deref().map(Into::into), scheme: scheme.interned() };
        match self.headers.iter_mut().find(|source| source.name == header) {
            Some(source) => {
                source.forms.push(form);
                // A word is looked for before the value is taken whole.
                source.forms.sort_by_key(|form| form.word.is_none());
            }
            None => self.headers.push(HeaderSource { name: header, forms: vec![form] }),
        }
        Ok(())
    }

    /// Reads the one credential of a request.
    pub(crate) fn read<'r>(&self, headers: &'r HeaderMap, uri: &'r Uri) -> Result<Credential<'r>, Unread> {
        let mut verdict = Verdict::new(self.conflict);
        for source in &self.headers {
            verdict.add(source.find(headers));
        }
        for source in &self.queries {
            verdict.add(source.find(uri));
        }
        verdict.conclude()
    }
}

impl HeaderSource {
    fn find<'r>(&self, headers: &'r HeaderMap) -> Finding<'r> {
        let mut values = headers.get_all(&self.name).iter();
        let Some(first) = values.next() else {
            return Finding::Nothing;
        };
        let first = self.read(first.as_bytes());
        match values.next() {
            None => first,
            Some(second) => Finding::Twice(first.scheme().or(self.read(second.as_bytes()).scheme())),
        }
    }

    fn read<'r>(&self, value: &'r [u8]) -> Finding<'r> {
        let value = trim_ows(value);
        let shared = self.name == AUTHORIZATION;
        if value.is_empty() && shared {
            return Finding::Nothing;
        }
        self.forms.iter().find_map(|form| form.read(value)).unwrap_or_else(|| match self.forms.first() {
            Some(form) if !shared => Finding::Malformed(form.order, form.scheme),
            _ => Finding::Foreign,
        })
    }

    /// Whether this value is ours, well-formed or not.
    pub(super) fn claims(&self, value: &[u8]) -> bool {
        !matches!(self.read(value), Finding::Nothing | Finding::Foreign)
    }
}

impl Form {
    /// The key in this value, unless another word stands before it.
    fn read<'r>(&self, value: &'r [u8]) -> Option<Finding<'r>> {
        let key = match &self.word {
            None => Some(value).filter(|value| is_readable(value)),
            Some(word) => Some(after_word(value, word)?).filter(|key| is_token68(key) && key.len() <= MAX_KEY_LEN),
        };
        Some(match key {
            Some(key) => Finding::Key(self.order, Credential { scheme: self.scheme, key: Cow::Borrowed(key) }),
            None => Finding::Malformed(self.order, self.scheme),
        })
    }
}

impl QuerySource {
    fn find<'r>(&self, uri: &'r Uri) -> Finding<'r> {
        let query = uri.query().unwrap_or_default();
        let mut values =
            form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| *name == *self.name).map(|(_, value)| value);
        let Some(value) = values.next() else {
            return Finding::Nothing;
        };
        if values.next().is_some() {
            return Finding::Twice(Some(self.scheme));
        }
        if !is_readable(value.as_bytes()) {
            return Finding::Malformed(self.order, self.scheme);
        }
        let key = match value {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        };
        Finding::Key(self.order, Credential { scheme: self.scheme, key })
    }
}
