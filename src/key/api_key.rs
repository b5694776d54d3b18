//! The plain text of a key.

use std::{fmt, str::FromStr};

use thiserror::Error;
use zeroize::Zeroizing;

use super::Mask;
use crate::scheme::{KEY_LEN_LIMIT, is_readable};

/// The plain text of a key.
///
/// It has no `Display`, its `Debug` shows nothing, and its memory is wiped on drop. With the
/// feature `serde` it deserializes from a string, for configuration files. It never serializes.
/// Errors of this type do not repeat the text. The error of a file parser may: `toml` quotes the
/// line that is wrong.
///
/// ```
/// use tower_api_key::ApiKey;
///
/// let key = ApiKey::new("hopx_live_51FwqftsmMDHHbJAMEXXHCgG")?;
/// assert_eq!(format!("{key:?}"), "ApiKey(..)");
/// # Ok::<(), tower_api_key::key::InvalidKey>(())
/// ```
///
/// ```compile_fail
/// let key = tower_api_key::ApiKey::new("hopx_live_51FwqftsmMDHHbJAMEXXHCgG").unwrap();
/// println!("{key}"); // `ApiKey` has no `Display`
/// ```
#[derive(Clone)]
pub struct ApiKey(Zeroizing<Box<str>>);

/// The error for a text that no request can carry as a key.
///
/// It is empty, longer than 4096 bytes, or has a character outside visible ASCII.
///
/// ```
/// use tower_api_key::{ApiKey, key::InvalidKey};
///
/// assert_eq!(ApiKey::new("two words").err(), Some(InvalidKey));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a key is 1 to 4096 characters of visible ASCII")]
pub struct InvalidKey;

impl ApiKey {
    /// Creates a key from the text of an existing key.
    ///
    /// A layer reads keys of up to 512 bytes by default; see
    /// [`max_key_len`](crate::layer::ApiKeyLayerBuilder::max_key_len).
    ///
    /// # Errors
    ///
    /// Returns [`InvalidKey`] for a text that no layer reads: `""`, `"two words"`, `"schlüssel"`,
    /// 4097 characters.
    pub fn new(text: impl Into<String>) -> Result<Self, InvalidKey> {
        let text = Zeroizing::new(text.into());
        if is_readable(text.as_bytes(), KEY_LEN_LIMIT) {
            Ok(Self(Zeroizing::new(text.as_str().into())))
        } else {
            Err(InvalidKey)
        }
    }

    /// Returns the plain text, for the one response that shows it.
    ///
    /// ```
    /// use tower_api_key::KeyFormat;
    ///
    /// let key = KeyFormat::new("acme")?.generate()?;
    /// println!("your new key, shown once: {}", key.expose());
    /// # Ok::<(), tower_api_key::key::FormatError>(())
    /// ```
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Returns the part of this key that may be shown later, see [`Mask`].
    pub fn mask(&self, mask: Mask) -> String {
        mask.apply(self.expose())
    }
}

impl FromStr for ApiKey {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        Self::new(text)
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(..)")
    }
}

#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for ApiKey {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Replaces the error of the parser, since that error may repeat the text.
        let text = String::deserialize(deserializer).ok().and_then(|text| Self::new(text).ok());
        text.ok_or_else(|| serde::de::Error::custom("a key must be a string of 1 to 4096 characters of visible ASCII"))
    }
}
