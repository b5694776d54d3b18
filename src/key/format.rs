//! The form of a key: made here, checked here, without any lookup.
//!
//! ```text
//! hopx_live_ 4fK0aQ9tJm2XzV7bRc1NwYs8LdPe6GuHoTiA 30qm7X
//! └ prefix ┘ └──── body: 36 base62 digits ──────┘ └ CRC-32 of the body, six base62 digits
//! ```
//!
//! A prefix of up to 13 characters, its separator counted, 36 and 6 make 55 bytes: with SHA-256's padding that is one
//! block of 64, and the hash is one compression.

use std::fmt;

use rand::{TryRng, rngs::SysRng};
use thiserror::Error;
use zeroize::Zeroizing;

use super::{
    ApiKey,
    checksum::{self, BASE62},
};
use crate::scheme::{KEY_LEN_LIMIT, MAX_KEY_LEN, all_bytes, is_readable};

/// The form that all keys of one kind have: a prefix, a random body, a checksum.
///
/// A layer with formats refuses everything else before it hashes. A layer without any format takes every key, so keys that are
/// already in a database just work.
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
    shape: Shape,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Shape {
    /// `prefix` (which ends with its separator, the last character of a key that is neither letter nor digit), a body of this many
    /// base62 digits, a checksum.
    Own { body: usize },
    /// `prefix`, then non-empty parts behind a separator.
    Foreign { separator: Box<str>, parts: Option<usize> },
}

/// What is wrong with a format, or with a key. The text never repeats the key.
///
/// ```
/// use tower_api_key::{KeyFormat, key::FormatError};
///
/// assert_eq!(KeyFormat::new("acme.live"), Err(FormatError::PrefixCharacter('.')));
/// assert_eq!(KeyFormat::new("acme").unwrap().check("acme_typo"), Err(FormatError::Mismatch));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FormatError {
    /// A prefix of our own is empty, or so long that no key fits behind it; a foreign one is not visible ASCII, holds the separator, or
    /// is empty where there is no separator.
    #[error("the prefix is empty or too long, or a foreign one has a space, a character beyond ASCII or the separator")]
    Prefix,
    /// A prefix of our own is made of `[A-Za-z0-9_-]`: this character is none of them.
    #[error("a prefix has letters (A-Z, a-z), digits, underscores (_) and hyphens (-), and not the character {0:?}")]
    PrefixCharacter(char),
    /// A separator behind a prefix is one of `_ - . ~`, which a URI, a header and a cookie all carry as they are: this is none of them.
    #[error("the separator behind a prefix is one of _ - . ~, and not the character {0:?}")]
    Separator(char),
    /// A body of fewer than 22 base62 digits has fewer than 128 random bits; a key has at most 512 characters.
    #[error("the body must have at least 22 digits, and the key at most 512 characters")]
    BodyLength,
    /// A separator that is not visible ASCII, or fewer than two parts behind one.
    #[error("the parts of a foreign format cannot be told apart")]
    Parts,
    /// The key has more bytes than this limit: see [`max_key_len`](crate::layer::ApiKeyLayerBuilder::max_key_len).
    #[error("the key is longer than {0} bytes, the limit of this service")]
    TooLong(usize),
    /// The form of foreign keys is known, but not how they are made.
    #[error("a key of a foreign format cannot be generated")]
    Foreign,
    /// The operating system's generator failed.
    #[error("the operating system has no random numbers to give")]
    Generator,
    /// The key does not have this form.
    #[error("the key does not have the form of this format")]
    Mismatch,
    /// The key has this form, but was mistyped: its checksum is another's.
    #[error("the key's checksum is wrong")]
    Checksum,
}

/// 62^22 is more than 2^128.
const MIN_BODY: usize = 22;
const BODY: usize = 36;

