//! Why rates in Valkey could not be read.

use redis::{ErrorKind, RedisError};
use thiserror::Error;

/// Why a server of Valkey or Redis could not be used. No text of it has a password.
///
/// ```
/// use tower_api_key::limit::ValkeyError;
///
/// assert!(ValkeyError::Url.to_string().starts_with("the URL is not one of Valkey"));
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ValkeyError {
    /// The URL cannot be used.
    #[error(
        "the URL is not one of Valkey or Redis: write it as redis://user:password@host:6379/0; rediss:// needs a \
        feature of the crate redis, such as tokio-native-tls-comp"
    )]
    Url,
    /// The server cannot be reached, has closed the connection or has not answered in time.
    #[error("the server of the rates cannot be reached")]
    Unreachable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The server does not accept the user or the password, or it needs one.
    #[error("the server of the rates does not accept the user and the password of the URL")]
    Login,
    /// The server has answered with an error, such as `READONLY` or `OOM`.
    #[error("the server of the rates has answered with an error")]
    Server(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The server has answered something else than the script returns.
    #[error("the server of the rates has answered something else than expected")]
    Answer,
    /// Quotas and credits are not kept in Valkey. Names the meter.
    #[error("{0:?} is no rate: quotas and credits need another store of meters")]
    Allowance(String),
}

impl From<RedisError> for ValkeyError {
    fn from(error: RedisError) -> Self {
        match error.kind() {
            ErrorKind::AuthenticationFailed => Self::Login,
            ErrorKind::Io => Self::Unreachable(error.into()),
            ErrorKind::UnexpectedReturnType | ErrorKind::Parse => Self::Answer,
            _ if matches!(error.code(), Some("NOAUTH" | "WRONGPASS")) => Self::Login,
            _ => Self::Server(error.into()),
        }
    }
}
