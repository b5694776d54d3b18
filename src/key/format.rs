//! The format of keys: generates them, and checks them without any lookup.
//!
//! ```text
//! hopx_live_ 4fK0aQ9tJm2XzV7bRc1NwYs8LdPe6GuHoTiA 30qm7X
//! └ prefix ┘ └──── body: 36 base62 digits ──────┘ └ CRC-32 of the body, six base62 digits
//! ```
//!
//! If the prefix has up to 13 characters, including the separator, a key has at most 55 bytes. With
//! the padding of SHA-256 it fits one block of 64 bytes, so hashing a key takes one compression.

use zeroize::Zeroizing;

use super::{ApiKey, FormatError, checksum, random_base62, shape::Shape};
use crate::scheme::MAX_KEY_LEN;

/// The format of keys: a prefix, a random body, a checksum.
///
/// A layer with formats rejects every other text before it hashes. A layer without formats accepts
/// any text as a key, so keys that are already in a database work unchanged. Use [`KeyFormat::new`]
/// for keys that you generate, and [`KeyFormat::foreign`] to recognize the keys of another system.
///
/// ```
/// use tower_api_key::KeyFormat;
///
/// let live = KeyFormat::new("hopx_live")?;
/// let key = live.generate()?;
/// assert!(key.expose().starts_with("hopx_live_"));
/// assert_eq!(live.check(key.expose()), Ok(()));
/// # Ok::<(), tower_api_key::key::FormatError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyFormat {
    prefix: Box<str>,
    pub(super) shape: Shape,
}

/// 62^22 is more than 2^128.
const MIN_BODY: usize = 22;
const BODY: usize = 36;

