//! Finds out what is wrong with the form of a credential that cannot be read.
//!
//! It takes the texts of a request and returns a [`Cause`] and a scheme of the policy, without any
//! byte of the request. It runs only for rejected requests.

use http::{HeaderMap, HeaderValue, Uri, header::COOKIE};

use super::{
    Scheme, SchemePolicy, cookie,
    grammar::{is_tchar, trim_ows},
    known,
};
use crate::rejection::{Cause, Reason};

/// The cause of an error and what an error text may name. It is small, so a copy is cheap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Diagnosis {
    pub(crate) cause: Cause,
    pub(crate) seen: Seen,
}

/// What an error text may name: a scheme of the policy, or a public name from `known.rs`. A number
/// is a position in the policy's order or in a list of `known.rs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Seen {
    Nothing,
    /// A scheme of the policy.
    Scheme(u8),
    /// Two schemes of the policy.
    Schemes(u8, u8),
    /// One of [`WORDS`](known::WORDS).
    Word(u8),
    /// One of [`PLACES`](known::PLACES).
    Place(u8),
}

/// The minimum length of a text that is probably a key. A shorter one is probably a part of a word.
pub(super) const SHORTEST_KEY: usize = 16;

/// The rules for every place of a policy.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    pub(super) max_key_len: usize,
    /// Every word of the policy.
    pub(super) words: Vec<Box<str>>,
    /// The words of the policy in `Authorization`, each with its scheme.
    pub(super) authorization_words: Vec<(Box<str>, Seen)>,
    /// The scheme in `Authorization` that an error text recommends.
    pub(super) authorization: Seen,
}

/// The position of a text that is not a key, and whether commas are allowed in it.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Around {
    /// After a word; commas are not allowed.
    Word,
    /// The whole value; commas are allowed.
    Whole,
    /// The whole value; commas are not allowed.
    WholeWithoutCommas,
    /// After a word; commas are allowed.
    WordWithCommas,
}

impl Diagnosis {
    pub(crate) const fn new(cause: Cause, seen: Seen) -> Self {
        Self { cause, seen }
    }

    /// A diagnosis about the scheme in this position of the policy's order.
    pub(super) fn of_scheme(cause: Cause, order: usize) -> Self {
        Self::new(cause, Seen::scheme(order))
    }

    pub(super) fn two_places(one: usize, other: usize) -> Self {
        let seen = match (Seen::scheme(one.min(other)), Seen::scheme(one.max(other))) {
            (Seen::Scheme(one), Seen::Scheme(other)) => Seen::Schemes(one, other),
            _ => Seen::Nothing,
        };
        Self::new(Cause::TwoPlaces, seen)
    }
}

impl Seen {
    /// Schemes after the 256th are not named, since a position has one byte.
    pub(super) fn scheme(order: usize) -> Self {
        u8::try_from(order).map_or(Self::Nothing, Self::Scheme)
    }
}

impl Around {
    fn is_word(self) -> bool {
        matches!(self, Self::Word | Self::WordWithCommas)
    }
}

impl Rules {
    pub(super) fn new(policy: &SchemePolicy, max_key_len: usize) -> Self {
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

    pub(super) fn is_word(&self, word: &[u8]) -> bool {
        has(&self.words, word) || known::word(word).is_some()
    }

    /// Returns why this text is not a key.
    pub(super) fn cause(&self, text: &[u8], around: Around) -> Cause {
        let allows_commas = matches!(around, Around::Whole | Around::WordWithCommas);
        if text.is_empty() {
            Cause::Empty
        } else if around.is_word() && text.starts_with(b":") {
            Cause::ColonAfterScheme
        } else if leading_word(text).is_some_and(|word| self.is_word(word)) {
            if around.is_word() { Cause::RepeatedScheme } else { Cause::UnexpectedScheme }
        } else if around.is_word() && is_parameter(text) {
            Cause::Parameter
        } else if is_quoted(text) {
            Cause::Quoted
        } else if has_comma(text, allows_commas) {
            Cause::SeveralInOneLine
        } else if text.len() > self.max_key_len {
            Cause::TooLong
        } else if text.iter().any(u8::is_ascii_whitespace) {
            Cause::Whitespace
        } else {
            self.suspect(text, around.is_word()).unwrap_or(Cause::Character)
        }
    }

    /// Returns why an `Authorization` that does not begin with a word of the policy is rejected.
    /// Its value may still be a malformed credential of the policy.
    pub(super) fn foreign(&self, value: &[u8]) -> (Reason, Diagnosis) {
        let (mut cause, mut seen) = self.other_word(value);
        let is_accepted =
            |word: &[u8]| self.authorization_words.iter().any(|(known, _)| word.eq_ignore_ascii_case(known.as_bytes()));
        let is_ours = cause == Cause::SeveralInOneLine && segments(value).any(|(word, _)| is_accepted(word));
        if cause == Cause::MissingScheme
            && let Some((_, scheme)) = self.authorization_words.iter().find(|(word, _)| is_glued_to(value, word))
        {
            (cause, seen) = (Cause::NoSpaceAfterScheme, Some(*scheme));
        }
        let reason = if is_ours { Reason::Malformed } else { Reason::WrongScheme };
        (reason, Diagnosis::new(cause, seen.unwrap_or(self.authorization)))
    }

    /// Returns the cause for a value that does not begin with a word of the policy. Also returns
    /// what an error text may name.
    pub(super) fn other_word(&self, value: &[u8]) -> (Cause, Option<Seen>) {
        let head_len = value.iter().take_while(|byte| is_tchar(**byte)).count();
        let (head, rest) = value.split_at(head_len);
        let word = known::word(head).filter(|_| matches!(rest, [] | [b' ' | b'\t' | b':', ..]));
        let has_second = segments(value).skip(1).any(|(word, rest)| !rest.is_empty() && self.is_word(word));
        let is_list = !value.iter().any(|byte| matches!(byte, b'=' | b'"')) && segments(value).count() > 1;
        let begins_with_word = rest.starts_with(b" ") || rest.starts_with(b"\t") || word.is_some();
        if has_second || (is_list && !begins_with_word) {
            (Cause::SeveralInOneLine, None)
        } else if let Some(word) = word {
            (Cause::OtherScheme, Some(Seen::Word(word)))
        } else if value.iter().any(|byte| matches!(byte, b' ' | b'\t')) {
            (Cause::OtherScheme, Some(Seen::Nothing))
        } else {
            (Cause::MissingScheme, None)
        }
    }
}

/// Returns why a request has no credential of the policy. Either a place that only other services
/// read holds its key, or the request has no key.
pub(super) fn of_others(headers: &HeaderMap, uri: &Uri) -> (Reason, Diagnosis) {
    let other = |place| Diagnosis::new(Cause::OtherPlace, Seen::Place(place));
    let mut found = None;
    for (name, value) in headers {
        if let Some(place) = is_candidate(name.as_str()).then(|| known::header(name.as_str())).flatten()
            && !trim_ows(value.as_bytes()).is_empty()
        {
            if place == 0 {
                return (Reason::WrongScheme, other(place));
            }
            found = found.or(Some(place));
        }
    }
    let in_query = || {
        let pairs = form_urlencoded::parse(uri.query()?.as_bytes());
        pairs.filter(|(_, value)| !value.is_empty()).find_map(|(name, _)| known::query(&name))
    };
    let in_cookie = || {
        let lines = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes);
        lines.flat_map(cookie::pairs).filter(|(_, value)| !value.is_empty()).find_map(|(name, _)| known::cookie(name))
    };
    let nothing = Diagnosis::new(Cause::NoCredential, Seen::Nothing);
    (Reason::Missing, found.or_else(in_query).or_else(in_cookie).map_or(nothing, other))
}

