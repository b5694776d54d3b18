//! Reads the credential out of a request's headers and query, without copying it unless it is coded.

use std::borrow::Cow;

use http::{
    HeaderMap, HeaderName, HeaderValue, Uri,
    header::{AUTHORIZATION, COOKIE, SEC_WEBSOCKET_PROTOCOL},
};

use super::{
    Carrier, ConflictPolicy, KeyForm, Scheme, SchemePolicy,
    basic::{self, BasicPart},
    cookie::CookieSource,
    diagnosis::{self, Around, Rules, Seen, is_glued_to},
    grammar::{after_word, is_tchar, is_token68, trim_ows},
    is_readable,
    resolve::{Credential, CredentialError, KeyText, Resolution, Resolver, SourceResult},
    websocket::ProtocolSource,
};
use crate::{
    error::ConfigError,
    rejection::{Cause, Reason},
};

/// A policy, made ready for reading.
#[derive(Clone, Debug)]
pub(crate) struct Reader {
    pub(super) carriers: Vec<HeaderName>,
    pub(super) headers: Vec<HeaderSource>,
    pub(super) queries: Vec<QuerySource>,
    pub(super) cookies: Vec<CookieSource>,
    pub(super) protocols: Vec<ProtocolSource>,
    reads_beyond_headers: bool,
    conflict: ConflictPolicy,
    pub(super) rules: Rules,
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
    coding: Coding,
    scheme: &'static Scheme,
}

/// How a key is written.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Coding {
    Token68,
    VisibleAscii,
    Basic(BasicPart),
}

/// What stands where a key would. Nobody has looked at its length or its alphabet yet.
pub(crate) struct Candidate<'r> {
    pub(crate) scheme: &'static Scheme,
    pub(crate) key: &'r [u8],
    coding: Coding,
}

#[derive(Clone, Debug)]
pub(super) struct QuerySource {
    pub(super) name: Box<str>,
    order: usize,
    scheme: &'static Scheme,
}

// === impl Reader ===