impl KeyFormat {
    /// Returns a format of your own: `prefix`, a separator, 36 base62 digits, a checksum.
    ///
    /// A prefix has letters, digits, `_` and `-`. The separator is an underscore, unless the prefix
    /// already ends with `_` or `-`; [`KeyFormat::separator`] sets another. The separator marks the
    /// end of the prefix, since it is neither a letter nor a digit. A key therefore matches at most
    /// one of your formats, unless two have the same prefix and length.
    ///
    /// ```
    /// use tower_api_key::KeyFormat;
    ///
    /// assert_eq!(KeyFormat::new("sk-live")?.prefix(), "sk-live_");
    /// assert_eq!(KeyFormat::new("sk-")?.prefix(), "sk-");
    /// # Ok::<(), tower_api_key::key::FormatError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Returns [`FormatError::PrefixCharacter`] for `"a.b"` and `"a b"`, and
    /// [`FormatError::Prefix`] for an empty or too long prefix.
    pub fn new(prefix: &str) -> Result<Self, FormatError> {
        if let Some(other) = prefix.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))) {
            return Err(FormatError::PrefixCharacter(other));
        }
        let separator = if prefix.ends_with(['_', '-']) { "" } else { "_" };
        let format = Self { prefix: format!("{prefix}{separator}").into(), shape: Shape::Own { body: BODY } };
        if prefix.is_empty() { Err(FormatError::Prefix) } else { format.within_limit().ok_or(FormatError::Prefix) }
    }

    /// Returns the text with which every key begins, separator included. A prefix is not secret.
    ///
    /// The prefix of a [foreign](KeyFormat::foreign) format has no separator and may be empty.
    ///
    /// ```
    /// use tower_api_key::KeyFormat;
    ///
    /// assert_eq!(KeyFormat::new("acme")?.prefix(), "acme_");
    /// assert_eq!(KeyFormat::foreign("ak", ".", 3)?.prefix(), "ak");
    /// # Ok::<(), tower_api_key::key::FormatError>(())
    /// ```
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Returns the text with which every key begins, also for a foreign format.
    pub(crate) fn beginning(&self) -> String {
        match &self.shape {
            Shape::Foreign { separator, .. } if !self.prefix.is_empty() => format!("{}{separator}", self.prefix),
            _ => self.prefix.to_string(),
        }
    }

    /// Replaces the separator after the prefix: `_`, `-`, `.` or `~`.
    ///
    /// ```
    /// use tower_api_key::KeyFormat;
    ///
    /// assert_eq!(KeyFormat::new("sk-live")?.separator('-')?.prefix(), "sk-live-");
    /// # Ok::<(), tower_api_key::key::FormatError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Returns [`FormatError::Separator`] for any other character, and [`FormatError::Foreign`] for
    /// a foreign format, which has its own separator.
    pub fn separator(mut self, separator: char) -> Result<Self, FormatError> {
        if self.is_foreign() {
            return Err(FormatError::Foreign);
        }
        if !matches!(separator, '_' | '-' | '.' | '~') {
            return Err(FormatError::Separator(separator));
        }
        let mut prefix = String::from(self.prefix);
        prefix.pop();
        prefix.push(separator);
        self.prefix = prefix.into();
        Ok(self)
    }

    /// Sets the number of base62 digits in the body. Each has 5.95 random bits.
    ///
    /// ```
    /// use tower_api_key::KeyFormat;
    ///
    /// let short = KeyFormat::new("acme")?.body_len(22)?; // 131 random bits
    /// assert_eq!(short.generate()?.expose().len(), "acme_".len() + 22 + 6);
    /// # Ok::<(), tower_api_key::key::FormatError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Returns [`FormatError::BodyLength`] for fewer than 22 digits and for keys longer than 512
    /// characters, and [`FormatError::Foreign`] for a foreign format, which has no body.
    pub fn body_len(mut self, digits: usize) -> Result<Self, FormatError> {
        let Shape::Own { body } = &mut self.shape else {
            return Err(FormatError::Foreign);
        };
        *body = digits;
        self.within_limit().filter(|_| digits >= MIN_BODY).ok_or(FormatError::BodyLength)
    }

    /// Returns a format that recognizes the keys of another system by their shape.
    ///
    /// A key has `parts` non-empty parts between separators, and the first part is `prefix`. If
    /// `parts` is `None`, it has two or more parts. If the prefix is empty, the first part may be
    /// any text. If the separator is empty, a key only has to begin with the prefix.
    ///
    /// ```
    /// use tower_api_key::KeyFormat;
    ///
    /// let format = KeyFormat::foreign("ak", ".", 3)?;
    /// assert!(format.check("ak.key_id.secret").is_ok());
    /// assert!(format.check("ak.key_id").is_err());
    /// assert!(KeyFormat::foreign("xkeysib-", "", None)?.check("xkeysib-0a1b2c").is_ok());
    /// # Ok::<(), tower_api_key::key::FormatError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Returns [`FormatError::Prefix`] for `("", "")`, `("a b", ".")` and `("a.b", ".")`: the last
    /// prefix contains the separator. Returns [`FormatError::Parts`] for a separator with a space,
    /// for fewer than two parts, and for a number of parts without a separator.
    pub fn foreign(prefix: &str, separator: &str, parts: impl Into<Option<usize>>) -> Result<Self, FormatError> {
        let parts = parts.into();
        let visible = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
        if !visible(separator) || parts.is_some_and(|parts| parts < 2 || separator.is_empty()) {
            return Err(FormatError::Parts);
        }
        let has_separator = !separator.is_empty() && prefix.contains(separator);
        let matches_all = prefix.is_empty() && separator.is_empty();
        if matches_all || !visible(prefix) || has_separator {
            return Err(FormatError::Prefix);
        }
        let shape = Shape::Foreign { separator: separator.into(), parts };
        Ok(Self { prefix: prefix.into(), shape })
    }

    /// Generates a key with the random number generator of the operating system.
    ///
    /// ```
    /// use tower_api_key::KeyFormat;
    ///
    /// let key = KeyFormat::new("acme_live")?.generate()?;
    /// assert!(key.expose().starts_with("acme_live_"));
    /// # Ok::<(), tower_api_key::key::FormatError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Returns [`FormatError::Foreign`] for a foreign format, and [`FormatError::Generator`] if the
    /// random number generator fails.
    pub fn generate(&self) -> Result<ApiKey, FormatError> {
        let Shape::Own { body } = self.shape else {
            return Err(FormatError::Foreign);
        };
        let body = random_base62(body)?;
        let mut key = Zeroizing::new(String::with_capacity(MAX_KEY_LEN));
        key.push_str(&self.prefix);
        key.extend(body.iter().chain(&checksum::of(&body)).map(|digit| char::from(*digit)));
        ApiKey::new(key.as_str()).map_err(|_| FormatError::BodyLength)
    }

    /// Checks that `key` has this format and, unless the format is foreign, the right checksum.
    ///
    /// ```
    /// use tower_api_key::{KeyFormat, key::FormatError};
    ///
    /// let format = KeyFormat::new("hopx_live")?;
    /// assert_eq!(format.check("hopx_test_zQWBuTSOoRi4A9spHcVY5ncnsDkxkJabcdef0mLq17"), Err(FormatError::Mismatch));
    /// assert_eq!(format.check("hopx_live_zQWBuTSOoRi4A9spHcVY5ncnsDkxkJabcdef000000"), Err(FormatError::Checksum));
    /// # Ok::<(), FormatError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Returns [`FormatError::Mismatch`] or [`FormatError::Checksum`].
    pub fn check(&self, key: &str) -> Result<(), FormatError> {
        if !self.has_shape(key.as_bytes()) {
            Err(FormatError::Mismatch)
        } else if !self.has_checksum(key.as_bytes()) {
            Err(FormatError::Checksum)
        } else {
            Ok(())
        }
    }

    fn within_limit(self) -> Option<Self> {
        let Shape::Own { body } = self.shape else {
            return Some(self);
        };
        let longest = MAX_KEY_LEN.checked_sub(self.prefix.len() + checksum::LEN)?;
        (body <= longest).then_some(self)
    }
}
