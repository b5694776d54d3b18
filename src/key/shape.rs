//! Recognizes keys by their format, without any lookup.

use super::{KeyFormat, checksum};
use crate::scheme::{KEY_LEN_LIMIT, all_bytes, is_readable};

/// The part of a key after the prefix.
///
/// For a new kind of format, add a variant here. The compiler then names every match in this file
/// and in `format.rs` that must handle it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// A body of this many base62 digits, then a checksum. The prefix ends with its separator,
    /// which is the last character of a key that is neither letter nor digit.
    Own { body: usize },
    /// Non-empty parts after a separator.
    Foreign { separator: Box<str>, parts: Option<usize> },
}

impl KeyFormat {
    /// Returns whether length, alphabet and prefix are right.
    pub(crate) fn has_shape(&self, key: &[u8]) -> bool {
        let Some(rest) = key.strip_prefix(self.prefix().as_bytes()) else {
            return false;
        };
        match &self.shape {
            Shape::Own { body } => {
                rest.len() == body + checksum::LEN && all_bytes(rest, |byte| byte.is_ascii_alphanumeric())
            }
            Shape::Foreign { .. } if !is_readable(key, KEY_LEN_LIMIT) => false,
            Shape::Foreign { separator, .. } if separator.is_empty() => !rest.is_empty(),
            Shape::Foreign { separator, parts } => {
                let Ok(key) = str::from_utf8(key) else {
                    return false;
                };
                let mut found = key.split(&**separator);
                let count = found.clone().count();
                found.clone().all(|part| !part.is_empty())
                    && (self.prefix().is_empty() || found.next() == Some(self.prefix()))
                    && parts.map_or(count >= 2, |parts| parts == count)
            }
        }
    }

    /// Returns whether a text is probably meant as a key of this format. Such a text has the shape,
    /// contains a key of this format, or has a word that begins with the prefix in any case. So a
    /// mistyped key belongs to this format, and a JWT does not.
    pub(crate) fn claims(&self, text: &[u8]) -> bool {
        let separator = match &self.shape {
            Shape::Own { .. } => "",
            Shape::Foreign { separator, .. } => separator,
        };
        let is_inside_a_word = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte);
        let begins = |text: &[u8]| {
            let (prefix, rest) = text.split_at_checked(self.prefix().len())?;
            let is_prefix =
                prefix.eq_ignore_ascii_case(self.prefix().as_bytes()) && rest.starts_with(separator.as_bytes());
            is_prefix.then_some(())
        };
        let mut beginnings = (0..text.len()).filter(|start| *start == 0 || !is_inside_a_word(text[start - 1]));
        self.has_shape(text)
            || self.is_within(text)
            || (!self.prefix().is_empty() && beginnings.any(|start| begins(&text[start..]).is_some()))
    }

    /// Returns whether a part of the text is a whole key, as in `BearerKEY`.
    fn is_within(&self, text: &[u8]) -> bool {
        let Some(len) = self.key_len().filter(|len| *len <= text.len()) else { return false };
        text.windows(len).any(|part| self.has_shape(part) && self.has_checksum(part))
    }

    /// Returns whether a key of this shape ends with its checksum. A foreign key has no known
    /// checksum, so the result is true.
    pub(crate) fn has_checksum(&self, key: &[u8]) -> bool {
        match self.shape {
            Shape::Own { .. } => key.get(self.prefix().len()..).is_some_and(checksum::matches),
            Shape::Foreign { .. } => true,
        }
    }

    /// Returns the length of every key of this format, if all have the same.
    pub(crate) fn key_len(&self) -> Option<usize> {
        match self.shape {
            Shape::Own { body } => Some(self.prefix().len() + body + checksum::LEN),
            Shape::Foreign { .. } => None,
        }
    }

    pub(crate) fn is_foreign(&self) -> bool {
        matches!(self.shape, Shape::Foreign { .. })
    }
}
