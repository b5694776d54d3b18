//! Reads the credential out of a request's headers and query, without copying it.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, Uri, header::AUTHORIZATION};

use super::{
    Conflict, MAX_KEY_LEN, Place, Scheme, SchemePolicy,
    grammar::{after_word, is_tchar, is_token68, trim_ows},
};
use crate::{error::ConfigError, rejection::Reason};

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

/// A well-formed key and the scheme that carried it. Borrowed, but for a query value that had to be decoded.
pub(crate) struct Credential<'r> {
    pub(crate) scheme: &'static Scheme,
    pub(crate) key: Cow<'r, [u8]>,
}

/// Why there is no credential: `Missing`, `WrongScheme`, `Malformed` or `Ambiguous`.
pub(crate) struct Unread {
    pub(crate) reason: Reason,
    /// The scheme that was attempted; of several, the Bearer one, for it is told what was wrong.
    pub(crate) scheme: Option<&'static Scheme>,
}

/// What one source holds.
enum Finding<'r> {
    Nothing,
    /// Somebody else's credential, in a header that we share.
    Foreign,
    Malformed(usize, &'static Scheme),
    Twice(Option<&'static Scheme>),
    Key(usize, Credential<'r>),
}

// === impl Reader ===

impl Reader {
    pub(crate) fn new(policy: &SchemePolicy) -> Result<Self, ConfigError> {
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
        if policy.schemes().is_empty() {
            return Err(ConfigError::NoScheme);
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
            None => Some(value).filter(|key| key.iter().all(u8::is_ascii_graphic)),
            Some(word) => Some(after_word(value, word)?).filter(|key| is_token68(key)),
        };
        let key = key.filter(|key| (1..=MAX_KEY_LEN).contains(&key.len()));
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
        if !(1..=MAX_KEY_LEN).contains(&value.len()) || !value.bytes().all(|b| b.is_ascii_graphic()) {
            return Finding::Malformed(self.order, self.scheme);
        }
        let key = match value {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        };
        Finding::Key(self.order, Credential { scheme: self.scheme, key })
    }
}

impl Finding<'_> {
    fn scheme(&self) -> Option<&'static Scheme> {
        match self {
            Finding::Nothing | Finding::Foreign => None,
            Finding::Malformed(_, scheme) => Some(scheme),
            Finding::Twice(scheme) => *scheme,
            Finding::Key(_, credential) => Some(credential.scheme),
        }
    }
}

// === The verdict over all sources ===

struct Verdict<'r> {
    conflict: Conflict,
    /// The finding that stands first in the policy's order.
    first: Option<(usize, Result<Credential<'r>, &'static Scheme>)>,
    foreign: bool,
    ambiguous: bool,
    bearer: Option<&'static Scheme>,
}

impl<'r> Verdict<'r> {
    fn new(conflict: Conflict) -> Self {
        Self { conflict, first: None, foreign: false, ambiguous: false, bearer: None }
    }

    fn add(&mut self, finding: Finding<'r>) {
        if let Some(scheme) = finding.scheme()
            && scheme.is_bearer()
        {
            self.bearer = Some(scheme);
        }
        let (order, found) = match finding {
            Finding::Nothing => return,
            Finding::Foreign => {
                self.foreign = true;
                return;
            }
            Finding::Twice(_) => {
                self.ambiguous = true;
                return;
            }
            Finding::Malformed(order, scheme) => (order, Err(scheme)),
            Finding::Key(order, credential) => (order, Ok(credential)),
        };
        let Some((first_order, first)) = &self.first else {
            self.first = Some((order, found));
            return;
        };
        self.ambiguous |= match self.conflict {
            Conflict::Refuse => true,
            Conflict::FirstWins => false,
            Conflict::EqualKeysCountOnce => match (first, &found) {
                (Ok(first), Ok(found)) => first.key != found.key,
                _ => true,
            },
        };
        if order < *first_order {
            self.first = Some((order, found));
        }
    }

    fn conclude(self) -> Result<Credential<'r>, Unread> {
        let reason = match self.first {
            Some((_, Ok(credential))) if !self.ambiguous => return Ok(credential),
            _ if self.ambiguous => Reason::Ambiguous,
            Some((_, Err(_))) => Reason::Malformed,
            _ if self.foreign => Reason::WrongScheme,
            _ => Reason::Missing,
        };
        let first = self.first.map(|(_, found)| match found {
            Ok(credential) => credential.scheme,
            Err(scheme) => scheme,
        });
        Err(Unread { reason, scheme: self.bearer.filter(|_| reason == Reason::Ambiguous).or(first) })
    }
}