/// Returns whether a header may be in the list of known headers. Most headers are not, so they need
/// no comparison with the list.
fn is_candidate(name: &str) -> bool {
    name == "authorization"
        || (name.len() <= 15 && ["key", "token", "authorization"].iter().any(|end| name.ends_with(end)))
        || matches!(name, "x_api_key" | "api_key")
}

fn has(words: &[Box<str>], word: &[u8]) -> bool {
    words.iter().any(|known| word.eq_ignore_ascii_case(known.as_bytes()))
}

/// Returns whether the value is this word and, without a space, a text that may be a key:
/// `BearerKEY`, `Bearer%20KEY`.
pub(super) fn is_glued_to(value: &[u8], word: &str) -> bool {
    let Some((head, rest)) = value.split_at_checked(word.len()).filter(|(_, rest)| rest.len() >= SHORTEST_KEY) else {
        return false;
    };
    let is_beginning = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'%' | b'+');
    // Compares the last letter first, since it differs for most keys.
    let has_end = head.last().map(u8::to_ascii_lowercase) == word.as_bytes().last().map(u8::to_ascii_lowercase);
    has_end && head.eq_ignore_ascii_case(word.as_bytes()) && is_beginning(rest[0])
}

/// Returns the first word, without a colon at its end, if a text follows.
fn leading_word(text: &[u8]) -> Option<&[u8]> {
    let end = text.iter().position(|byte| matches!(byte, b' ' | b'\t'))?;
    let word = &text[..end];
    Some(word.strip_suffix(b":").unwrap_or(word))
}

/// Returns whether the text has straight or curly quotes at either end.
pub(super) fn is_quoted(text: &[u8]) -> bool {
    let quotes: [&[u8]; 7] =
        [b"\"", b"'", b"`", "\u{201c}".as_bytes(), "\u{201d}".as_bytes(), "\u{2018}".as_bytes(), "\u{2019}".as_bytes()];
    quotes.iter().any(|quote| text.starts_with(quote) || text.ends_with(quote))
}

/// Recognizes `token=KEY`, with a name that clients use for keys.
fn is_parameter(text: &[u8]) -> bool {
    let Some(end) = text.iter().position(|byte| *byte == b'=') else { return false };
    known::is_parameter(trim_ows(&text[..end])) && text[end..].iter().any(|byte| *byte != b'=')
}

/// Returns whether a comma divides the text. If commas are allowed, only a comma next to white
/// space divides it.
fn has_comma(text: &[u8], allows_commas: bool) -> bool {
    if allows_commas {
        text.windows(2).any(|pair| matches!(pair, [b',', b' ' | b'\t'] | [b' ' | b'\t', b',']))
    } else {
        text.contains(&b',')
    }
}

/// Returns the elements of a list (RFC 9110 §5.6.1), each as its first word and the rest. A comma
/// in quotes does not divide.
fn segments(value: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let (mut quoted, mut escaped) = (false, false);
    let parts = value.split(move |byte| {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ => return *byte == b',' && !quoted,
        }
        false
    });
    parts.map(trim_ows).filter(|part| !part.is_empty()).map(|part| {
        let end = part.iter().position(|byte| matches!(byte, b' ' | b'\t')).unwrap_or(part.len());
        (&part[..end], trim_ows(&part[end..]))
    })
}
