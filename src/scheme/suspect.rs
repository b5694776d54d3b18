//! What is probably wrong with a key that visible ASCII reads as one, and no store knows: `"KEY"`, `Bearer:KEY`, `KEY,KEY`.
//!
//! The text of a key in; a [`Cause`] out, and no byte of the text. Only a request that is refused comes here, and whatever the store says of the key, the
//! text alone decides: so unknown, revoked and expired keys still look alike.

use super::{
    Diagnosis, Reader, Scheme, all_bytes,
    diagnosis::{self, Rules, SHORTEST_KEY},
    known,
};
use crate::rejection::Cause;

impl Reader {
    /// What is probably wrong with this key, which the store does not accept.
    #[cold]
    pub(crate) fn suspect(&self, scheme: &'static Scheme, key: &[u8]) -> Option<Diagnosis> {
        let cause = self.rules.suspect(key, scheme.word.is_some() && !scheme.is_basic())?;
        Some(Diagnosis::of_scheme(cause, self.order_of(scheme)?))
    }
}

impl Rules {
    /// What is probably wrong with a text that may be a key.
    pub(super) fn suspect(&self, text: &[u8], is_after_word: bool) -> Option<Cause> {
        let misplaced = if is_after_word { Cause::RepeatedScheme } else { Cause::UnexpectedScheme };
        let is_glued = || {
            ["Bearer"]
                .into_iter()
                .chain(self.words.iter().map(|word| &**word))
                .any(|word| diagnosis::is_glued_to(text, word))
        };
        if all_bytes(text, |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')) {
            // Nearly every key, and all that is tried at random.
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

/// Quotes as a URL carries them.
const CODED_QUOTES: [&[u8]; 2] = [b"%22", b"%27"];

/// The longest label that is looked for: `X-Authorization`, and some more.
const LONGEST_LABEL: usize = 24;

/// What stands before a colon, an equals sign or a coded space, if something follows that.
fn label(text: &[u8]) -> Option<(&[u8], u8)> {
    let end = text.iter().take(LONGEST_LABEL).position(|byte| matches!(byte, b':' | b'=' | b'%'))?;
    let (label, rest) = text.split_at(end);
    let (mark, rest) = rest.split_first()?;
    let has_key = rest.iter().any(|byte| *byte != b'=');
    let is_mark = *mark != b'%' || rest.starts_with(b"20") || rest.starts_with(b"3A") || rest.starts_with(b"3a");
    (has_key && is_mark).then_some((label, *mark))
}

/// Whether a comma or a semicolon divides the text into what may all be keys.
fn is_list(text: &[u8]) -> bool {
    let mut parts = text.split(|byte| matches!(byte, b',' | b';'));
    parts.clone().count() > 1 && parts.all(|part| part.len() >= SHORTEST_KEY)
}