impl KeyFormat {
    /// Keys of our own: `prefix`, a separator, 36 base62 digits, a checksum.
    ///
    /// A prefix has letters, digits, `_` and `-`. The separator is an underscore, unless the prefix ends with `_` or `-` itself, or
    /// [`KeyFormat::separator`] says otherwise. Neither letter nor digit, it tells where the prefix ends: no key has two such formats
    /// unless they have the same prefix and the same length.
    ///
    /// ```
    /// use tower_api_key::KeyFormat;
    ///
    /// assert_eq!(KeyFormat::new("sk-live")?.to_string(), "sk-live_");
    /// assert_eq!(KeyFormat::new("sk-")?.to_string(), "sk-");
    /// # Ok::<(), tower_api_key::key::FormatError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`FormatError::PrefixCharacter`] for `"a.b"` and `"a b"`; [`FormatError::Prefix`] for `""` and one too long.
    pub fn new(prefix: &str) -> Result<Self, FormatError> {
        if let Some(other) = prefix.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))) {
            return Err(FormatError::PrefixCharacter(other));
        }
        let separator = if prefix.ends_with(['_', '-']) { "" } else { "_" };
        let format = Self { prefix: format!("{prefix}{separator}").into(), shape: Shape::Own { body: BODY } };
        if prefix.is_empty() { Err(FormatError::Prefix) } else { format.within_limit().ok_or(FormatError::Prefix) }
    }

    /// Puts another separator behind the prefix: `_`, `-`, `.` or `~`. It replaces the one that is there.
    ///
    /// ```
    /// use tower_api_key::KeyFormat;
    ///
    /// assert_eq!(KeyFormat::new("sk-live")?.separator('-')?.to_string(), "sk-live-");
    /// # Ok::<(), tower_api_key::key::FormatError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`FormatError::Separator`] for any other character; [`FormatError::Foreign`] for a foreign format, which has its own.
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

    /// Another number of base62 digits in the body, each 5.95 bits.
    ///
    /// # Errors
    ///
    /// [`FormatError::BodyLength`] for fewer than 22, and where the key would be longer than 512 characters;
    /// [`FormatError::Foreign`] for a foreign format, which has no body.
    pub fn body_len(mut self, digits: usize) -> Result<Self, FormatError> {
        let Shape::Own { body } = &mut self.shape else {
            return Err(FormatError::Foreign);
        };
        *body = digits;
        self.within_limit().filter(|_| digits >= MIN_BODY).ok_or(FormatError::BodyLength)
    }

    /// Somebody else's keys, of which only the shape is checked: `parts` non-empty parts between separators, the first
    /// of which is the prefix. With `None` there are two or more; with an empty prefix the first part may be anything; with an empty
    /// separator the key only begins with the prefix.
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
    /// [`FormatError::Prefix`] for `("", "")`, `("a b", ".")` and `("a.b", ".")`, which holds the separator;
    /// [`FormatError::Parts`] for a separator with a space, for one or no part, and for a number of parts without a separator.
    pub fn foreign(prefix: &str, separator: &str, parts: impl Into<Option<usize>>) -> Result<Self, FormatError> {
        let parts = parts.into();
        let visible = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
        if !visible(separator) || parts.is_some_and(|parts| parts < 2 || separator.is_empty()) {
            return Err(FormatError::Parts);
        }
        let holds_separator = !separator.is_empty() && prefix.contains(separator);
        let says_nothing = prefix.is_empty() && separator.is_empty();
        if says_nothing || !visible(prefix) || holds_separator {
            return Err(FormatError::Prefix);
        }
        let shape = Shape::Foreign { separator: separator.into(), parts };
        Ok(Self { prefix: prefix.into(), shape })
    }

    /// Makes a new key from the operating system's generator.
    ///
    /// # Errors
    ///
    /// [`FormatError::Foreign`] for a foreign format; [`FormatError::Generator`] where the system's generator fails.
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

    /// Whether `key` has this form and, for keys of our own, the right checksum. No lookup.
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
    /// [`FormatError::Mismatch`] or [`FormatError::Checksum`].
    pub fn check(&self, key: &str) -> Result<(), FormatError> {
        if !self.has_shape(key.as_bytes()) {
            Err(FormatError::Mismatch)
        } else if !self.has_checksum(key.as_bytes()) {
            Err(FormatError::Checksum)
        } else {
            Ok(())
        }
    }

    /// Length, alphabet and prefix.
    pub(crate) fn has_shape(&self, key: &[u8]) -> bool {
        let Some(rest) = key.strip_prefix(self.prefix.as_bytes()) else {
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
                    && (self.prefix.is_empty() || found.next() == Some(&self.prefix))
                    && parts.map_or(count >= 2, |parts| parts == count)
            }
        }
    }

    /// Whether a text may be meant as a key of this form: it has the shape, a part of it is such a key, or a word in it begins as such keys do, in
    /// whatever case. So a mistyped key is ours, and a JWT is not.
    pub(crate) fn claims(&self, text: &[u8]) -> bool {
        let separator = match &self.shape {
            Shape::Own { .. } => "",
            Shape::Foreign { separator, .. } => separator,
        };
        let is_inside_a_word = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte);
        let begins = |text: &[u8]| {
            let (prefix, rest) = text.split_at_checked(self.prefix.len())?;
            let is_ours = prefix.eq_ignore_ascii_case(self.prefix.as_bytes()) && rest.starts_with(separator.as_bytes());
            is_ours.then_some(())
        };
        let mut beginnings = (0..text.len()).filter(|place| *place == 0 || !is_inside_a_word(text[place - 1]));
        self.has_shape(text)
            || self.is_within(text)
            || (!self.prefix.is_empty() && beginnings.any(|place| begins(&text[place..]).is_some()))
    }

    /// Whether a whole key of ours is a part of the text, with letters around it: `BearerKEY`.
    fn is_within(&self, text: &[u8]) -> bool {
        let Some(len) = self.key_len().filter(|len| *len <= text.len()) else { return false };
        text.windows(len).any(|part| self.has_shape(part) && self.has_checksum(part))
    }

    /// Whether a key of this shape ends with its checksum. A foreign key has none that we know.
    pub(crate) fn has_checksum(&self, key: &[u8]) -> bool {
        match self.shape {
            Shape::Own { .. } => key.get(self.prefix.len()..).is_some_and(checksum::matches),
            Shape::Foreign { .. } => true,
        }
    }

    /// The length of every key of this format, where they all have one.
    pub(crate) fn key_len(&self) -> Option<usize> {
        match self.shape {
            Shape::Own { body } => Some(self.prefix.len() + body + checksum::LEN),
            Shape::Foreign { .. } => None,
        }
    }

    pub(crate) fn is_foreign(&self) -> bool {
        matches!(self.shape, Shape::Foreign { .. })
    }

    fn within_limit(self) -> Option<Self> {
        let Shape::Own { body } = self.shape else {
            return Some(self);
        };
        let room = MAX_KEY_LEN.checked_sub(self.prefix.len() + checksum::LEN)?;
        (body <= room).then_some(self)
    }
}

/// The prefix, which is no secret.
impl fmt::Display for KeyFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.prefix)
    }
}

/// Uniform base62 digits: six random bits each, and the two values that are no digit are drawn again.
pub(crate) fn random_base62(digits: usize) -> Result<Zeroizing<Vec<u8>>, FormatError> {
    let mut body = Zeroizing::new(Vec::with_capacity(digits));
    let mut random = Zeroizing::new([0; 64]);
    while body.len() < digits {
        SysRng.try_fill_bytes(&mut *random).map_err(|_| FormatError::Generator)?;
        let missing = digits - body.len();
        let drawn = random.iter().filter_map(|byte| BASE62.get(usize::from(byte >> 2)));
        body.extend(drawn.take(missing));
    }
    Ok(body)
}
