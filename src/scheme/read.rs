//! Reads the credential out of a request's headers and query, without copying it unless it is coded.

use std::borrow::Cow;

use http::{
    HeaderMap, HeaderName, HeaderValue, Uri,
    header::{AUTHORIZATION, COOKIE, SEC_WEBSOCKET_PROTOCOL},
};

use super::{
    Conflict, MAX_KEY_LEN, Place, Scheme, SchemePolicy,
    basic::user_name,
    cookie::CookieSource,
    grammar::{after_word, is_tchar, is_token68, trim_ows},
    is_readable,
    verdict::{Credential, Finding, KeyText, Unread, Verdict},
    websocket::ProtocolSource,
};
use crate::error::ConfigError;

/// A policy, made ready for reading.
#[derive(Clone, Debug)]
pub(crate) struct Reader {
    pub(super) carriers: Vec<HeaderName>,
    pub(super) headers: Vec<HeaderSource>,
    pub(super) queries: Vec<QuerySource>,
    pub(super) cookies: Vec<CookieSource>,
    pub(super) protocols: Vec<ProtocolSource>,
    reads_beyond_headers: bool,
    conflict: Conflict,
}

/// A header that may carry a key, in one or several forms.
#[derive(Clone, Debug)]
pub(super) struct HeaderSource {
    pub(super) name: HeaderName,
    /// `Authorization`, which schemes of others use too.
    is_shared: bool,
    forms: Vec<Form>,
}

/// One scheme: the word that stands before the key, if any, and its place in the policy's order.
#[derive(Clone, Debug)]
struct Form {
    order: usize,
    word: Option<Box<str>>,
    is_basic: bool,
    scheme: &'static Scheme,
}

/// What stands where a key would. Nobody has looked at its length or its alphabet yet.
pub(crate) struct Candidate<'r> {
    pub(crate) scheme: &'static Scheme,
    pub(crate) key: &'r [u8],
    follows_word: bool,
}