impl Reader {
    /// Reads keys of up to `max_key_len` bytes.
    pub(crate) fn new(policy: &SchemePolicy, max_key_len: usize) -> Result<Self, ConfigError> {
        policy.check()?;
        let mut reader = Self {
            carriers: Vec::new(),
            headers: Vec::new(),
            queries: Vec::new(),
            cookies: Vec::new(),
            protocols: Vec::new(),
            reads_beyond_headers: false,
            conflict: policy.conflict(),
            rules: Rules::new(policy, max_key_len),
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
            Carrier::Header(name) => self.add_header(name, order, scheme)?,
            Carrier::Query(name) if name.is_empty() => return Err(ConfigError::QueryName),
            Carrier::Query(name) => {
                self.queries.push(QuerySource { name: name.as_ref().into(), order, scheme: interned() });
            }
            Carrier::Cookie(name) if !is_token(name) => return Err(ConfigError::CookieName(name.to_string())),
            Carrier::Cookie(name) => {
                self.cookies.push(CookieSource { name: name.as_ref().into(), order, scheme: interned() });
            }
            Carrier::WebSocketProtocol(name) => {
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
            return Err(ConfigError::AuthSchemeName(word.clone().into_owned()));
        }
        let word: Option<Box<str>> = scheme.word.as_deref().map(Into::into);
        let form = Form { order, word, coding: Coding::of(scheme), scheme: scheme.interned() };
        if let Some(source) = self.headers.iter_mut().find(|source| source.name == header) {
            if source.forms.iter().any(|other| other.is_read_otherwise(&form)) {
                return Err(ConfigError::ReadTwoWays(scheme.to_string()));
            }
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
        let is_plain = !matches!(form.coding, Coding::Basic(_));
        is_plain.then_some(Candidate { scheme: form.scheme, key, coding: form.coding })
    }

    /// Reads the one credential of a request.
    pub(crate) fn read<'r>(&self, headers: &'r HeaderMap, uri: &'r Uri) -> Result<Credential<'r>, CredentialError> {
        let mut verdict = Resolver::new(self.conflict);
        self.headers.iter().for_each(|source| verdict.add(source.find(headers, &self.rules)));
        self.queries.iter().for_each(|source| verdict.add(source.find(uri, &self.rules)));
        self.cookies.iter().for_each(|source| verdict.add(source.find(headers, &self.rules)));
        self.protocols.iter().for_each(|source| verdict.add(source.find(headers, &self.rules)));
        let (reason, diagnosis) = match verdict.resolve() {
            Resolution::Read(credential) => return Ok(credential),
            Resolution::Unread(unread) => return Err(unread),
            Resolution::Foreign(value) => self.rules.foreign(value),
            Resolution::Nothing => diagnosis::of_others(headers, uri),
        };
        let scheme = match diagnosis.seen {
            Seen::Scheme(order) if reason == Reason::Malformed => self.scheme(order.into()),
            _ => None,
        };
        Err(CredentialError { reason, scheme, diagnosis })
    }

    /// The longest key that is read.
    pub(crate) fn max_key_len(&self) -> usize {
        self.rules.max_key_len
    }

    /// The place of a scheme in the policy's order.
    pub(super) fn order_of(&self, scheme: &'static Scheme) -> Option<usize> {
        let headers = self.headers.iter().flat_map(|source| &source.forms).map(|form| (form.order, form.scheme));
        let queries = self.queries.iter().map(|source| (source.order, source.scheme));
        let cookies = self.cookies.iter().map(|source| (source.order, source.scheme));
        let protocols = self.protocols.iter().map(|source| (source.order, source.scheme));
        let mut all = headers.chain(queries).chain(cookies).chain(protocols);
        all.find(|(_, other)| std::ptr::eq(*other, scheme)).map(|(order, _)| order)
    }

    /// The scheme of a header that stands in this place of the policy's order.
    fn scheme(&self, order: usize) -> Option<&'static Scheme> {
        let mut forms = self.headers.iter().flat_map(|source| &source.forms);
        forms.find(|form| form.order == order).map(|form| form.scheme)
    }
}

impl Rules {
    fn new(policy: &SchemePolicy, max_key_len: usize) -> Self {
        let words =
            |schemes: Vec<&Scheme>| schemes.iter().filter_map(|scheme| Some(scheme.word.as_deref()?.into())).collect();
        let of_authorization: Vec<&Scheme> =
            policy.schemes().iter().filter(|scheme| scheme.is_in_authorization()).collect();
        let named = of_authorization.iter().find(|scheme| policy.is_advertised(scheme)).or(of_authorization.first());
        let seen = |named: &Scheme| {
            policy.schemes().iter().position(|scheme| scheme == named).map_or(Seen::Nothing, Seen::scheme)
        };
        Self {
            max_key_len,
            words: words(policy.schemes().iter().collect()),
            authorization_words: of_authorization
                .iter()
                .filter_map(|scheme| Some((scheme.word.as_deref()?.into(), seen(scheme))))
                .collect(),
            authorization: named.map_or(Seen::Nothing, |named| seen(named)),
        }
    }
}

impl Candidate<'_> {
    /// Whether it is a key by its length and its alphabet.
    pub(crate) fn is_key(&self, max_len: usize) -> bool {
        is_key(self.key, self.coding, max_len)
    }
}

