//! A key in a header of its own, or in `Authorization`.

use http::{HeaderMap, HeaderName, header::AUTHORIZATION};

use super::{
    Scheme,
    basic::{self, BasicPart},
    coding::Coding,
    diagnosis::{Around, Rules, is_glued_to},
    grammar::{Word, is_tchar, trim_ows},
    is_readable,
    resolve::{Credential, KeyText, SourceResult},
};
use crate::{error::ConfigError, rejection::Cause};

/// A header that may carry a key, in one or several forms.
#[derive(Clone, Debug)]
pub(super) struct HeaderSource {
    pub(super) name: HeaderName,
    /// Whether this is `Authorization`, which credentials of other systems use too.
    is_shared: bool,
    pub(super) forms: Vec<Form>,
}

/// One scheme of a header: the word before the key, if any, and its position in the policy's order.
#[derive(Clone, Debug)]
pub(super) struct Form {
    pub(super) order: usize,
    pub(super) word: Option<Word>,
    coding: Coding,
    pub(super) scheme: &'static Scheme,
}

/// The text in the position of a key. Its length and its characters are not checked yet.
pub(crate) struct Candidate<'r> {
    pub(crate) scheme: &'static Scheme,
    pub(crate) key: &'r [u8],
    coding: Coding,
}

/// Adds a scheme in the header `name` to the headers of a policy.
pub(super) fn add(
    sources: &mut Vec<HeaderSource>,
    name: &str,
    order: usize,
    scheme: &Scheme,
) -> Result<(), ConfigError> {
    let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| ConfigError::HeaderName(name.to_owned()))?;
    if let Some(word) = &scheme.word
        && (word.is_empty() || !word.bytes().all(is_tchar))
    {
        return Err(ConfigError::AuthSchemeName(word.clone().into_owned()));
    }
    let word = scheme.word.as_deref().map(Word::new);
    let form = Form { order, word, coding: Coding::of(scheme), scheme: scheme.interned() };
    if let Some(source) = sources.iter_mut().find(|source| source.name == header) {
        if source.forms.iter().any(|other| other.is_read_otherwise(&form)) {
            return Err(ConfigError::ReadTwoWays(scheme.to_string()));
        }
        source.forms.push(form);
        // The forms with a word are tried before the form in which the whole value is the key.
        source.forms.sort_by_key(|form| form.word.is_none());
    } else {
        let is_shared = header == AUTHORIZATION;
        sources.push(HeaderSource { name: header, is_shared, forms: vec![form] });
    }
    Ok(())
}

impl<'r> Candidate<'r> {
    /// Returns `None` if the key is encoded.
    fn new(form: &Form, key: &'r [u8]) -> Option<Self> {
        match form.coding {
            Coding::Token68 | Coding::VisibleAscii => Some(Self { scheme: form.scheme, key, coding: form.coding }),
            Coding::Basic(_) => None,
        }
    }

    /// Returns whether the text has the length and the characters of a key.
    pub(crate) fn is_key(&self, max_len: usize) -> bool {
        self.coding.is_key(self.key, max_len)
    }
}

impl HeaderSource {
    /// Returns the text in the position of a key, unless it is encoded.
    #[inline]
    pub(super) fn candidate<'r>(&self, value: &'r [u8]) -> Option<Candidate<'r>> {
        let value = trim_ows(value);
        let (form, key) = self.forms.iter().find_map(|form| Some((form, form.text(value)?)))?;
        Candidate::new(form, key)
    }

    pub(super) fn find<'r>(&self, headers: &'r HeaderMap, rules: &Rules) -> SourceResult<'r> {
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

    /// Returns the text of a credential, and whether it is encoded as Basic. In a private header
    /// without a word of the policy, the text is the whole value.
    pub(super) fn text<'r>(&self, value: &'r [u8]) -> Option<(bool, &'r [u8])> {
        let found = self.forms.iter().find_map(|form| Some((form.scheme.is_basic(), form.text(value)?)));
        found.or((!self.is_shared).then_some((false, value)))
    }

    /// Returns whether this value is a credential of the policy, well-formed or not.
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
    /// Returns the text after the word of this form, or `None` if another word is there.
    #[inline]
    pub(super) fn text<'r>(&self, value: &'r [u8]) -> Option<&'r [u8]> {
        match &self.word {
            Some(word) => word.after(value),
            None => Some(value),
        }
    }

    /// Reads the key, or returns `None` if another word is there.
    fn read<'r>(&self, value: &'r [u8], rules: &Rules) -> Option<SourceResult<'r>> {
        let text = self.text(value)?;
        let key = match self.coding {
            Coding::Basic(part) => self.decode(text, part, rules),
            Coding::Token68 | Coding::VisibleAscii if self.coding.is_key(text, rules.max_key_len) => {
                Ok(KeyText::Borrowed(text))
            }
            Coding::Token68 | Coding::VisibleAscii => Err(rules.cause(text, self.around())),
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

    /// Reads the key out of `user:password`.
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

    /// Returns the byte after the word if it is not a space.
    fn after_word_without_space(&self, value: &[u8]) -> Option<u8> {
        value.get(self.word.as_ref()?.len()).copied().filter(|byte| *byte != b' ')
    }

    fn around(&self) -> Around {
        self.coding.around(self.word.is_some())
    }

    /// Returns whether another form has the same word, but reads the key after it in another
    /// coding.
    fn is_read_otherwise(&self, other: &Form) -> bool {
        let is_same = match (&self.word, &other.word) {
            (Some(word), Some(other)) => word.eq_ignore_ascii_case(other),
            _ => false,
        };
        is_same && self.coding != other.coding
    }
}