#[derive(Clone, Debug)]
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
        let mut reader = Self {
            carriers: Vec::new(),
            headers: Vec::new(),
            queries: Vec::new(),
            cookies: Vec::new(),
            protocols: Vec::new(),
            reads_beyond_headers: false,
            conflict: policy.conflict(),
        };
        for (order, scheme) in policy.schemes().iter().enumerate() {
            if !policy.schemes()[..order].contains(scheme) {
                reader.add(order, scheme)?;
            }
        }
        let beyond = [reader.queries.len(), reader.cookies.len(), reader.protocols.len()];
        reader.reads_beyond_headers = beyond != [0; 3];
        let carriers = reader.headers.iter().map(|source| source.name.clone());
        let carriers = carriers.chain((!reader.cookies.is_empty()).then_some(COOKIE));
        reader.carriers = carriers.chain((!reader.protocols.is_empty()).then_some(SEC_WEBSOCKET_PROTOCOL)).collect();
        Ok(reader)
    }

    fn add(&mut self, order: usize, scheme: &Scheme) -> Result<(), ConfigError> {
        let interned = || scheme.interned();
        let is_token = |name: &str| !name.is_empty() && name.bytes().all(is_tchar);
        match &scheme.place {
            Place::Header(name) => self.add_header(name, order, scheme)?,
            Place::Query(name) if name.is_empty() => return Err(ConfigError::QueryName),
            Place::Query(name) => {
                self.queries.push(QuerySource { name: name.as_ref().into(), order, scheme: interned() });
            }
            Place::Cookie(name) if !is_token(name) => return Err(ConfigError::CookieName(name.to_string())),
            Place::Cookie(name) => {
                self.cookies.push(CookieSource { name: name.as_ref().into(), order, scheme: interned() });
            }
            Place::WebSocketProtocol(name) => {
                let valid = HeaderValue::from_str(name).ok().filter(|_| is_token(name));
                let name = valid.ok_or_else(|| ConfigError::WebSocketProtocol(name.to_string()))?;
                self.protocols.push(ProtocolSource { name, order, scheme: interned() });
            }
        }
        Ok(())
    }

    fn add_header(&mut self, name: &str, order: usize, scheme: &Scheme) -> Result<(), ConfigError> {
        let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| ConfigError::HeaderName(name.to_owned()))?;
        if let Some(word) = &scheme.word
            && (word.is_empty() || !word.bytes().all(is_tchar))
        {
            return Err(ConfigError::SchemeWord(word.clone().into_owned()));
        }
        let word = scheme.word.as_deref().map(Into::into);
        let form = Form { order, word, is_basic: scheme.is_basic(), scheme: scheme.interned() };
        if let Some(source) = self.headers.iter_mut().find(|source| source.name == header) {
            source.forms.push(form);
            // A word is looked for before the value is taken whole.
            source.forms.sort_by_key(|form| form.word.is_none());
        } else {
            let is_shared = header == AUTHORIZATION;
            self.headers.push(HeaderSource { name: header, is_shared, forms: vec![form] });
        }
        Ok(())
    }

    /// Every header that may carry a key.
    pub(crate) fn carriers(&self) -> &[HeaderName] {
        &self.carriers
    }

    /// The plain case: one header of one line, and no key elsewhere. Whatever is none, [`Reader::read`] reads.
    pub(crate) fn candidate<'r>(&self, headers: &'r HeaderMap) -> Option<Candidate<'r>> {
        let some_are_repeated = headers.len() > headers.keys_len();
        if self.reads_beyond_headers || some_are_repeated {
            return None;
        }
        let mut found = None;
        for source in &self.headers {
            if let Some(value) = headers.get(&source.name)
                && found.replace((source, value)).is_some()
            {
                return None;
            }
        }
        let (source, value) = found?;
        let value = trim_ows(value.as_bytes());
        let (form, key) = source.forms.iter().find_map(|form| Some((form, form.text(value)?)))?;
        (!form.is_basic).then_some(Candidate { scheme: form.scheme, key, follows_word: form.word.is_some() })
    }

    /// Reads the one credential of a request.
    pub(crate) fn read<'r>(&self, headers: &'r HeaderMap, uri: &'r Uri) -> Result<Credential<'r>, Unread> {
        let mut verdict = Verdict::new(self.conflict);
        self.headers.iter().for_each(|source| verdict.add(source.find(headers)));
        self.queries.iter().for_each(|source| verdict.add(source.find(uri)));
        self.cookies.iter().for_each(|source| verdict.add(source.find(headers)));
        self.protocols.iter().for_each(|source| verdict.add(source.find(headers)));
        verdict.conclude()
    }
}

impl Candidate<'_> {
    /// Whether it is a key by its length and its alphabet.
    pub(crate) fn is_key(&self) -> bool {
        is_key(self.key, self.follows_word)
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
        if value.is_empty() && self.is_shared {
            return Finding::Nothing;
        }
        self.forms.iter().find_map(|form| form.read(value)).unwrap_or_else(|| match self.forms.first() {
            Some(form) if !self.is_shared => Finding::Malformed(form.order, form.scheme),
            _ => Finding::Foreign,
        })
    }

    /// The text of a credential and whether it is coded as Basic; a private header without a word of ours is taken whole.
    pub(super) fn text<'r>(&self, value: &'r [u8]) -> Option<(bool, &'r [u8])> {
        let found = self.forms.iter().find_map(|form| Some((form.scheme.is_basic(), form.text(value)?)));
        found.or((!self.is_shared).then_some((false, value)))
    }

    /// Whether this value is ours, well-formed or not.
    pub(super) fn claims(&self, value: &[u8]) -> bool {
        !matches!(self.read(value), Finding::Nothing | Finding::Foreign)
    }
}

impl Form {
    /// What stands where the key would, unless another word stands before it.
    fn text<'r>(&self, value: &'r [u8]) -> Option<&'r [u8]> {
        match &self.word {
            Some(word) => after_word(value, word),
            None => Some(value),
        }
    }

    /// The key in this value, unless another word stands before it.
    fn read<'r>(&self, value: &'r [u8]) -> Option<Finding<'r>> {
        let text = self.text(value)?;
        let key = if self.is_basic {
            user_name(text).filter(|name| is_readable(name)).map(KeyText::Decoded)
        } else {
            Some(text).filter(|key| is_key(key, self.word.is_some())).map(KeyText::Borrowed)
        };
        Some(match key {
            Some(key) => Finding::Key(self.order, Credential { scheme: self.scheme, key }),
            None => Finding::Malformed(self.order, self.scheme),
        })
    }
}

