//! The identity of a key: its id, its owner, its status.

use std::{borrow::Borrow, convert::Infallible, fmt, str::FromStr};

use thiserror::Error;

/// The public id of a key. You may log and show it; it reveals nothing about the key.
///
/// A text or the number of a database row converts into an id. With the feature `serde`, it
/// serializes as a string.
///
/// ```
/// use tower_api_key::KeyId;
///
/// assert_eq!(KeyId::from(42), KeyId::from("42"));
/// assert_eq!("42".parse(), Ok(KeyId::from(42)));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(Box<str>);

/// The owner of a key: a user, or a service account of the key's organization.
///
/// [`Owner::kind`] is the name for programs; `Display` is the name for people. Do not read an owner
/// from its `Display`: a user may be called `Bot`. With the feature `serde`, an owner serializes as
/// `{"type": "user", "id": "alice"}` or `{"type": "bot"}`.
///
/// ```
/// use tower_api_key::Owner;
///
/// let alice = Owner::User("alice".into());
/// assert_eq!((alice.kind(), alice.user()), ("user", Some("alice")));
/// assert_eq!((Owner::ServiceAccount.kind(), Owner::ServiceAccount.user()), ("bot", None));
/// assert_eq!(alice.to_string(), "alice");
/// assert_eq!(Owner::ServiceAccount.to_string(), "Bot");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Owner {
    /// A user, by id. Remove the user's keys together with the user:
    /// [`remove_user_keys`](crate::KeyManager::remove_user_keys).
    User(String),
    /// A service account: the key belongs to its organization and outlives every member.
    ServiceAccount,
}

/// Whether a key is active, disabled or revoked. Expiry and start time are separate fields of a
/// record.
///
/// With the feature `serde`, a status serializes as its name.
///
/// ```
/// use tower_api_key::{KeyRecord, Status};
///
/// let record = KeyRecord::new("k1", [7; 32]);
/// assert_eq!(record.status(), Status::Active);
/// assert_eq!("disabled".parse(), Ok(Status::Disabled)); // the text in a database column
/// assert_eq!(Status::Revoked.to_string(), "revoked");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Status {
    /// The key works.
    #[default]
    Active,
    /// The key is rejected until it is enabled again.
    Disabled,
    /// The key is rejected permanently.
    Revoked,
}

/// The error of parsing a text that names no [`Status`].
///
/// ```
/// use tower_api_key::{InvalidStatus, Status};
///
/// let error: InvalidStatus = "Active".parse::<Status>().unwrap_err(); // names are lower case
/// assert_eq!(error.to_string(), "a status is active, disabled or revoked");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("a status is active, disabled or revoked")]
#[non_exhaustive]
pub struct InvalidStatus;

// === impl KeyId, Owner, Status ===

impl KeyId {
    /// Returns the id as text.
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

/// Never fails: every text is an id.
impl FromStr for KeyId {
    type Err = Infallible;

    fn from_str(id: &str) -> Result<Self, Infallible> {
        Ok(id.into())
    }
}

/// The number of a database row.
impl From<i64> for KeyId {
    fn from(id: i64) -> Self {
        Self(id.to_string().into())
    }
}

/// The number of a database row.
impl From<u64> for KeyId {
    fn from(id: u64) -> Self {
        Self(id.to_string().into())
    }
}

/// The number of a database row.
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

impl Owner {
    /// Returns the kind of the owner, `user` or `bot`, as in JSON and in database columns.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::User(_) => "user",
            Self::ServiceAccount => "bot",
        }
    }

    /// Returns the user's id; `None` for a service account.
    pub fn user(&self) -> Option<&str> {
        match self {
            Self::User(id) => Some(id),
            Self::ServiceAccount => None,
        }
    }
}

/// Shows the user's id, or `Bot`.
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

/// Parses the lower-case name that [`Status::as_str`] returns.
impl FromStr for Status {
    type Err = InvalidStatus;

    fn from_str(name: &str) -> Result<Self, InvalidStatus> {
        [Self::Active, Self::Disabled, Self::Revoked]
            .into_iter()
            .find(|status| status.as_str() == name)
            .ok_or(InvalidStatus)
    }
}

#[cfg(feature = "serde")]
mod serde {
    use serde::{Serialize, Serializer, ser::SerializeStruct};

    use super::{KeyId, Owner, Status};

    impl Serialize for KeyId {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_str(self.as_str())
        }
    }

    impl Serialize for Status {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_str(self.as_str())
        }
    }

    impl Serialize for Owner {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let user = self.user();
            let mut owner = serializer.serialize_struct("Owner", 1 + usize::from(user.is_some()))?;
            owner.serialize_field("type", self.kind())?;
            match user {
                Some(id) => owner.serialize_field("id", id)?,
                None => owner.skip_field("id")?,
            }
            owner.end()
        }
    }
}
