//! The errors of a format, and of a key that does not have the format.

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
    /// The prefix for [`KeyFormat::new`](super::KeyFormat::new) is empty, or so long that the key
    /// would have more than 512 characters. Or the prefix of a foreign format is not visible ASCII,
    /// contains the separator, or is empty without a separator.
    #[error(
        "the prefix is empty or too long, or a foreign prefix contains its separator or a character beyond visible ASCII"
    )]
    Prefix,
    /// The prefix for [`KeyFormat::new`](super::KeyFormat::new) has a character outside
    /// `[A-Za-z0-9_-]`.
    #[error("a prefix has letters (A-Z, a-z), digits, underscores (_) and hyphens (-), and not the character {0:?}")]
    PrefixCharacter(char),
    /// The separator is not `_`, `-`, `.` or `~`. URIs, headers and cookies carry these unchanged.
    #[error("the separator after a prefix is one of _ - . ~, and not the character {0:?}")]
    Separator(char),
    /// The body has fewer than 22 base62 digits, which is fewer than 128 random bits. Or the key
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
    /// The format is foreign, so its keys can be recognized but not generated.
    #[error("a key of a foreign format cannot be generated")]
    Foreign,
    /// The random number generator of the operating system failed.
    #[error("the operating system's random number generator failed")]
    Generator,
    /// The key does not have this format.
    #[error("the key does not have the form of this format")]
    Mismatch,
    /// The key has this format but a wrong checksum, so it was probably mistyped.
    #[error("the key's checksum is wrong")]
    Checksum,
}
