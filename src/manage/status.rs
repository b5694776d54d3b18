//! The HTTP status of an error.

use http::StatusCode;

use super::ManageError;
use crate::{key::FormatError, store::RegistryError};

impl ManageError {
    /// Returns the HTTP status of this error. The management API sends the same.
    ///
    /// | status | errors                                                                                 |
    /// |--------|----------------------------------------------------------------------------------------|
    /// | 400    | `IdempotencyKey`                                                                       |
    /// | 403    | `PermissionDenied`, `ActorInvalid`, `TokenReadOnly`, `Escalation`, `AddressEscalation`, `TrustedActorRequired`, `OperatorRequired`, `TopUpDenied`, `NotOwner`, `ForeignOwner`, `OwnKeysOnly`, `EnvironmentRestricted` |
    /// | 404    | `NotFound`, `NoOwnKey`, [`RegistryError::NotFound`]                                    |
    /// | 409    | `Expired`, `OtherAmount`, every other [`RegistryError`]                                |
    /// | 412    | `VersionMismatch`                                                                      |
    /// | 422    | `UserRequired`, `EmptyFilter`, `Id`, `KeyShown`, `TooManyKeys`, `Environment`, `NoEnvironment`, `Name`, `Reason`, `Metadata`, `PermissionName`, `TooManyPermissions`, `RoleName`, `UnknownRole`, `TooManyNetworks`, `Limits`, `Format`, `UnsupportedKeyCharacters`, `Expiry`, `OutlivesActor`, `LifetimeTooLong`, `LifetimeTooShort`, `ExpiryRequired`, [`RegistryError::IdempotencyMismatch`] |
    /// | 501    | `UsageNotKept`, `AnnouncementsNotKept`, [`RegistryError::IdempotencyUnsupported`]      |
    /// | 503    | `Store`, [`FormatError::Generator`]                                                    |
    ///
    /// ```
    /// use http::StatusCode;
    /// use tower_api_key::{KeyFormat, KeyManager, Owner, Permissions};
    /// use tower_api_key::{manage::Actor, store::MemoryStore};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let format = KeyFormat::new("acme")?;
    /// let manager = KeyManager::builder(MemoryStore::new()).format(format).build()?;
    /// let permissions = Permissions::new().grant("apiKeys", "read");
    /// let reader = Actor::trusted(Owner::ServiceAccount, permissions);
    /// let missing = manager.get(&reader, "key_1").await.unwrap_err();
    /// assert_eq!(missing.status(), StatusCode::NOT_FOUND);
    /// let denied = manager.revoke(&reader, "key_1").await.unwrap_err();
    /// assert_eq!(denied.status(), StatusCode::FORBIDDEN);
    /// # Ok(())
    /// # }
    /// ```
    pub fn status(&self) -> StatusCode {
        match self {
            Self::IdempotencyKey => StatusCode::BAD_REQUEST,
            Self::PermissionDenied(_)
            | Self::ActorInvalid
            | Self::TokenReadOnly
            | Self::Escalation { .. }
            | Self::AddressEscalation
            | Self::TrustedActorRequired
            | Self::OperatorRequired
            | Self::TopUpDenied
            | Self::NotOwner(_)
            | Self::ForeignOwner
            | Self::OwnKeysOnly
            | Self::EnvironmentRestricted => StatusCode::FORBIDDEN,
            Self::NotFound(_) | Self::NoOwnKey | Self::Registry(RegistryError::NotFound(_)) => StatusCode::NOT_FOUND,
            Self::Format(FormatError::Generator) | Self::Store(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::UserRequired
            | Self::EmptyFilter
            | Self::Id
            | Self::KeyShown
            | Self::TooManyKeys { .. }
            | Self::Environment(_)
            | Self::NoEnvironment
            | Self::Name
            | Self::Reason
            | Self::Metadata
            | Self::PermissionName
            | Self::TooManyPermissions { .. }
            | Self::RoleName
            | Self::UnknownRole(_)
            | Self::TooManyNetworks { .. }
            | Self::Limits(_)
            | Self::Format(_)
            | Self::UnsupportedKeyCharacters(_)
            | Self::Expiry
            | Self::OutlivesActor
            | Self::LifetimeTooLong(_)
            | Self::LifetimeTooShort(_)
            | Self::ExpiryRequired
            | Self::Registry(RegistryError::IdempotencyMismatch) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::VersionMismatch(_) => StatusCode::PRECONDITION_FAILED,
            Self::UsageNotKept | Self::AnnouncementsNotKept | Self::Registry(RegistryError::IdempotencyUnsupported) => {
                StatusCode::NOT_IMPLEMENTED
            }
            Self::Expired(_) | Self::OtherAmount(_) | Self::Registry(_) => StatusCode::CONFLICT,
        }
    }
}
