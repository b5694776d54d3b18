//! What can be wrong with a format or a key.

use thiserror::Error;

/// The error of a [`KeyFormat`](super::KeyFormat), or of a key that does not have the format. The
/// text never repeats the key.
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
    /// The prefix of an own format is empty, or so long that the key would have more than 512
    /// characters. The prefix of a foreign format is not visible ASCII, contains the separator, or
    /// is empty without a separator.
    #[error(
        "the prefix is empty or too long, or a foreign prefix contains its separator or a character beyond visible ASCII"
    )]
    Prefix,
    /// The prefix of an own format has a character outside `[A-Za-z0-9_-]`.
    #[error("a prefix has letters (A-Z, a-z), digits, underscores (_) and hyphens (-), and not the character {0:?}")]
    PrefixCharacter(char),
    /// The separator is none of `_ - . ~`, which URIs, headers and cookies carry unchanged.
    #[error("the separator behind a prefix is one of _ - . ~, and not the character {0:?}")]
    Separator(char),
    /// The body has fewer than 22 base62 digits, and so fewer than 128 random bits; or the key
    /// would have more than 512 characters.
    #[error("the body must have at least 22 digits, and the key at most 512 characters")]
    BodyLength,
    /// The separator of a foreign format is not visible ASCII, or the number of parts is below two.
    #[error(
        "a foreign format has a separator of visible ASCII and at least two parts, or no separator and no number of parts"
    )]
    Parts,
    /// The key has more bytes than this limit, see
    /// [`max_key_len`](crate::layer::ApiKeyLayerBuilder::max_key_len).
    #[error("the key is longer than {0} bytes, the limit of this service")]
    TooLong(usize),
    /// The format is foreign: its keys can be recognized and not generated.
    #[error("a key of a foreign format cannot be generated")]
    Foreign,
    /// The random number generator of the operating system failed.
    #[error("the operating system's random number generator failed")]
    Generator,
    /// The key does not have this format.
    #[error("the key does not have the form of this format")]
    Mismatch,
    /// The key has this format and a wrong checksum, so it was mistyped.
    #[error("the key's checksum is wrong")]
    Checksum,
}
