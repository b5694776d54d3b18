//! The names on a record: which key, whose, and whether it works.

use std::{borrow::Borrow, convert::Infallible, fmt, str::FromStr};

use thiserror::Error;

/// The public name of a key: it may be logged and shown, and says nothing of the key.
///
/// ```
/// use tower_api_key::KeyId;
///
/// assert_eq!(KeyId::from(42), KeyId::from("42"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(Box<str>);

/// Whose key it is, and so to whom its actions are attributed.
///
/// ```
/// use tower_api_key::Owner;
///
/// assert_eq!(Owner::User("alice".into()).to_string(), "alice");
/// assert_eq!(Owner::ServiceAccount.to_string(), "Bot");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Owner {
    /// A person or an account, by its id. The key goes when the owner goes.
    User(String),
    /// Nobody in particular: the key belongs to its organization, and outlives every member.
    ServiceAccount,
}

/// Whether a key works, apart from its times.
///
/// ```
/// use tower_api_key::{KeyRecord, Status};
///
/// let record = KeyRecord::new("k1", [7; 32]);
/// assert_eq!(record.status(), Status::Active);
/// assert_eq!("disabled".parse(), Ok(Status::Disabled)); // as a database column holds it
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Status {
    /// It works.
    #[default]
    Active,
    /// It is switched off, and may be switched on again.
    Disabled,
    /// It is off for good.
    Revoked,
}

/// The text names no [`Status`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("a status is active, disabled or revoked")]
#[non_exhaustive]
pub struct InvalidStatus;

// === impl KeyId, Owner, Status ===

impl KeyId {
    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for KeyId {
    fn from(id: &str) -> Self {
        Self(id.into())
    }
}

impl From<String> for KeyId {
    fn from(id: String) -> Self {
        Self(id.into())
    }
}

impl From<&KeyId> for KeyId {
    fn from(id: &KeyId) -> Self {
        id.clone()
    }
}

impl FromStr for KeyId {
    type Err = Infallible;

    fn from_str(id: &str) -> Result<Self, Infallible> {
        Ok(id.into())
    }
}

/// A row's number.
impl From<i64> for KeyId {
    fn from(id: i64) -> Self {
        Self(id.to_string().into())
    }
}

/// A row's number.
impl From<u64> for KeyId {
    fn from(id: u64) -> Self {
        Self(id.to_string().into())
    }
}

/// A row's number.
impl From<i32> for KeyId {
    fn from(id: i32) -> Self {
        i64::from(id).into()
    }
}

impl AsRef<str> for KeyId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for KeyId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::User(id) => id,
            Self::ServiceAccount => "Bot",
        })
    }
}

impl Status {
    /// Returns the name: `active`, `disabled` or `revoked`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Disabled => "disabled",
            Self::Revoked => "revoked",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Reads the name in lower case, as [`Status::as_str`] writes it.
impl FromStr for Status {
    type Err = InvalidStatus;

    fn from_str(name: &str) -> Result<Self, InvalidStatus> {
        [Self::Active, Self::Disabled, Self::Revoked]
            .into_iter()
            .find(|status| status.as_str() == name)
            .ok_or(InvalidStatus)
    }
}
