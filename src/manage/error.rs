//! Why a manager does not do what it is asked.

use thiserror::Error;

use crate::{
    key::FormatError,
    permission::Action,
    record::KeyId,
    store::{BoxError, RegistryError},
};

/// Why a manager did not do what it was asked. Nothing was changed. The text never repeats a key.
///
/// ```
/// use tower_api_key::{KeyFormat, KeyManager, Owner, Permissions, manage::{Actor, ManageError}, store::MemoryStore};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let manager = KeyManager::builder(MemoryStore::new()).format(KeyFormat::new("acme")?).build()?;
/// let nobody = Actor::trusted(Owner::ServiceAccount, Permissions::new());
/// let refused = manager.revoke(&nobody, "key_1").await;
/// assert!(matches!(refused, Err(ManageError::PermissionDenied(action)) if action.as_str() == "delete"));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ManageError {
    /// The actor may not do this to keys: it lacks this action on the resource `apiKeys`.
    #[error("this needs the permission apiKeys: {0}")]
    PermissionDenied(Action),
    /// The key of whoever asks does not work any more; or it was rotated away, and then only looks.
    #[error("the key of whoever asks does not work any more, or was replaced")]
    ActorInvalid,
    /// The key would hold a permission that the actor lacks.
    #[error("a key cannot hold a permission that its maker lacks: {resource}: {action}")]
    Escalation {
        /// The resource.
        resource: String,
        /// The action on it.
        action: Action,
    },
    /// There is no such key among those that the actor sees.
    #[error("there is no key {0}")]
    NotFound(KeyId),
    /// Only the user whose key it is may replace it: whoever sees its new text could act as that user.
    #[error("the key {0} belongs to a user, and only that user may replace it")]
    NotOwner(KeyId),
    /// The actor is confined to its own keys: it makes no bot's key, which would outlive it, and removes no member.
    #[error("who manages only keys of its own makes no bot's key, and removes no member")]
    OwnKeysOnly,
    /// A user key was asked for by an actor that is no user.
    #[error("only a user has a user key")]
    UserRequired,
    /// The actor is confined to another environment, or the manager has no format for it.
    #[error("there are no keys for the environment {0:?}")]
    Environment(String),
    /// No environment was named, and the manager has no format for keys without one.
    #[error("name an environment: there are no keys without one")]
    NoEnvironment,
    /// An actor that is confined to one environment cannot remove a member, who may have keys in others.
    #[error("a key of one environment cannot remove a member, who may have keys in others")]
    EnvironmentRestricted,
    /// A name of a key, of an environment or of a text is 1 to 100 characters that can be seen, with no space at its ends.
    ///
    /// Refused are Unicode's control and format characters (Cc, Cf: U+202E, U+200B, the soft hyphen), line and paragraph separators, every
    /// space but U+0020, all that a renderer may leave out (the variation selectors of some emoji too), private use and noncharacters: so
    /// that a person can tell two names apart, and no name breaks a line of a log. Names are not normalized, and letters of several scripts
    /// that look alike are not told apart.
    #[error(
        "a name is 1 to 100 characters, none of them invisible, a line break or the like, and no space at its ends"
    )]
    Name,
    /// The name of a resource or of an action is 1 to 64 characters that can be seen, as those of [`ManageError::Name`].
    #[error(
        "resources and actions have 1 to 64 characters, none of them a control character or one that cannot be seen"
    )]
    PermissionName,
    /// A key has at most so many permissions, each a resource and an action.
    #[error("a key has at most {most} permissions, each an action on a resource")]
    TooManyPermissions {
        /// The most of them: 256.
        most: usize,
    },
    /// The key would never work, since its expiry is past already or before its begin; or the end of a grace is beyond what a clock can say.
    #[error(
        "the times cannot be: the key would expire before it begins, or is expired already, or its grace has no end"
    )]
    Expiry,
    /// The key would end later than the key of the actor.
    #[error("a key cannot end later than the key of its maker")]
    OutlivesActor,
    /// The key is expired, and an expired key is not replaced: issue another.
    #[error("the key {0} is expired: issue another")]
    Expired(KeyId),
    /// The key cannot be made, or the imported key would be refused at the door.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// No scheme of the manager's layers can carry the imported key. The text names the schemes.
    #[error("no request could carry the key by any of the schemes {0}")]
    UnsupportedKeyCharacters(String),
    /// The registry has refused the change.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The registry has failed. The text behind it is for logs, not for callers.
    #[error("the key store failed")]
    Store(#[source] BoxError),
}
