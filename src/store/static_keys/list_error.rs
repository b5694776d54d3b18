//! The errors of a list of keys in JSON or TOML. They name the entry, and never repeat a key.

use thiserror::Error;

use crate::key::InvalidKey;

/// The error of reading a list of static keys in JSON or TOML. The text never repeats a key.
///
/// ```
/// use tower_api_key::store::{KeyEntryError, KeyListError, StaticKeys};
///
/// let weak = r#"{"keys": {"deploy": {"key": "changeme"}}}"#;
/// let error = StaticKeys::from_json(weak).unwrap_err();
/// assert_eq!(error, KeyListError::Entry(r#"key "deploy""#.into(), KeyEntryError::TooShort));
/// assert_eq!(
///     error.to_string(),
///     r#"key "deploy": it is shorter than 16 characters: generate one with `openssl rand -hex 32`"#,
/// );
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum KeyListError {
    /// The environment variable is not set, or not UTF-8.
    #[error("the environment variable {0} is not set: set it to a list of keys in JSON or TOML")]
    NotSet(String),
    /// The text is empty. A list without keys is written as `{"keys": []}`.
    #[error("the list of keys is empty: if no key shall work, write {{\"keys\": []}} in JSON or `keys = []` in TOML")]
    Empty,
    /// The text is not JSON, or an object has a name twice. Counts from 1.
    #[error(
        "line {line}, column {column} is not JSON: look for a missing quote, comma or bracket, or a name that is \
         used twice"
    )]
    Json {
        /// The line.
        line: usize,
        /// The column, in characters.
        column: usize,
    },
    /// The text is not TOML, or a table has a name twice. Counts from 1.
    #[error(
        "line {line}, column {column} is not TOML: look for a missing quote or bracket, or a name that is used twice"
    )]
    Toml {
        /// The line.
        line: usize,
        /// The column, in characters.
        column: usize,
    },
    /// There is no list of keys, or another member beside it.
    #[error(
        "expected one member, `keys`: write {{\"keys\": {{\"deploy\": {{\"key\": \"..\"}}}}}} in JSON, or [keys.deploy] \
         and key = \"..\" in TOML"
    )]
    Form,
    /// An entry is invalid. Contains which one, by its id or by its number from 1.
    #[error("{0}: {1}")]
    Entry(String, #[source] KeyEntryError),
}

/// Why an entry of a list of static keys is invalid; see [`KeyListError`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum KeyEntryError {
    /// There is no id, or it is not 1 to 100 characters without control characters.
    #[error("it has no id: give it an `id` of 1 to 100 characters, such as the name of the client")]
    Id,
    /// The id is the text of the key. Logs contain ids.
    #[error("its id is the text of the key, and logs contain ids: choose the name of the client")]
    SecretId,
    /// A member that an entry does not have. Contains its name, if it is short.
    #[error(
        "the member {0:?} is unknown: an entry has `key` or `sha256`, `permissions`, `roles`, `environment`, \
         `organization`, `name`, `allowed_addresses`, `plan`, `limits`, `meter`, and in a list also `id`"
    )]
    UnknownMember(String),
    /// A member is of another type. Contains its name and the expected type.
    #[error("`{0}` is not {1}")]
    Type(&'static str, &'static str),
    /// There is neither the text nor the digest of the key, or there are both.
    #[error("it needs either `key`, the text of the key, or `sha256`, the digest of the text")]
    KeyOrDigest,
    /// The digest has another form.
    #[error("its `sha256` is not 64 hexadecimal digits: write the output of `printf %s \"$KEY\" | sha256sum`")]
    Digest,
    /// The text cannot be sent as a key.
    #[error("its `key` cannot be sent: {InvalidKey}")]
    Invalid,
    /// The text begins or ends with a quotation mark.
    #[error("its `key` has a second pair of quotes, which would be part of the key: remove them")]
    Quoted,
    /// The text is a line such as `API_KEY=..`, or has a prefix from a request.
    #[error("its `key` holds a whole line, NAME=KEY: write the key alone")]
    Assignment,
    /// The text looks like several keys.
    #[error(
        "its `key` looks like several keys (it has a comma, a semicolon, a bar, an ampersand or white space): write \
         an entry for each key"
    )]
    Several,
    /// The key has fewer than 16 characters.
    #[error("it is shorter than 16 characters: generate one with `openssl rand -hex 32`")]
    TooShort,
    /// The key has an estimated strength below 64 bits.
    #[error("it is too guessable: generate one with `openssl rand -hex 32`")]
    Guessable,
    /// A resource or an action is empty.
    #[error("its `permissions` have an empty resource or action: write {{\"links\": [\"read\", \"create\"]}}")]
    EmptyPermission,
    /// A resource or an action is `*`, or a resource is `project:*`. These are no wildcards in a
    /// list of keys.
    #[error("its `permissions` have a `*`, which is no wildcard here: list each resource and each action")]
    Wildcard,
    /// Another entry has the same id.
    #[error("another entry has the same id: give each key an id of its own")]
    DuplicateId,
    /// Another entry has the same key. Contains that entry.
    #[error("it is the same key as that of {0}: keep one of the two, or generate another key")]
    DuplicateKey(String),
}
