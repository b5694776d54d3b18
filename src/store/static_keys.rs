//! A few keys that never change: from an environment variable, say.

use std::{convert::Infallible, env};

use thiserror::Error;
use zeroize::Zeroizing;

use super::{KeyStore, Lookup};
use crate::{
    key::{ApiKey, InvalidKey, KeyDigest, KeyHasher, estimated_bits},
    permission::Action,
    record::KeyRecord,
};

/// A few keys that never change, hashed by SHA-256 the moment they are read.
///
/// The layer must hash the same way, which is its default. For peppered digests, or for keys that change, use a
/// [`MemoryStore`](super::MemoryStore).
///
/// ```
/// use tower_api_key::{ApiKey, ApiKeyLayer, store::StaticKeys};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let keys = StaticKeys::new([("deploy", ApiKey::new("zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ")?)])?.grant("links", "create");
/// let layer = ApiKeyLayer::builder(keys).build()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct StaticKeys(Vec<KeyRecord>);

/// Why there are no fixed keys. The text never repeats a key.
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
    #[error("the environment variable {0} is not set")]
    NotSet(String),
    /// The variable holds what no request could carry as a key: it is empty, too long, or has a character that keys do not have.
    #[error("the environment variable {0} does not hold a key: {InvalidKey}")]
    Invalid(String),
    /// The value begins or ends with a quotation mark: docker's `--env-file` keeps the quotes, as do most readers of such files.
    #[error("the value of the environment variable {0} stands in quotes, which would be part of the key: remove them")]
    Quoted(String),
    /// The value is a line of a file of variables, `API_KEY=..`, `export API_KEY=..`, or has what stands before a key in a request: `x-api-key:..`,
    /// `Bearer%20..`.
    #[error("the environment variable {0} holds a whole line, NAME=KEY: leave the key alone in its value")]
    Assignment(String),
    /// The value has a comma, a semicolon or white space in it, or a bar or ampersand between what may all be keys. One variable holds one key: read each key from a variable of its own.
    #[error(
        "the environment variable {0} looks like several keys (a comma, a semicolon, a bar, an ampersand or white space stands in it): name one key"
    )]
    Several(String),
    /// The key has fewer than 16 characters.
    #[error(
        "the key in the environment variable {0} is too short, it needs 16 characters: make one by `openssl rand -hex 32`"
    )]
    TooShort(String),
    /// The key is a placeholder, a word, a pattern, or has few different characters: fewer than 64 bits by an estimate.
    #[error("the key in the environment variable {0} is too guessable: make one by `openssl rand -hex 32`")]
    Guessable(String),
    /// One key stands under two ids, or one id under two keys.
    #[error("the keys {0} and {1} are the same, or share their id")]
    Duplicate(String, String),
}

impl StaticKeys {
    /// These keys, each under its id.
    ///
    /// They are taken as they are: whoever calls this vouches for their strength. [`StaticKeys::from_env`] refuses weak ones.
    ///
    /// # Errors
    ///
    /// [`StaticKeysError::Duplicate`] where two keys or two ids are equal.
    pub fn new<I: Into<String>>(keys: impl IntoIterator<Item = (I, ApiKey)>) -> Result<Self, StaticKeysError> {
        let mut records: Vec<KeyRecord> = Vec::new();
        for (id, key) in keys {
            let record = KeyRecord::for_key(id.into(), &key, &KeyHasher::sha256());
            let same = |known: &&KeyRecord| known.id() == record.id() || known.digest() == record.digest();
            if let Some(known) = records.iter().find(same) {
                let names = (known.id().to_string(), record.id().to_string());
                return Err(StaticKeysError::Duplicate(names.0, names.1));
            }
            records.push(record);
        }
        Ok(Self(records))
    }

    /// The one key that the environment variable `name` holds. The name becomes its id.
    ///
    /// A key that people choose is too weak for a fast hash: make one by `openssl rand -hex 32`, say. A key needs 16 characters and 64
    /// bits by an estimate, in which a repeated part, a row such as `1234`, `qwer` or `1qaz`, and a common word count for little: 16 random
    /// hexadecimal digits have 64 bits, a `changeme` or `my-secret-api-key` has far fewer.
    ///
    /// White space around the value, such as the line end of a secret that was read from a file, is not part of the key.
    ///
    /// # Errors
    ///
    /// [`StaticKeysError::NotSet`]; [`StaticKeysError::Invalid`] for a value that is empty or cannot be a key; for one that no caller would
    /// present as it stands there, [`StaticKeysError::Quoted`], [`StaticKeysError::Assignment`] and [`StaticKeysError::Several`]; for a weak
    /// one, [`StaticKeysError::TooShort`] and [`StaticKeysError::Guessable`]. No error repeats any part of the value. There is no default key.
    pub fn from_env(name: &str) -> Result<Self, StaticKeysError> {
        let text = env::var(name).map_err(|_| StaticKeysError::NotSet(name.to_owned()))?;
        Self::from_text(name, &Zeroizing::new(text))
    }

