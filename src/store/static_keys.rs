//! A store for a few keys that never change, for example from environment variables.

#[cfg(feature = "static-files")]
mod entry;
#[cfg(feature = "static-files")]
mod file;
#[cfg(feature = "static-files")]
mod file_error;
#[cfg(feature = "static-files")]
mod file_log;
#[cfg(feature = "static-files")]
mod file_text;
#[cfg(feature = "static-files")]
mod list;
#[cfg(feature = "static-files")]
mod list_error;
#[cfg(feature = "static-files")]
mod syntax;
mod value;

use std::{collections::HashMap, convert::Infallible, env};

use thiserror::Error;
use zeroize::Zeroizing;

use self::value::Unusable;
#[cfg(feature = "static-files")]
pub use self::{
    file::StaticKeysFile,
    file_error::KeyFileError,
    list_error::{KeyEntryError, KeyListError},
};
use super::{KeyStore, Lookup};
use crate::{
    key::{ApiKey, InvalidKey, KeyDigest, KeyHasher},
    permission::Action,
    record::KeyRecord,
};

/// A store for a few keys that never change, for example from environment variables.
///
/// It keeps the SHA-256 digest of each key. The layer must hash with SHA-256 too, as it does by
/// default. For peppered digests, or keys that change, use a [`MemoryStore`](super::MemoryStore).
/// With the feature `static-files`, `StaticKeys::from_json`, `from_toml` and `from_env_list` read
/// several keys from one text, and a `StaticKeysFile` follows the changes of a file.
///
/// ```
/// use tower_api_key::{ApiKey, ApiKeyLayer, store::StaticKeys};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let (reader, writer) = ("zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ", "TmSfF0MCDRDBbS2wE0jCFYkvFkiF5n");
/// # let key = ApiKey::new;
/// // In a service: StaticKeys::from_env("READER_KEY")?.grant("links", "read")
/// let reader = StaticKeys::new([("reader", key(reader)?)])?.grant("links", "read");
/// let writer = StaticKeys::new([("writer", key(writer)?)])?.grant("links", "create");
/// let layer = ApiKeyLayer::builder(reader.merge(writer)?).build()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct StaticKeys(Vec<KeyRecord>);

/// The error of reading static keys. The text never repeats a key.
///
/// ```
/// use tower_api_key::store::{StaticKeys, StaticKeysError};
///
/// let missing = StaticKeys::from_env("NO_SUCH_VARIABLE").err();
/// assert_eq!(missing, Some(StaticKeysError::NotSet("NO_SUCH_VARIABLE".into())));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum StaticKeysError {
    /// The environment variable is not set, or not UTF-8.
    #[error("the environment variable {0} is not set: set it to a key, such as the output of `openssl rand -hex 32`")]
    NotSet(String),
    /// The value cannot be sent as a key: it is empty, too long, or has a character that keys do
    /// not have.
    #[error("the environment variable {0} does not hold a key: {InvalidKey}")]
    Invalid(String),
    /// The value begins or ends with a quotation mark. Docker's `--env-file` keeps quotes, and so
    /// do most readers of such files.
    #[error("the value of the environment variable {0} is in quotes, which would be part of the key: remove them")]
    Quoted(String),
    /// The value is a line of a file of variables, such as `API_KEY=..` or `export API_KEY=..`, or
    /// has a prefix from a request, such as `x-api-key:..` or `Bearer%20..`.
    #[error("the environment variable {0} holds a whole line, NAME=KEY: set it to the key alone")]
    Assignment(String),
    /// The value has a comma, a semicolon or white space, or a bar or ampersand between parts that
    /// each look like a key. A variable holds one key. Use one variable for each key, and
    /// [`StaticKeys::merge`].
    #[error(
        "the environment variable {0} looks like several keys (it has a comma, a semicolon, a bar, an ampersand or \
         white space): set it to one key, and merge several variables"
    )]
    Several(String),
    /// The key has fewer than 16 characters.
    #[error(
        "the key in the environment variable {0} is shorter than 16 characters: generate one with `openssl rand -hex 32`"
    )]
    TooShort(String),
    /// The key is a placeholder, a word or a pattern, or has few different characters. Its
    /// estimated strength is below 64 bits.
    #[error("the key in the environment variable {0} is too guessable: generate one with `openssl rand -hex 32`")]
    Guessable(String),
    /// Two ids have the same key, or two keys have the same id.
    #[error("the keys {0} and {1} are the same, or share their id: give each key an id of its own")]
    Duplicate(String, String),
}

impl StaticKeys {
    /// Returns a store of these keys, each under its id. A `HashMap` of ids and keys works too.
    ///
    /// It accepts weak keys: you vouch for their strength. [`StaticKeys::from_env`] rejects weak
    /// keys.
    ///
    /// ```
    /// use std::collections::HashMap;
    /// use tower_api_key::{ApiKey, store::StaticKeys};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// // The map of your earlier middleware, from the text of each key to its client.
    /// let clients = HashMap::from([("zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ", "deploy")]);
    /// let keys = clients.into_iter().map(|(text, client)| Ok((client, ApiKey::new(text)?)));
    /// let keys = StaticKeys::new(keys.collect::<Result<Vec<_>, tower_api_key::key::InvalidKey>>()?)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns [`StaticKeysError::Duplicate`] if two keys or two ids are equal.
    pub fn new<I: Into<String>>(keys: impl IntoIterator<Item = (I, ApiKey)>) -> Result<Self, StaticKeysError> {
        let mut all = Self(Vec::new());
        for (id, key) in keys {
            all.add(KeyRecord::for_key(id.into(), &key, &KeyHasher::sha256()))?;
        }
        Ok(all)
    }

