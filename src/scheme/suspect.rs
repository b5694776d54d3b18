//! Finds the probable error in a text that can be read as a key, but is unknown to the store:
//! `"KEY"`, `Bearer:KEY`, `KEY,KEY`.
//!
//! It takes the text of a key and returns a [`Cause`], without any byte of the text. It runs only
//! for rejected requests. The result depends on the text alone, so it does not reveal whether a key
//! is unknown, revoked or expired.

use super::{
    all_bytes,
    diagnosis::{self, Rules, SHORTEST_KEY},
    known,
};
use crate::rejection::Cause;

impl Rules {
    /// Returns what is probably wrong with a text that may be a key.
    pub(super) fn suspect(&self, text: &[u8], is_after_word: bool) -> Option<Cause> {
        let misplaced = if is_after_word { Cause::RepeatedScheme } else { Cause::UnexpectedScheme };
        let is_glued = || {
            ["Bearer"]
                .into_iter()
                .chain(self.words.iter().map(|word| &**word))
                .any(|word| diagnosis::is_glued_to(text, word))
        };
        if all_bytes(text, |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')) {
            // Almost every key has only these characters. The only cause left is a word in front of
            // the key.
            is_glued().then_some(misplaced)
        } else if diagnosis::is_quoted(text) || CODED_QUOTES.iter().any(|quote| text.starts_with(quote)) {
            Some(Cause::Quoted)
        } else if let Some((label, mark)) = label(text) {
            let names_a_place =
                self.is_word(label) || str::from_utf8(label).is_ok_and(|name| known::header(name).is_some());
            match mark {
                b'=' if names_a_place || known::is_parameter(label) => Some(Cause::Parameter),
                b':' | b'%' if names_a_place => Some(misplaced),
                _ => None,
            }
        } else if is_glued() {
            Some(misplaced)
        } else if is_list(text) {
            Some(Cause::SeveralInOneLine)
        } else {
            None
        }
    }
}

/// Percent-encoded quotes.
const CODED_QUOTES: [&[u8]; 2] = [b"%22", b"%27"];

/// The maximum length of a recognized label. `X-Authorization` has 15 characters.
const LONGEST_LABEL: usize = 24;

/// Returns the text before a colon, an equals sign or an encoded space, if a text follows.
fn label(text: &[u8]) -> Option<(&[u8], u8)> {
    let end = text.iter().take(LONGEST_LABEL).position(|byte| matches!(byte, b':' | b'=' | b'%'))?;
    let (label, rest) = text.split_at(end);
    let (mark, rest) = rest.split_first()?;
    let has_key = rest.iter().any(|byte| *byte != b'=');
    let is_mark = *mark != b'%' || rest.starts_with(b"20") || rest.starts_with(b"3A") || rest.starts_with(b"3a");
    (has_key && is_mark).then_some((label, *mark))
}

/// Returns whether commas or semicolons divide the text into parts that each look like a key.
fn is_list(text: &[u8]) -> bool {
    let mut parts = text.split(|byte| matches!(byte, b',' | b';'));
    parts.clone().count() > 1 && parts.all(|part| part.len() >= SHORTEST_KEY)
}