    fn from_text(name: &str, text: &str) -> Result<Self, StaticKeysError> {
        let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\u{feff}');
        let key = checked(text).map_err(|wrong| wrong(name.to_owned()))?;
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

const SHORTEST: usize = 16;
const FEWEST_BITS: f64 = 64.0;

/// The key that this text is, if somebody could present it and nobody could guess it.
fn checked(text: &str) -> Result<ApiKey, fn(String) -> StaticKeysError> {
    let escaped = text.trim_start_matches('\\');
    if text.is_empty() {
        Err(StaticKeysError::Invalid)
    } else if is_assignment(text) {
        Err(StaticKeysError::Assignment)
    } else if escaped.starts_with(is_quote)
        || text.ends_with(is_quote)
        || ["%22", "%27"].iter().any(|q| text.starts_with(q))
    {
        Err(StaticKeysError::Quoted)
    } else if text
        .contains(|c: char| c.is_whitespace() || matches!(c, ',' | ';' | '\u{ff0c}' | '\u{ff1b}' | '\u{3001}'))
        || is_joined(text)
    {
        Err(StaticKeysError::Several)
    } else {
        let key = ApiKey::new(text).map_err(|_| StaticKeysError::Invalid as fn(String) -> StaticKeysError)?;
        if text.len() < SHORTEST {
            Err(StaticKeysError::TooShort)
        } else if is_placeholder(text) || estimated_bits(text) < FEWEST_BITS {
            Err(StaticKeysError::Guessable)
        } else {
            Ok(key)
        }
    }
}

/// Whether a bar or an ampersand divides the text into what may all be keys. Laravel's `7|KEY` is one.
fn is_joined(text: &str) -> bool {
    let mut parts = text.split(['|', '&']);
    parts.clone().count() > 1 && parts.all(|part| part.len() >= SHORTEST)
}

/// What callers write before a key, as a header or a word: `x-api-key: KEY`.
const LABELS: [&str; 8] = ["x-api-key", "api-key", "api_key", "apikey", "authorization", "bearer", "token", "basic"];

/// `NAME=KEY`, `export NAME=KEY`, `set NAME=KEY`, `x-api-key:KEY`, `Bearer%20KEY`. What has nothing but `=` behind it is a key in base64.
fn is_assignment(text: &str) -> bool {
    if text.get(.."bearer".len()).is_some_and(|word| word.eq_ignore_ascii_case("bearer"))
        && !text.contains(char::is_whitespace)
    {
        return true;
    }
    let words = ["export ", "set ", "setx ", "declare ", "$env:", "$"];
    let line = words.iter().find_map(|word| text.strip_prefix(word)).unwrap_or(text).trim_start();
    if line.split_once(':').is_some_and(|(label, _)| LABELS.iter().any(|known| label.eq_ignore_ascii_case(known))) {
        return true;
    }
    let Some((name, value)) = line.split_once('=') else {
        return line.len() < text.len() && text.starts_with("export ");
    };
    let name = name.trim_end();
    let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_' || c == '-')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte));
    is_name && !value.trim_start_matches('=').is_empty()
}

/// ASCII's quotation marks, and those that word processors and chats put in their place.
fn is_quote(c: char) -> bool {
    matches!(c, '"' | '\'' | '`' | '\u{b4}' | '\u{ab}' | '\u{bb}' | '\u{2039}' | '\u{203a}' | '\u{2018}'..='\u{201f}'
        | '\u{2032}'..='\u{2037}' | '\u{275b}'..='\u{275e}' | '\u{300c}'..='\u{300f}' | '\u{301d}'..='\u{301f}'
        | '\u{ff02}' | '\u{ff07}' | '\u{ff40}' | '\u{ff62}' | '\u{ff63}')
}

/// A variable that nobody has expanded, a gap that nobody has filled in, or a reference that nobody has resolved: `${API_KEY}`, `<your key>`,
/// `{{key}}`, `%KEY%`, `/run/secrets/api_key`, `op://vault/item`.
fn is_placeholder(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let refers = ["/run/", "/etc/", "/var/", "arn:", "vault:", "op:", "file:", "@microsoft."];
    let speaks = ["://", "\\", "example", "your_", "your-"];
    if refers.iter().any(|begin| lower.starts_with(begin)) || speaks.iter().any(|part| lower.contains(part)) {
        return true;
    }
    let pairs = [("${", "}"), ("$(", ")"), ("$", ""), ("{", "}"), ("<", ">"), ("[", "]"), ("(", ")"), ("%", "%")];
    pairs.iter().any(|(begin, end)| {
        let inside = text.strip_prefix(begin).and_then(|rest| rest.strip_suffix(end));
        inside.is_some_and(|inside| {
            begin.len() + end.len() > 1 || inside.bytes().all(|b| b.is_ascii_uppercase() || b == b'_')
        })
    })
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
