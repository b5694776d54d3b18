//! The plain text of a key.

use std::{fmt, str::FromStr};

use thiserror::Error;
use zeroize::Zeroizing;

use super::Mask;
use crate::scheme::{KEY_LEN_LIMIT, is_readable};

/// The plain text of a key. Its memory is wiped on drop; there is no `Display`, and `Debug` shows nothing of it.
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

/// A text that no request could carry as a key: empty, longer than 4096 bytes, or with a character outside visible ASCII.
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
    /// Takes the text of an existing key. A layer reads keys of up to 512 bytes, unless
    /// [`max_key_len`](crate::layer::ApiKeyLayerBuilder::max_key_len) says more.
    ///
    /// # Errors
    ///
    /// [`InvalidKey`] for what no layer reads: `""`, `"two words"`, `"schlüssel"`, 4097 characters.
    pub fn new(text: impl Into<String>) -> Result<Self, InvalidKey> {
        let text = Zeroizing::new(text.into());
        if is_readable(text.as_bytes(), KEY_LEN_LIMIT) {
            Ok(Self(Zeroizing::new(text.as_str().into())))
        } else {
            Err(InvalidKey)
        }
    }

    /// The plain text, for the one answer that shows it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What may be shown of this key later: see [`Mask`].
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
