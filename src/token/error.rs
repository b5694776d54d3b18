//! The errors of a token that is not issued.

use std::time::Duration;

use thiserror::Error;

use super::MAX_TOKEN_LEN;
use crate::permission::Action;

/// Why [`Tokens::issue`](super::Tokens::issue) issues no token.
///
/// The text names the permission that was asked for, and never a key or a token.
///
/// ```
/// use std::time::Duration;
/// use tower_api_key::{Principal, Permissions, token::{NewToken, TokenError, Tokens}};
///
/// fn uploader(tokens: &Tokens, key: &Principal) -> Result<String, &'static str> {
///     let new = NewToken::lasting(Duration::from_secs(300));
///     match tokens.issue(key, new.permissions(Permissions::new().grant("files", "create"))) {
///         Ok(token) => Ok(token.text().expose().to_owned()),
///         Err(TokenError::PermissionNotHeld { .. }) => Err("your key cannot upload files"),
///         Err(_) => Err("no token for this key"),
///     }
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TokenError {
    /// The key does not have this permission now, so its token cannot have it.
    #[error("the key does not have the permission {resource}:{action}, so its token cannot have it")]
    PermissionNotHeld {
        /// The resource that was asked for.
        resource: String,
        /// The action that was asked for.
        action: Action,
    },
    /// A network is not within the allowed addresses of the key.
    #[error(
        "the token would be accepted from addresses from which its key is not: use networks within those of the key"
    )]
    AddressNotAllowed,
    /// The lifetime is shorter than one second, or longer than
    /// [`Tokens::max_lifetime`](super::Tokens::max_lifetime).
    #[error("a token lasts at least 1 second and at most {} seconds", .max.as_secs())]
    Lifetime {
        /// The longest lifetime.
        max: Duration,
    },
    /// The request presented a token. A token cannot be exchanged: otherwise it could outlive
    /// itself.
    #[error("a token cannot be exchanged for another one: use the key itself")]
    FromToken,
    /// The key has expired, or expires within a second.
    #[error("the key has expired or is about to: a token never outlives its key")]
    KeyExpires,
    /// The token would have more than 512 characters, or a name in it more than 251 bytes.
    #[error("the token would have more than {MAX_TOKEN_LEN} characters: ask for fewer permissions or networks")]
    TooLong,
}
