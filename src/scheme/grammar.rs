//! The productions of RFC 9110 that credentials consist of.

use std::ops::Deref;

/// Removes the white space around a field value (RFC 9110 §5.5).
pub(super) fn trim_ows(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// The word before a key (RFC 9110 §11.1: `auth-scheme`), prepared for values in any case.
#[derive(Clone, Debug)]
pub(super) struct Word {
    text: Box<str>,
    /// The word and one space, if they fit into eight bytes.
    start: Option<WordStart>,
}

/// A word and one space, compared with the first eight bytes of a value at once.
#[derive(Clone, Debug)]
struct WordStart {
    /// In lower case. The bytes after the space are zero.
    expected: u64,
    /// The bit of lower case, in each letter.
    case: u64,
    /// All bits of the word and its space.
    compared: u64,
}

// === impl Word, WordStart ===

impl Word {
    pub(super) fn new(word: &str) -> Self {
        Self { text: word.into(), start: WordStart::new(word.as_bytes()) }
    }

    /// Returns the text after the word and its spaces (RFC 9110 §11.4: `auth-scheme 1*SP token68`).
    /// It is empty if no space follows the word, and `None` if another word is there.
    #[inline]
    pub(super) fn after<'v>(&self, value: &'v [u8]) -> Option<&'v [u8]> {
        if let (Some(start), Some(first)) = (&self.start, value.first_chunk())
            && start.begins(*first)
            && let Some((_, rest)) = value.split_at_checked(self.text.len() + 1)
        {
            return Some(trim_spaces(rest));
        }
        self.after_compared(value)
    }

    /// Does the same for a word of any length.
    pub(super) fn after_compared<'v>(&self, value: &'v [u8]) -> Option<&'v [u8]> {
        let (head, rest) = value.split_at_checked(self.text.len())?;
        if !head.eq_ignore_ascii_case(self.text.as_bytes()) {
            return None;
        }
        match rest {
            [b' ', rest @ ..] => Some(trim_spaces(rest)),
            [other, ..] if is_tchar(*other) => None,
            _ => Some(&[]),
        }
    }
}

impl Deref for Word {
    type Target = str;

    fn deref(&self) -> &str {
        &self.text
    }
}

impl WordStart {
    fn new(word: &[u8]) -> Option<Self> {
        let (mut expected, mut case, mut compared) = ([0; 8], [0; 8], [0; 8]);
        for (place, byte) in word.iter().chain(b" ").enumerate() {
            *expected.get_mut(place)? = byte.to_ascii_lowercase();
            case[place] = if byte.is_ascii_alphabetic() { 0x20 } else { 0 };
            compared[place] = u8::MAX;
        }
        let [expected, case, compared] = [expected, case, compared].map(u64::from_ne_bytes);
        Some(Self { expected, case, compared })
    }

    #[inline]
    fn begins(&self, first: [u8; 8]) -> bool {
        (u64::from_ne_bytes(first) | self.case) & self.compared == self.expected
    }
}

fn trim_spaces(mut text: &[u8]) -> &[u8] {
    while let [b' ', rest @ ..] = text {
        text = rest;
    }
    text
}

/// Returns whether a byte may be in a token (RFC 9110 §5.6.2).
pub(super) fn is_tchar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Returns whether a text is token68 (RFC 9110 §11.2): `1*( ALPHA / DIGIT / "-" / "." / "_" / "~" /
/// "+" / "/" ) *"="`.
pub(super) fn is_token68(key: &[u8]) -> bool {
    let mut body = key;
    while let [rest @ .., b'='] = body {
        body = rest;
    }
    #[allow(clippy::needless_bitwise_bool, reason = "branches would test byte by byte")]
    let allowed = |byte: u8| {
        let is_letter = (byte | 0x20).wrapping_sub(b'a') < 26;
        let is_mark_or_digit = byte.wrapping_sub(b'-') <= b'9' - b'-'; // - . / and the digits
        let is_other_mark = (byte == b'_') | (byte == b'~') | (byte == b'+');
        is_letter | is_mark_or_digit | is_other_mark
    };
    !body.is_empty() && all_bytes(body, allowed)
}

/// Returns whether all bytes are allowed. It tests sixteen at a time, some of the last ones twice,
/// and never ends early.
pub(crate) fn all_bytes(text: &[u8], allowed: impl Fn(u8) -> bool) -> bool {
    let Some(last) = text.last_chunk::<16>() else {
        return text.iter().all(|byte| allowed(*byte));
    };
    let forbidden = |chunk: &[u8; 16]| chunk.map(|byte| u8::from(!allowed(byte))).iter().fold(0, |any, one| any | one);
    text.as_chunks().0.iter().fold(forbidden(last), |any, chunk| any | forbidden(chunk)) == 0
}
