//! What came of a request, told once.

use std::{error::Error, fmt, sync::Arc};

use crate::{
    principal::Principal,
    record::{KeyId, KeyRecord},
    rejection::{Reason, Rejection},
    scheme::Scheme,
};

/// What came of one request. Handed to every observer, once per request, never with the key itself.
///
/// It is told when the response is ready, so that it knows of a guard's refusal too; or when the caller has gone away.
///
/// ```
/// use tower_api_key::{ApiKeyLayer, Outcome, store::MemoryStore};
///
/// # fn main() -> Result<(), tower_api_key::ConfigError> {
/// let layer = ApiKeyLayer::builder(MemoryStore::new())
///     .observe(|decision| {
///         if let Outcome::Refused(reason) = decision.outcome() {
///             eprintln!("refused: {reason:?}, key {:?}", decision.key_id());
///         }
///     })
///     .build()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Decision {
    outcome: Outcome,
    scheme: Option<&'static Scheme>,
    record: Option<KeyRecord>,
    cause: Option<Arc<dyn Error + Send + Sync>>,
}

/// What a [`Decision`] comes to.
///
/// ```
/// use tower_api_key::{Decision, Outcome, Problem};
///
/// fn is_a_wrong_key(decision: &Decision) -> bool {
///     matches!(decision.outcome(), Outcome::Refused(reason) if reason.problem() == Problem::InvalidKey)
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// The key is good, and no guard refused it.
    Accepted,
    /// Nothing of ours was presented, and the layer is optional.
    Anonymous,
    /// The path is not protected.
    Skipped,
    /// A CORS preflight was let through.
    Preflight,
    /// The request was refused.
    Refused(Reason),
    /// The caller went away before the store had answered. The inner service was not called.
    Abandoned,
}

pub(crate) type Observer = Arc<dyn Fn(&Decision) + Send + Sync>;

impl Decision {
    pub(crate) fn passed(outcome: Outcome, principal: Option<&Principal>) -> Self {
        Self {
            outcome,
            scheme: principal.map(Principal::scheme),
            record: principal.map(|principal| principal.record().clone()),
            cause: None,
        }
    }

    pub(crate) fn abandoned(scheme: &'static Scheme) -> Self {
        Self { outcome: Outcome::Abandoned, scheme: Some(scheme), record: None, cause: None }
    }

    pub(crate) fn refused(rejection: &Rejection) -> Self {
        Self {
            outcome: Outcome::Refused(rejection.reason()),
            scheme: rejection.scheme(),
            record: rejection.record().cloned(),
            cause: rejection.shared_cause(),
        }
    }

    /// What it came to.
    pub fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// The scheme that carried the key, or was attempted.
    pub fn scheme(&self) -> Option<&'static Scheme> {
        self.scheme
    }

    /// The id of the key, where a record of it was found, refused or not.
    pub fn key_id(&self) -> Option<&KeyId> {
        self.record.as_ref().map(KeyRecord::id)
    }

    /// The organization of the key.
    pub fn organization(&self) -> Option<&str> {
        self.record.as_ref().and_then(KeyRecord::organization)
    }

    /// The store's error, where it failed.
    pub fn cause(&self) -> Option<&(dyn Error + Send + Sync + 'static)> {
        self.cause.as_deref()
    }
}

impl fmt::Debug for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decision")
            .field("outcome", &self.outcome)
            .field("scheme", &self.scheme.map(ToString::to_string))
            .field("key_id", &self.key_id())
            .field("organization", &self.organization())
            .field("cause", &self.cause)
            .finish_non_exhaustive()
    }
}