impl HeaderSource {
    fn find<'r>(&self, headers: &'r HeaderMap, rules: &Rules) -> SourceResult<'r> {
        let mut values = headers.get_all(&self.name).iter();
        let Some(first) = values.next() else {
            return SourceResult::Nothing;
        };
        let first = self.read(first.as_bytes(), rules);
        match values.next() {
            None => first,
            Some(second) => {
                let scheme = first.scheme().or(self.read(second.as_bytes(), rules).scheme());
                SourceResult::Twice(self.forms.first().map_or(0, |form| form.order), scheme)
            }
        }
    }

    fn read<'r>(&self, value: &'r [u8], rules: &Rules) -> SourceResult<'r> {
        let value = trim_ows(value);
        if value.is_empty() && self.is_shared {
            return SourceResult::Nothing;
        }
        if let Some(finding) = self.forms.iter().find_map(|form| form.read(value, rules)) {
            return finding;
        }
        match self.forms.first() {
            Some(form) if !self.is_shared && value.is_empty() => SourceResult::Empty(form.order, form.scheme),
            Some(first) if !self.is_shared => {
                let (cause, _) = rules.other_word(value);
                let glued =
                    self.forms.iter().find(|form| form.word.as_ref().is_some_and(|word| is_glued_to(value, word)));
                match glued.filter(|_| cause == Cause::MissingScheme) {
                    Some(form) => SourceResult::Malformed(form.order, form.scheme, Cause::NoSpaceAfterScheme),
                    None => SourceResult::Malformed(first.order, first.scheme, cause),
                }
            }
            _ => SourceResult::Foreign(value),
        }
    }

    /// The text of a credential and whether it is coded as Basic; a private header without a word of ours is taken whole.
    pub(super) fn text<'r>(&self, value: &'r [u8]) -> Option<(bool, &'r [u8])> {
        let found = self.forms.iter().find_map(|form| Some((form.scheme.is_basic(), form.text(value)?)));
        found.or((!self.is_shared).then_some((false, value)))
    }

    /// Whether this value is ours, well-formed or not.
    pub(super) fn claims(&self, value: &[u8]) -> bool {
        let value = trim_ows(value);
        if self.is_shared {
            !value.is_empty() && self.forms.iter().any(|form| form.text(value).is_some())
        } else {
            true
        }
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
    fn read<'r>(&self, value: &'r [u8], rules: &Rules) -> Option<SourceResult<'r>> {
        let text = self.text(value)?;
        let key = match self.coding {
            Coding::Basic(part) => self.decode(text, part, rules),
            coding if is_key(text, coding, rules.max_key_len) => Ok(KeyText::Borrowed(text)),
            _ => Err(rules.cause(text, self.around())),
        };
        Some(match key {
            Ok(key) => SourceResult::Key(self.order, Credential { scheme: self.scheme, key }),
            Err(Cause::Empty) => match self.after_word_without_space(value) {
                None => SourceResult::Empty(self.order, self.scheme),
                Some(b':') => SourceResult::Malformed(self.order, self.scheme, Cause::ColonAfterScheme),
                Some(_) => SourceResult::Malformed(self.order, self.scheme, Cause::NoSpaceAfterScheme),
            },
            Err(cause) => SourceResult::Malformed(self.order, self.scheme, cause),
        })
    }

    /// The key out of `user:password`, or why there is none.
    fn decode<'r>(&self, coded: &[u8], part: BasicPart, rules: &Rules) -> Result<KeyText<'r>, Cause> {
        if coded.is_empty() {
            return Err(Cause::Empty);
        }
        match basic::decode(coded, part, rules.max_key_len) {
            Ok(key) if is_readable(&key, rules.max_key_len) => Ok(KeyText::Decoded(key)),
            Ok(key) => Err(rules.cause(&key, Around::Whole)),
            Err(Cause::NotBase64) => Err(match rules.cause(coded, self.around()) {
                cause @ (Cause::ColonAfterScheme | Cause::RepeatedScheme | Cause::Quoted | Cause::SeveralInOneLine) => {
                    cause
                }
                _ => Cause::NotBase64,
            }),
            Err(cause) => Err(cause),
        }
    }

    /// What follows the word, where no space does.
    fn after_word_without_space(&self, value: &[u8]) -> Option<u8> {
        value.get(self.word.as_ref()?.len()).copied().filter(|byte| *byte != b' ')
    }

    fn around(&self) -> Around {
        match self.coding {
            _ if self.word.is_none() => Around::Whole,
            Coding::VisibleAscii => Around::WordWithCommas,
            Coding::Token68 | Coding::Basic(_) => Around::Word,
        }
    }

    /// Whether another form has the same word, and another key after it.
    fn is_read_otherwise(&self, other: &Form) -> bool {
        let is_same = match (&self.word, &other.word) {
            (Some(word), Some(other)) => word.eq_ignore_ascii_case(other),
            _ => false,
        };
        is_same && self.coding != other.coding
    }
}

impl Coding {
    fn of(scheme: &Scheme) -> Self {
        match scheme.form {
            KeyForm::Password => Self::Basic(BasicPart::Password),
            _ if scheme.is_basic() => Self::Basic(BasicPart::User),
            KeyForm::Usual if scheme.word.is_some() => Self::Token68,
            KeyForm::Usual | KeyForm::VisibleAscii => Self::VisibleAscii,
        }
    }
}

fn is_key(text: &[u8], coding: Coding, max_len: usize) -> bool {
    match coding {
        Coding::Token68 => text.len() <= max_len && is_token68(text),
        Coding::VisibleAscii | Coding::Basic(_) => is_readable(text, max_len),
    }
}

impl QuerySource {
    fn find<'r>(&self, uri: &'r Uri, rules: &Rules) -> SourceResult<'r> {
        let query = uri.query().unwrap_or_default();
        let mut values =
            form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| *name == *self.name).map(|(_, value)| value);
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
}

#[cfg(test)]
mod tests {
    use http::header::HOST;
    use proptest::{collection::vec, prelude::*, sample::select};

    use super::*;
    use crate::rejection::Reason;

    type Told = Result<(&'static Scheme, Vec<u8>), (Reason, Option<&'static Scheme>)>;

    fn told(read: Result<Credential<'_>, CredentialError>) -> Told {
        read.map(|read| (read.scheme, read.key.to_vec())).map_err(|unread| (unread.reason, unread.scheme))
    }

