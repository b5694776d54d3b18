//! Reads the credential of a request. It copies nothing unless the key is encoded.

use http::{HeaderMap, HeaderName, HeaderValue, Uri};

use super::{
    ConflictPolicy, Diagnosis, Scheme, SchemePolicy,
    diagnosis::{self, Rules, Seen},
    header::{Candidate, HeaderSource},
    resolve::{Credential, CredentialError, Resolution, Resolver},
    sources::Sources,
};
use crate::{error::ConfigError, rejection::Reason};

/// Up to this number of headers, comparing all names takes less time than hashing those of the
/// policy.
const FEW: usize = 4;

/// A policy, prepared for reading requests.
#[derive(Clone, Debug)]
pub(crate) struct Reader {
    carriers: Vec<HeaderName>,
    pub(super) sources: Sources,
    reads_beyond_headers: bool,
    conflict: ConflictPolicy,
    pub(super) rules: Rules,
}

// === impl Reader ===

impl Reader {
    /// Reads keys of up to `max_key_len` bytes.
    pub(crate) fn new(policy: &SchemePolicy, max_key_len: usize) -> Result<Self, ConfigError> {
        policy.check()?;
        let mut sources = Sources::default();
        for (order, scheme) in policy.schemes().iter().enumerate() {
            if !policy.schemes()[..order].contains(scheme) {
                sources.add(order, scheme)?;
            }
        }
        Ok(Self {
            carriers: sources.carriers(),
            reads_beyond_headers: !sources.are_headers(),
            sources,
            conflict: policy.conflict(),
            rules: Rules::new(policy, max_key_len),
        })
    }

    /// Returns every request header that may carry a key.
    pub(crate) fn carriers(&self) -> &[HeaderName] {
        &self.carriers
    }

    /// The fast path for a request in which one header with one line is the only place that may
    /// hold a key. In any other case it returns `None`, and [`Reader::read`] reads the request.
    ///
    /// In the frame of its caller it takes a fifth more time in most processes.
    #[inline(never)]
    pub(crate) fn candidate<'r>(&self, headers: &'r HeaderMap) -> Option<Candidate<'r>> {
        let (source, value) = self.only_source(headers)?;
        source.candidate(value.as_bytes())
    }

    /// Does the same as [`Reader::candidate`], and marks the header as sensitive.
    #[inline(never)]
    pub(crate) fn mark_candidate<'r>(&self, headers: &'r mut HeaderMap) -> Option<Candidate<'r>> {
        let (source, value) = if headers.len() <= FEW {
            self.only_source_of_few(headers)?
        } else {
            let (source, _) = self.only_source(headers)?;
            (source, headers.get_mut(&source.name)?)
        };
        value.set_sensitive(true);
        source.candidate(value.as_bytes())
    }

    /// Returns the only header that may carry a key, with its value.
    fn only_source<'r>(&self, headers: &'r HeaderMap) -> Option<(&HeaderSource, &'r HeaderValue)> {
        if self.needs_parser(headers) {
            return None;
        }
        let mut found = None;
        for source in &self.sources.headers {
            if let Some(value) = headers.get(&source.name)
                && found.replace((source, value)).is_some()
            {
                return None;
            }
        }
        found
    }

    /// Does the same as [`Reader::only_source`]. See [`FEW`].
    fn only_source_of_few<'r>(&self, headers: &'r mut HeaderMap) -> Option<(&HeaderSource, &'r mut HeaderValue)> {
        if self.needs_parser(headers) {
            return None;
        }
        let mut found = None;
        for (name, value) in headers {
            if let Some(source) = self.sources.headers.iter().find(|source| source.name == *name)
                && found.replace((source, value)).is_some()
            {
                return None;
            }
        }
        found
    }

    /// Returns whether a header is repeated, or a place other than a header may hold a key.
    fn needs_parser(&self, headers: &HeaderMap) -> bool {
        self.reads_beyond_headers || headers.len() > headers.keys_len()
    }

    /// Reads the one credential of a request.
    pub(crate) fn read<'r>(&self, headers: &'r HeaderMap, uri: &'r Uri) -> Result<Credential<'r>, CredentialError> {
        let mut found = Resolver::new(self.conflict);
        self.sources.find(headers, uri, &self.rules, &mut found);
        let (reason, diagnosis) = match found.resolve() {
            Resolution::Read(credential) => return Ok(credential),
            Resolution::Unread(unread) => return Err(unread),
            Resolution::Foreign(value) => self.rules.foreign(value),
            Resolution::Nothing => diagnosis::of_others(headers, uri),
        };
        let scheme = match diagnosis.seen {
            Seen::Scheme(order) if reason == Reason::Malformed => self.header_scheme(order.into()),
            _ => None,
        };
        Err(CredentialError { reason, scheme, diagnosis })
    }

    /// Returns the length of the longest key that is read.
    pub(crate) fn max_key_len(&self) -> usize {
        self.rules.max_key_len
    }

    /// Returns what is probably wrong with a key that the store does not accept.
    #[cold]
    pub(crate) fn suspect(&self, scheme: &'static Scheme, key: &[u8]) -> Option<Diagnosis> {
        let cause = self.rules.suspect(key, scheme.word.is_some() && !scheme.is_basic())?;
        Some(Diagnosis::of_scheme(cause, self.sources.order_of(scheme)?))
    }

    /// Marks every value of an accepted header as sensitive, so that its `Debug` shows nothing.
    pub(crate) fn mark_sensitive(&self, headers: &mut HeaderMap) {
        for (name, value) in headers.iter_mut() {
            if self.carriers.contains(name) {
                value.set_sensitive(true);
            }
        }
    }

    /// Removes every credential of the policy, except WebSocket protocols, which
    /// [`Reader::take_protocol`] removes in any case. An `Authorization` of another system stays.
    pub(crate) fn hide(&self, headers: &mut HeaderMap, uri: &mut Uri) {
        self.sources.hide(headers, uri);
    }

    /// Removes the key and its name from the protocols that a WebSocket client offers, so that no
    /// server selects them. Returns the name.
    pub(crate) fn take_protocol(&self, headers: &mut HeaderMap) -> Option<HeaderValue> {
        self.sources.take_protocol(headers)
    }

    /// Returns whether [`Reader::take_protocol`] may change a request.
    pub(crate) fn takes_protocols(&self) -> bool {
        self.sources.has_protocols()
    }

    /// Returns the scheme in this position of the policy's order, if it reads a header.
    fn header_scheme(&self, order: usize) -> Option<&'static Scheme> {
        let mut forms = self.sources.headers.iter().flat_map(|source| &source.forms);
        forms.find(|form| form.order == order).map(|form| form.scheme)
    }
}