fn is_key(text: &[u8], follows_word: bool) -> bool {
    if follows_word { text.len() <= MAX_KEY_LEN && is_token68(text) } else { is_readable(text) }
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
            Cow::Borrowed(text) => KeyText::Borrowed(text.as_bytes()),
            Cow::Owned(text) => KeyText::Decoded(text.into_bytes().into()),
        };
        Finding::Key(self.order, Credential { scheme: self.scheme, key })
    }
}

#[cfg(test)]
mod tests {
    use http::header::HOST;
    use proptest::{collection::vec, prelude::*, sample::select};

    use super::*;
    use crate::rejection::Reason;

    type Told = Result<(&'static Scheme, Vec<u8>), (Reason, Option<&'static Scheme>)>;

    fn told(read: Result<Credential<'_>, Unread>) -> Told {
        read.map(|read| (read.scheme, read.key.to_vec())).map_err(|unread| (unread.reason, unread.scheme))
    }

    fn schemes() -> impl Strategy<Value = Vec<Scheme>> {
        let in_headers = vec![
            Scheme::bearer(),
            Scheme::token(),
            Scheme::authorization("bearer"),
            Scheme::basic(),
            Scheme::header("authorization"),
            Scheme::x_api_key(),
            Scheme::header_with_word("x-api-key", "Key"),
            Scheme::header_with_word("x-key", "Key"),
        ];
        let beyond = vec![Scheme::query("key"), Scheme::cookie("key"), Scheme::websocket_protocol("key")];
        let beyond = prop_oneof![3 => Just(Vec::new()), 1 => vec(select(beyond), 1..3)];
        (vec(select(in_headers), 1..5), beyond).prop_map(|(headers, beyond)| [headers, beyond].concat())
    }

    /// Few keys, so that some are equal; in white space of all kinds, and behind words of ours, of others and none.
    fn value() -> impl Strategy<Value = Vec<u8>> {
        let space = || select(vec!["", "", "", " ", "  ", "\t", " \t"]);
        let word =
            select(vec!["", "", "Bearer ", "bEARER  ", "Bearer", "Token ", "Basic ", "Key ", "Key\t", "Digest "]);
        let key = select(vec!["", "k", "k", "k=", "azp4", "azp4Og==", "=", "a,b", "a b", "key=k", "key, k", "\u{fc}"]);
        let long = (508_usize..516).prop_map(|len| "k".repeat(len));
        let key = prop_oneof![9 => key.prop_map(str::to_owned), 1 => long];
        (space(), word, key, space()).prop_map(|(before, word, key, after)| [before, word, &key, after].concat().into())
    }

    /// Whether a candidate that is a key is what the long way reads.
    fn is_what_is_read(reader: &Reader, headers: &HeaderMap, uri: &Uri) -> bool {
        let key = reader.candidate(headers).filter(Candidate::is_key);
        key.is_none_or(|key| told(reader.read(headers, uri)) == Ok((key.scheme, key.key.to_vec())))
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, cases: 4_096, ..ProptestConfig::default() })]

        #[test]
        fn the_plain_cases_come_to_what_all_findings_come_to(
            schemes in schemes(),
            conflict in select(vec![Conflict::Refuse, Conflict::EqualKeysCountOnce, Conflict::FirstWins]),
            lines in vec((select(vec!["authorization", "x-api-key", "x-key", "cookie", "sec-websocket-protocol", "host"]), value()), 0..4),
            uri in select(vec!["/", "/?key=k", "/?key=k&key=k", "/?key="]),
        ) {
            let reader = Reader::new(&SchemePolicy::new(schemes).on_conflict(conflict)).unwrap();
            let (mut headers, uri) = (HeaderMap::new(), Uri::from_static(uri));
            for (name, value) in lines {
                headers.append(name, HeaderValue::from_bytes(&value).unwrap());
            }
            prop_assert!(is_what_is_read(&reader, &headers, &uri));
            headers.remove(HOST);
            prop_assert!(is_what_is_read(&reader, &headers, &uri));
        }
    }
}