    fn schemes() -> impl Strategy<Value = Vec<Scheme>> {
        let in_headers = vec![
            Scheme::bearer(),
            Scheme::token(),
            Scheme::authorization("bearer"),
            Scheme::token().visible_ascii(),
            Scheme::bearer().visible_ascii(),
            Scheme::basic(),
            Scheme::basic_password(),
            Scheme::header("authorization"),
            Scheme::x_api_key(),
            Scheme::header_with_prefix("x-api-key", "Key"),
            Scheme::header_with_prefix("x-key", "Key"),
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

    impl Reader {
        /// Whether a header's whole value may be a key.
        fn takes_whole(&self, name: &str) -> bool {
            self.headers.iter().any(|source| source.name == name && source.forms.iter().any(|form| form.word.is_none()))
        }
    }

    /// Whether a candidate that is a key is what the long way reads.
    fn is_what_is_read(reader: &Reader, headers: &HeaderMap, uri: &Uri) -> bool {
        let key = reader.candidate(headers).filter(|key| key.is_key(reader.max_key_len()));
        key.is_none_or(|key| told(reader.read(headers, uri)) == Ok((key.scheme, key.key.to_vec())))
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, cases: 4_096, ..ProptestConfig::default() })]

        #[test]
        fn the_plain_cases_come_to_what_all_findings_come_to(
            schemes in schemes(),
            conflict in select(vec![ConflictPolicy::Reject, ConflictPolicy::AllowIdentical, ConflictPolicy::FirstWins]),
            lines in vec((select(vec!["authorization", "x-api-key", "x-key", "cookie", "sec-websocket-protocol", "host"]), value()), 0..4),
            uri in select(vec!["/", "/?key=k", "/?key=k&key=k", "/?key="]),
            max_key_len in select(vec![512, 1, 4096]),
        ) {
            let reader = Reader::new(&SchemePolicy::new(schemes).on_conflict(conflict), max_key_len);
            if matches!(reader, Err(ConfigError::ReadTwoWays(_))) {
                return Ok(());
            }
            let reader = reader.unwrap();
            let (mut headers, uri) = (HeaderMap::new(), Uri::from_static(uri));
            for (name, value) in lines {
                headers.append(name, HeaderValue::from_bytes(&value).unwrap());
            }
            prop_assert!(is_what_is_read(&reader, &headers, &uri));
            headers.remove(HOST);
            prop_assert!(is_what_is_read(&reader, &headers, &uri));
        }

        /// Whatever an empty credential is added to, the same is read; alone it is malformed.
        #[test]
        fn r07_an_empty_credential_conflicts_with_nothing(
            schemes in schemes(),
            conflict in select(vec![ConflictPolicy::Reject, ConflictPolicy::AllowIdentical, ConflictPolicy::FirstWins]),
            lines in vec((select(vec!["authorization", "x-api-key", "x-key", "cookie", "sec-websocket-protocol"]), value()), 0..3),
            query in select(vec!["", "key=k", "key=a%20b"]),
            (place, empty) in select(vec![
                ("authorization", "Bearer"), ("authorization", "Token "), ("authorization", "Basic"), ("authorization", ""),
                ("x-api-key", ""), ("x-api-key", "Key"), ("x-key", " \t"), ("x-key", "Key"), ("cookie", "key="),
                ("sec-websocket-protocol", "key"), ("?", "key="),
            ]),
        ) {
            let Ok(reader) = Reader::new(&SchemePolicy::new(schemes).on_conflict(conflict), 512) else { return Ok(()) };
            let mut headers = HeaderMap::new();
            for (name, value) in lines {
                headers.insert(name, HeaderValue::from_bytes(&value).unwrap());
            }
            let mut uri: Uri = format!("/?{query}").parse().unwrap();
            // A place whose whole value may be a key takes a word for one.
            let is_taken_for_a_key = !empty.trim().is_empty() && reader.takes_whole(place);
            if is_taken_for_a_key || headers.contains_key(place) || (place == "?" && !query.is_empty()) {
                return Ok(());
            }
            let before = told(reader.read(&headers, &uri));
            if place == "?" {
                uri = format!("/?{empty}").parse().unwrap();
            } else {
                headers.insert(place, HeaderValue::from_static(empty));
            }
            let after = told(reader.read(&headers, &uri));
            match before {
                Err((Reason::Missing | Reason::WrongScheme, _)) => {
                    prop_assert!(matches!(after, Err((Reason::Missing | Reason::WrongScheme | Reason::Malformed, _))), "{after:?}");
                }
                // Of two empty ones, the first in the policy's order is named.
                Err((Reason::Malformed, _)) => prop_assert!(matches!(after, Err((Reason::Malformed, _))), "{after:?}"),
                before => prop_assert_eq!(after, before),
            }
        }
    }
}
