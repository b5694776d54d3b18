//! A few keys that never change: from an environment variable, say.

use std::{convert::Infallible, env};

use thiserror::Error;
use zeroize::Zeroizing;

use super::{KeyStore, Lookup};
use crate::{
    key::{ApiKey, InvalidKey, KeyDigest, KeyHasher},
    permission::Action,
    record::KeyRecord,
};

/// A few keys that never change, hashed by SHA-256 the moment they are read.
///
/// The layer must hash the same way, which is its default. For peppered digests, or for keys that change, use a
/// [`MemoryStore`](super::MemoryStore).
///
/// ```
/// use tower_api_key::{ApiKey, ApiKeyLayer, store::FixedKeys};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let keys = FixedKeys::new([("deploy", ApiKey::new("zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ")?)])?.grant("links", "create");
/// let layer = ApiKeyLayer::builder(keys).build()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct FixedKeys(Vec<KeyRecord>);

/// Why there are no fixed keys. The text never repeats a key.
///
/// ```
/// use tower_api_key::store::{FixedKeys, FixedKeysError};
///
/// let missing = FixedKeys::from_env("NO_SUCH_VARIABLE").err();
/// assert_eq!(missing, Some(FixedKeysError::NotSet("NO_SUCH_VARIABLE".into())));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FixedKeysError {
    /// The environment variable is not set, or not UTF-8.
    #[error("the environment variable {0} is not set")]
    NotSet(String),
    /// The variable holds what no request could carry as a key: it is empty, too long, or has a character that keys do not have.
    #[error("the environment variable {0} does not hold a key: {InvalidKey}")]
    Invalid(String),
    /// One key stands under two ids, or one id under two keys.
    #[error("the keys {0} and {1} are the same, or share their id")]
    Duplicate(String, String),
}

impl FixedKeys {
    /// These keys, each under its id.
    ///
    /// # Errors
    ///
    /// [`FixedKeysError::Duplicate`] where two keys or two ids are equal.
    pub fn new<I: Into<String>>(keys: impl IntoIterator<Item = (I, ApiKey)>) -> Result<Self, FixedKeysError> {
        let mut records: Vec<KeyRecord> = Vec::new();
        for (id, key) in keys {
            let record = KeyRecord::for_key(id.into(), &key, &KeyHasher::sha256());
            let same = |known: &&KeyRecord| known.id() == record.id() || known.digest() == record.digest();
            if let Some(known) = records.iter().find(same) {
                let names = (known.id().to_string(), record.id().to_string());
                return Err(FixedKeysError::Duplicate(names.0, names.1));
            }
            records.push(record);
        }
        Ok(Self(records))
    }

    /// The one key that the environment variable `name` holds. The name becomes its id.
    ///
    /// A key that people choose is too weak for a fast hash: make one by `openssl rand -hex 32`, say.
    ///
    /// White space around the value, such as the line end of a secret that was read from a file, is not part of the key.
    ///
    /// # Errors
    ///
    /// [`FixedKeysError::NotSet`]; [`FixedKeysError::Invalid`] for a value that is empty or cannot be a key. There is no default key.
    pub fn from_env(name: &str) -> Result<Self, FixedKeysError> {
        let text = env::var(name).map_err(|_| FixedKeysError::NotSet(name.to_owned()))?;
        Self::from_text(name, &Zeroizing::new(text))
    }

    fn from_text(name: &str, text: &str) -> Result<Self, FixedKeysError> {
        let key = ApiKey::new(text.trim()).map_err(|_| FixedKeysError::Invalid(name.to_owned()))?;
        Self::new([(name, key)])
    }

    /// Grants `action` on `resource` to every one of these keys.
    #[must_use]
    pub fn grant(self, resource: &str, action: impl Into<Action>) -> Self {
        let action = action.into();
        let records = self.0.into_iter();
        Self(records.map(|record| record.grant(resource, action.clone())).collect())
    }
}

impl FixedKeys {
    fn look_up(&self, digest: &KeyDigest) -> Option<KeyRecord> {
        self.0.iter().find(|record| record.digest() == digest).cloned()
    }
}

impl KeyStore for FixedKeys {
    type Error = Infallible;

    async fn find(&self, digest: &KeyDigest) -> Result<Option<KeyRecord>, Infallible> {
        Ok(self.look_up(digest))
    }

    fn find_now(&self, digest: &KeyDigest) -> Lookup {
        self.look_up(digest).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_around_a_secret_is_not_part_of_the_key() {
        let keys = FixedKeys::from_text("API_KEY", " secret-key\n").unwrap();
        let digest = KeyHasher::sha256().digest(&ApiKey::new("secret-key").unwrap());
        assert!(matches!(keys.find_now(&digest), Lookup::Found(_)));
        for text in ["", " \n", "two words"] {
            let error = FixedKeys::from_text("API_KEY", text).unwrap_err();
            assert_eq!(error, FixedKeysError::Invalid("API_KEY".into()));
        }
    }
}
