//! The history of a record: who issued, changed and revoked the key, when and why.

use std::{fmt, str::FromStr, time::SystemTime};

use thiserror::Error;

use super::KeyId;

/// The author of a change: an API key, a signed-in user, or the system.
///
/// `Display` and [`FromStr`] use the form of a database column: `key key_1`, `user alice`,
/// `system`. With the feature `serde`, an author serializes as `{"type": "key", "id": "key_1"}`,
/// `{"type": "user", "id": "alice"}` or `{"type": "system"}`.
///
/// ```
/// use tower_api_key::Author;
///
/// let author = Author::User("alice".into());
/// assert_eq!(author.to_string(), "user alice");
/// assert_eq!("user alice".parse(), Ok(author));
/// assert_eq!(Author::System.id(), None);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Author {
    /// A caller that authenticated with this key.
    Key(KeyId),
    /// A user that the application has authenticated, by id.
    User(String),
    /// The application itself, or a program that changed the database directly.
    System,
}

/// The error of parsing a text that names no [`Author`].
///
/// ```
/// use tower_api_key::{Author, InvalidAuthor};
///
/// let error: InvalidAuthor = "alice".parse::<Author>().unwrap_err();
/// assert_eq!(error.to_string(), "an author is `key ID`, `user ID` or `system`");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("an author is `key ID`, `user ID` or `system`")]
#[non_exhaustive]
pub struct InvalidAuthor;

/// The fields with the history of a record.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct History {
    pub(crate) created_by: Option<Author>,
    pub(crate) updated_at: Option<SystemTime>,
    pub(crate) revoked_at: Option<SystemTime>,
    pub(crate) revoked_by: Option<Author>,
    pub(crate) reason: Option<Box<str>>,
    /// `None` for the first key of a chain: its own id.
    pub(crate) lineage: Option<KeyId>,
    pub(crate) replaces: Option<KeyId>,
}

// === impl Author ===

impl Author {
    /// Returns the kind: `key`, `user` or `system`.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Key(_) => "key",
            Self::User(_) => "user",
            Self::System => "system",
        }
    }

    /// Returns the id of the key or of the user.
    pub fn id(&self) -> Option<&str> {
        match self {
            Self::Key(id) => Some(id.as_str()),
            Self::User(id) => Some(id),
            Self::System => None,
        }
    }
}

impl fmt::Display for Author {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.id() {
            Some(id) => write!(f, "{} {id}", self.kind()),
            None => f.write_str(self.kind()),
        }
    }
}

impl FromStr for Author {
    type Err = InvalidAuthor;

    fn from_str(text: &str) -> Result<Self, InvalidAuthor> {
        match text.split_once(' ') {
            Some(("key", id)) => Ok(Self::Key(id.into())),
            Some(("user", id)) => Ok(Self::User(id.into())),
            None if text == "system" => Ok(Self::System),
            _ => Err(InvalidAuthor),
        }
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for Author {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;

        let id = self.id();
        let mut author = serializer.serialize_struct("Author", 1 + usize::from(id.is_some()))?;
        author.serialize_field("type", self.kind())?;
        match id {
            Some(id) => author.serialize_field("id", id)?,
            None => author.skip_field("id")?,
        }
        author.end()
    }
}
