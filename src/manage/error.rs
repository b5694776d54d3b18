//! Errors of a manager.

use std::time::Duration;

use thiserror::Error;

use super::expiry::in_words;
use crate::{
    key::FormatError,
    permission::Action,
    record::KeyId,
    store::{BoxError, RegistryError},
};

/// An error of a [`KeyManager`](crate::KeyManager). After an error, no change was made, with two
/// exceptions. After [`ManageError::Store`] the change may have been made, so read the record
/// before you retry. A call that changes many keys may have changed some of them. The text never
/// contains a key.
///
/// [`status`](Self::status) maps it to an HTTP status. With the feature `axum` it is a response, so
/// that a handler can return it:
///
/// ```
/// # #[cfg(feature = "axum")]
/// # mod api {
/// use axum::extract::{Path, State};
/// use tower_api_key::{KeyManager, Principal, manage::{Actor, ManageError}};
///
/// async fn revoke(
///     key: Principal,
///     State(manager): State<KeyManager>,
///     Path(id): Path<String>,
/// ) -> Result<(), ManageError> {
///     manager.revoke(&Actor::from(&key), id).await?;
///     Ok(())
/// }
/// # }
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ManageError {
    /// The actor lacks this action on the resource `apiKeys`.
    #[error("this needs the permission apiKeys: {0}")]
    PermissionDenied(Action),
    /// The actor's key is no longer valid, or it was replaced. A replaced key in its grace period
    /// is read-only.
    #[error("the caller's key is no longer valid, or was replaced and is read-only: use its replacement")]
    ActorInvalid,
    /// The actor has presented a token of its key. A token is read-only here, since a key that it
    /// issues, replaces or changes would work longer than the token.
    #[error("a token cannot change keys: use the key itself")]
    TokenReadOnly,
    /// The key would have a permission that the actor lacks.
    #[error("cannot grant a permission that the caller lacks: {resource}: {action}")]
    #[non_exhaustive]
    Escalation {
        /// The resource.
        resource: String,
        /// The action on it.
        action: Action,
    },
    /// The actor sees no key with this id.
    #[error("there is no key {0}")]
    NotFound(KeyId),
    /// The actor has no key of its own: your application signed it in without one.
    #[error("the caller has no API key of its own: it was signed in without one")]
    NoOwnKey,
    /// Only an actor that the application trusts may do this, and this actor has a key: see
    /// [`Actor::trusted`](super::Actor::trusted). A search of every organization, and the routes of
    /// webhooks, also need [`Actor::across_organizations`](super::Actor::across_organizations).
    #[error("only a trusted caller can do this, which the application has authenticated without an API key")]
    TrustedActorRequired,
    /// The actor must not set the plan, the limits or the meter of a key: see
    /// [`NewKey::plan`](super::NewKey::plan).
    #[error("only the service itself, or an operator of it, can set the plan, the limits or the meter of a key")]
    OperatorRequired,
    /// The actor may not add credits: see [`KeyManager::top_up`](crate::KeyManager::top_up).
    #[error("this needs the permission credits: create")]
    TopUpDenied,
    /// The key to import belongs to another user, and the actor is not the service itself. Anyone
    /// with the plain text of the key can act as that user.
    #[error("only the service itself can import the key of another user")]
    ForeignOwner,
    /// The id of the key to import is invalid: see [`ImportKey::id`](super::ImportKey::id).
    #[error("an id must have 1 to 100 visible characters, no space or slash, and not be the name of a route")]
    Id,
    /// The id, the name, the metadata, a permission, the reason, the plan, a limit or the meter of
    /// an imported key contains the text of the key. All of these are stored and shown as they are.
    #[error("a text beside the key, such as its name or its metadata, contains the text of the key: it is shown")]
    KeyShown,
    /// The import has too many keys.
    #[error("at most {most} keys can be imported at once")]
    TooManyKeys {
        /// The maximum: 1,000.
        most: usize,
    },
    /// Another user owns the key. Only the owner may replace it, since anyone with the plain text
    /// of the new key can act as the owner.
    #[error("the key {0} belongs to a user, and only that user may replace it")]
    NotOwner(KeyId),
    /// The actor is confined to its own keys, so it issues no service-account key, chooses no id of
    /// a key, and removes no user.
    #[error("a caller confined to its own keys cannot issue service-account keys, choose ids or remove users")]
    OwnKeysOnly,
    /// The filter of a change of many keys has no condition. To change every key that the actor
    /// sees, call [`ChangeMany::all`](super::ChangeMany::all).
    #[error("the filter has no condition, so it matches every key: add a condition, or set `all`")]
    EmptyFilter,
    /// The request is for a user key, but the actor is not a user.
    #[error("only a user can have a user key, and the caller is not a user")]
    UserRequired,
    /// The manager has no format for the environment, or the actor is confined to another one. Add
    /// a format with [`KeyManagerBuilder::environment`](super::KeyManagerBuilder::environment).
    #[error("no keys are issued for the environment {0:?}: it has no format, or is not the caller's")]
    Environment(String),
    /// The request has no environment, and the manager issues no keys without one. Set
    /// [`NewKey::environment`](super::NewKey::environment).
    #[error("set an environment: no keys are issued without one")]
    NoEnvironment,
    /// The actor is confined to one environment, so it cannot remove a user: the user may have keys
    /// in other environments.
    #[error("a caller confined to one environment cannot remove a user, who may have keys in others")]
    EnvironmentRestricted,
    /// The name of a key, an environment or a metadata text is invalid.
    ///
    /// A name has 1 to 100 characters and no space at either end, so that a person can distinguish
    /// two names and no name breaks a log line. It must not contain:
    ///
    /// - Unicode control and format characters (Cc, Cf: U+202E, U+200B, the soft hyphen);
    /// - line and paragraph separators, and spaces other than U+0020;
    /// - characters that a renderer may omit, such as the variation selectors of some emoji;
    /// - private-use characters and noncharacters.
    ///
    /// Names are not normalized. Similar letters of different scripts are different.
    #[error("a name must have 1 to 100 characters, no space at either end, no line break and no invisible character")]
    Name,
    /// The reason of a change is invalid: 1 to 200 characters, as in [`ManageError::Name`].
    #[error("a reason must have 1 to 200 characters, no space at either end, no line break and no invisible character")]
    Reason,
    /// The metadata is invalid: a key has at most 50 texts, each of at most 1,000 characters, none
    /// of them U+0000. An invalid name of a text is [`ManageError::Name`].
    #[error("metadata must have at most 50 texts, each of at most 1000 characters and without U+0000")]
    Metadata,
    /// The idempotency key of the actor is invalid: 1 to 255 characters, visible ASCII characters
    /// and spaces. See [`Actor::with_idempotency_key`](super::Actor::with_idempotency_key).
    #[error("an idempotency key must have 1 to 255 characters, visible ASCII characters or spaces")]
    IdempotencyKey,
    /// The name of a resource or an action is invalid: 1 to 64 characters, as in
    /// [`ManageError::Name`].
    #[error("resources and actions must have 1 to 64 characters, none of them invisible or a control character")]
    PermissionName,
    /// The key would have too many permissions. Each pair of a resource and an action counts.
    #[error("a key can have at most {most} permissions, each an action on a resource")]
    TooManyPermissions {
        /// The maximum: 256.
        most: usize,
    },
    /// The name of a role is invalid, or there are too many: see
    /// [`NewKey::roles`](super::NewKey::roles).
    #[error("a key can have at most 16 roles, each a name of 1 to 64 visible ASCII characters")]
    RoleName,
    /// The key would have a role that does not exist, or the manager has no
    /// [source of roles](super::KeyManagerBuilder::roles).
    #[error("there is no role {0:?}: create it, set the source of roles of the manager, or leave the role out")]
    UnknownRole(String),
    /// The plan, the limits or the meter are invalid: see [`NewKey::plan`](super::NewKey::plan) and
    /// [`NewKey::limit`](super::NewKey::limit). A meter is the id of a key. Says what is wrong, and
    /// repeats no value: it may be a key that was sent in the wrong field.
    #[error("{0}")]
    Limits(&'static str),
    /// A top-up with this id has added another amount before.
    #[error("a top-up with this id has added {0} credits before: use another id")]
    OtherAmount(u64),
    /// The times are invalid. The expiry is in the past or not after the start, so the key would
    /// never work. Or the end of the grace period is not a representable time.
    #[error("invalid times: the key is already expired, expires before it starts, or has too long a grace period")]
    Expiry,
    /// The key would expire later than the actor's key.
    #[error("a key cannot expire later than the caller's own key: set a sooner expiry")]
    OutlivesActor,
    /// The key would be accepted from an address from which the actor's key is not.
    #[error("a key cannot be accepted from an address from which the caller's own key is not: allow fewer addresses")]
    AddressEscalation,
    /// The list of allowed addresses is too long: see
    /// [`NewKey::allowed_addresses`](super::NewKey::allowed_addresses).
    #[error("allowed addresses must be at most {most} networks")]
    #[non_exhaustive]
    TooManyNetworks {
        /// The maximum: 100.
        most: usize,
    },
    /// The key would live for longer than the [`ExpiryPolicy`](super::ExpiryPolicy) allows.
    #[error("the expiry is too late: such a key may live for at most {}", in_words(*.0))]
    LifetimeTooLong(Duration),
    /// The key would live for less time than the [`ExpiryPolicy`](super::ExpiryPolicy) requires.
    #[error("the expiry is too soon: such a key must live for at least {}", in_words(*.0))]
    LifetimeTooShort(Duration),
    /// The key would have no expiry, and the [`ExpiryPolicy`](super::ExpiryPolicy) requires one.
    #[error("set an expiry: such a key must have one")]
    ExpiryRequired,
    /// The record of the key has another version than the caller requires: it was changed
    /// meanwhile. See [`UpdateKey::at_version`](super::UpdateKey::at_version).
    #[error("the key {0} has another version than required: read it again")]
    VersionMismatch(KeyId),
    /// The key is expired, so it cannot be replaced. Issue a new key.
    #[error("the key {0} is expired: issue a new one")]
    Expired(KeyId),
    /// The store does not mark the expiries that it returns: see
    /// [`KeyRegistry::claim_expiring`](crate::KeyRegistry::claim_expiring).
    #[error("the key store does not mark announced expiries: implement `claim_expiring` and `release_expiring`")]
    AnnouncementsNotKept,
    /// An imported key is too long or has a wrong format: see
    /// [`KeyManager::import`](crate::KeyManager::import). Or the operating system's random number
    /// generator failed.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// No scheme of the manager's layers can carry the imported key. The text lists the schemes.
    #[error("none of these schemes can carry the key: {0}")]
    UnsupportedKeyCharacters(String),
    /// The registry does not keep usage by day: see
    /// [`KeyRegistry::usage`](crate::KeyRegistry::usage).
    #[error("the key store does not keep usage by day")]
    UsageNotKept,
    /// The registry rejected the change.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The registry, the store of meters, or a source of roles or owners' rights failed. Log the
    /// source; do not show it to callers.
    #[error("the key store failed")]
    Store(#[source] BoxError),
}