    fn add(&mut self, record: KeyRecord) -> Result<(), StaticKeysError> {
        let same = |known: &&KeyRecord| known.id() == record.id() || known.digest() == record.digest();
        if let Some(known) = self.0.iter().find(same) {
            return Err(StaticKeysError::Duplicate(known.id().to_string(), record.id().to_string()));
        }
        self.0.push(record);
        Ok(())
    }

    /// Returns a store of the one key that the environment variable `name` holds. The name becomes
    /// the id.
    ///
    /// Generate the key, for example with `openssl rand -hex 32`: keys that people choose are too
    /// weak for a fast hash. A key needs 16 characters and an estimated 64 bits. Repeated parts,
    /// rows such as `1234`, `qwer` or `1qaz`, and common words count little: 16 random hexadecimal
    /// digits have 64 bits, `changeme` or `my-secret-api-key` have far fewer. White space around
    /// the value, such as the line end of a file, is not part of the key. There is no default key.
    ///
    /// # Errors
    ///
    /// - [`StaticKeysError::NotSet`] if the variable is not set;
    /// - [`StaticKeysError::Invalid`] if the value is empty or cannot be a key;
    /// - [`StaticKeysError::Quoted`], [`StaticKeysError::Assignment`] and
    ///   [`StaticKeysError::Several`] for a value that no client would send as it is;
    /// - [`StaticKeysError::TooShort`] and [`StaticKeysError::Guessable`] for a weak key.
    ///
    /// No error repeats a part of the value.
    pub fn from_env(name: &str) -> Result<Self, StaticKeysError> {
        let text = env::var(name).map_err(|_| StaticKeysError::NotSet(name.to_owned()))?;
        Self::from_text(name, &Zeroizing::new(text))
    }

    fn from_text(name: &str, text: &str) -> Result<Self, StaticKeysError> {
        let key = value::checked(value::trimmed(text)).map_err(|reason| {
            let error = match reason {
                Unusable::Invalid => StaticKeysError::Invalid,
                Unusable::Quoted => StaticKeysError::Quoted,
                Unusable::Assignment => StaticKeysError::Assignment,
                Unusable::Several => StaticKeysError::Several,
                Unusable::TooShort => StaticKeysError::TooShort,
                Unusable::Guessable => StaticKeysError::Guessable,
            };
            error(name.to_owned())
        })?;
        Self::new([(name, key)])
    }

    /// Grants `action` on `resource` to every key of this store.
    ///
    /// To give two keys different permissions, grant first and then [merge](StaticKeys::merge).
    #[must_use]
    pub fn grant(self, resource: &str, action: impl Into<Action>) -> Self {
        let action = action.into();
        let records = self.0.into_iter();
        Self(records.map(|record| record.grant(resource, action.clone())).collect())
    }

    /// Adds the keys of `others`. Each key keeps its own permissions.
    ///
    /// ```no_run
    /// use tower_api_key::store::StaticKeys;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let reader = StaticKeys::from_env("READER_KEY")?.grant("links", "read");
    /// let writer = StaticKeys::from_env("WRITER_KEY")?.grant("links", "create");
    /// let keys = reader.merge(writer)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns [`StaticKeysError::Duplicate`] if both have the same key or the same id.
    pub fn merge(mut self, others: Self) -> Result<Self, StaticKeysError> {
        others.0.into_iter().try_for_each(|record| self.add(record))?;
        Ok(self)
    }
}

/// Takes a map from ids to keys.
impl<I: Into<String>, H> TryFrom<HashMap<I, ApiKey, H>> for StaticKeys {
    type Error = StaticKeysError;

    fn try_from(keys: HashMap<I, ApiKey, H>) -> Result<Self, StaticKeysError> {
        Self::new(keys)
    }
}

impl StaticKeys {
    fn look_up(&self, digest: &KeyDigest) -> Option<KeyRecord> {
        self.0.iter().find(|record| record.digest() == digest).cloned()
    }
}

impl KeyStore for StaticKeys {
    type Error = Infallible;

    async fn find(&self, digest: &KeyDigest) -> Result<Option<KeyRecord>, Infallible> {
        Ok(self.look_up(digest))
    }

    fn try_find(&self, digest: &KeyDigest) -> Lookup {
        self.look_up(digest).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_around_a_secret_is_not_part_of_the_key() {
        let text = "zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ";
        let keys = StaticKeys::from_text("API_KEY", &format!(" {text}\r\n")).unwrap();
        let digest = KeyHasher::sha256().digest(&ApiKey::new(text).unwrap());
        assert!(matches!(keys.try_find(&digest), Lookup::Found(_)));
        for text in ["", " \n", "schl\u{fc}sselschl\u{fc}ssel"] {
            let error = StaticKeys::from_text("API_KEY", text).unwrap_err();
            assert_eq!(error, StaticKeysError::Invalid("API_KEY".into()));
        }
    }
}
