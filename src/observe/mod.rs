//! The outcome of a request, reported once.

#[cfg(feature = "metrics")]
mod metrics;
mod observers;
#[cfg(feature = "tracing")]
mod trace;

use std::{error::Error, fmt, sync::Arc, time::Duration};

use http::Method;
pub(crate) use observers::{CapturedObservers, Observer, Observers, RequestLine};

use crate::{
    key::KeyDigest,
    principal::Principal,
    record::{KeyId, KeyRecord},
    rejection::{Cause, Missing, MissingPermission, Reason, Rejection},
    scheme::Scheme,
};

/// The outcome of one request. Every observer gets it once per request, never with the key itself.
///
/// It is emitted when the response is ready, so that it includes the rejection of a guard, or when
/// the caller disconnects.
///
/// With the feature `tracing` each decision is an event of the target `tower_api_key`, and the span
/// that is current when a key is accepted gets its `key_id`, if it has such a field. With the
/// feature `metrics` each is counted.
///
/// | event of `tracing` | when                                                 |
/// |--------------------|------------------------------------------------------|
/// | `DEBUG`            | the request passed, or its caller disconnected |
/// | `INFO`             | it was rejected: 401, 403, 404, 429                  |
/// | `ERROR`            | it could not be decided: 503, or 500                 |
///
/// Its fields are `outcome`, `reason`, `cause`, `scheme`, `key_id`, `organization`, `error`, as far
/// as there are any, `missing_permissions` as `links:create stats:read`, and `method` and `path`.
///
/// | metric                       | labels              | what                                                      |
/// |------------------------------|---------------------|-----------------------------------------------------------|
/// | `api_key_requests_total`     | `outcome`, `reason` | requests; the reason is `none` where nothing was refused. A credential of a wrong form has the label `cause` too: one of [`Cause`] |
/// | `api_key_store_seconds`      |                     | how long a store was waited for, in seconds: a histogram  |
/// | `api_key_store_errors_total` | `reason`            | `store_failed`, `store_timeout`                              |
///
/// ```
/// use tower_api_key::{ApiKeyLayer, Outcome, store::MemoryStore};
///
/// # fn main() -> Result<(), tower_api_key::ConfigError> {
/// let layer = ApiKeyLayer::builder(MemoryStore::new())
///     .observe(|decision| {
///         if let Outcome::Refused(reason) = decision.outcome() {
///             let (method, path) = (decision.method(), decision.path());
///             eprintln!("{method} {path} refused: {reason:?}, key {:?}", decision.key_id());
///         }
///     })
///     .build()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Decision {
    outcome: Outcome,
    cause: Option<Cause>,
    scheme: Option<&'static Scheme>,
    record: Option<KeyRecord>,
    request: Option<Box<RequestLine>>,
    rare: Option<Box<DecisionDetails>>,
}

/// The properties that few decisions have. Boxed, so that all others are small to move.
#[derive(Clone, Default)]
struct DecisionDetails {
    error: Option<Arc<dyn Error + Send + Sync>>,
    store_time: Option<Duration>,
    outdated: Option<PreviousPepper>,
    missing: Option<Arc<Missing>>,
}

/// A key that is stored under an older pepper than the newest.
#[derive(Clone, Copy)]
pub(crate) struct PreviousPepper {
    pub(crate) used: KeyDigest,
    pub(crate) newest: KeyDigest,
    /// Whether it may be moved: not while other nodes use a newer pepper still.
    pub(crate) moves: bool,
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
    /// No key of this layer's was presented, and the layer is optional. An outer layer may have
    /// accepted another key, which is in its own decision.
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

/// The observers that features bring, for every layer.
#[cfg_attr(not(any(feature = "tracing", feature = "metrics")), expect(unused_mut))]
pub(crate) fn built_in() -> Observers {
    let mut observers = Observers::default();
    #[cfg(feature = "tracing")]
    observers.push(Observer::Logging(Box::new(trace::event), trace::is_on));
    #[cfg(feature = "metrics")]
    observers.push(Observer::Own(Box::new(metrics::count)));
    observers
}

/// Names the key on the current span, for whatever is logged from here on.
#[cfg_attr(not(feature = "tracing"), expect(unused_variables))]
pub(crate) fn record_on_span(principal: &Principal) {
    #[cfg(feature = "tracing")]
    trace::record_on_span(principal);
}

impl Decision {
    /// Of a request that has no key.
    pub(crate) fn of(outcome: Outcome) -> Self {
        Self { outcome, cause: None, scheme: None, record: None, request: None, rare: None }
    }

    pub(crate) fn accepted(principal: &Principal, outdated: Option<PreviousPepper>) -> Self {
        let record = Some(principal.record().clone());
        let mut decision = Self { scheme: Some(principal.interned_scheme()), record, ..Self::of(Outcome::Accepted) };
        if let Some(outdated) = outdated {
            decision.details().outdated = Some(outdated);
        }
        decision
    }

    pub(crate) fn abandoned(scheme: &'static Scheme) -> Self {
        Self { scheme: Some(scheme), ..Self::of(Outcome::Abandoned) }
    }

    /// The request is held after its key was accepted. If the caller disconnects, nothing was
    /// called.
    pub(crate) fn abandoned_by_caller(self) -> Self {
        Self { outcome: Outcome::Abandoned, ..self }
    }

    /// The request is held no longer.
    pub(crate) fn admitted(self) -> Self {
        Self { outcome: Outcome::Accepted, ..self }
    }

    /// The decision `before` is that of the accepted key, if one was accepted: the rejection of an
    /// application does not name it.
    pub(crate) fn refused(rejection: &Rejection, before: Option<Self>) -> Self {
        let (scheme, record, rare) =
            before.map_or_else(Default::default, |before| (before.scheme, before.record, before.rare));
        let mut decision = Self {
            cause: rejection.cause(),
            scheme: rejection.interned_scheme().or(scheme),
            record: rejection.record().cloned().or(record),
            rare,
            ..Self::of(Outcome::Refused(rejection.reason()))
        };
        if let Some(error) = rejection.shared_error() {
            decision.details().error = Some(error);
        }
        if let Some(missing) = rejection.missing() {
            decision.details().missing = Some(Arc::clone(missing));
        }
        decision
    }

    pub(crate) fn after_store_time(mut self, store_time: Option<Duration>) -> Self {
        if store_time.is_some() {
            self.details().store_time = store_time;
        }
        self
    }

    fn details(&mut self) -> &mut DecisionDetails {
        self.rare.get_or_insert_default()
    }

    /// What it came to.
    pub fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// Returns the method of the request.
    pub fn method(&self) -> &Method {
        self.request.as_ref().map_or(&Method::GET, |request| &request.method)
    }

    /// Returns the path of the request, undecoded, without its query, which may hold a key. Under
    /// axum's `nest` the prefix is missing, as it is for the layer.
    pub fn path(&self) -> &str {
        self.request.as_ref().map_or("", |request| request.path.path())
    }

    /// The scheme that carried the key, or was attempted.
    pub fn scheme(&self) -> Option<&Scheme> {
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

    /// Returns the permissions that the key lacked, where a guard or [`Principal::require`] has
    /// refused it for that. Where one of several is enough, all of them.
    pub fn missing_permissions(&self) -> &[MissingPermission] {
        self.rare.as_ref().and_then(|rare| rare.missing.as_deref()).map_or(&[], Missing::permissions)
    }

    /// How long the store was waited for; nothing where it answered at once, was not asked, or the
    /// caller went away.
    pub fn store_time(&self) -> Option<Duration> {
        self.rare.as_ref()?.store_time
    }

    /// Whether the key is good, whatever a guard has said, but stored under an older pepper than
    /// the newest: see [`KeyHasher::with_previous`](crate::KeyHasher::with_previous). An old pepper
    /// that no decision needs may go.
    pub fn used_previous_pepper(&self) -> bool {
        self.outdated().is_some()
    }

    pub(crate) fn outdated(&self) -> Option<&PreviousPepper> {
        self.rare.as_ref()?.outdated.as_ref()
    }

    /// What was wrong with the form of what was sent, where the request was refused for it.
    pub fn cause(&self) -> Option<Cause> {
        self.cause
    }

    /// The store's error, where it failed.
    pub fn error(&self) -> Option<&(dyn Error + Send + Sync + 'static)> {
        self.rare.as_ref()?.error.as_deref()
    }
}

impl Outcome {
    /// A label, fit for a log or a metric: `accepted`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Anonymous => "anonymous",
            Self::Skipped => "skipped",
            Self::Preflight => "preflight",
            Self::Refused(_) => "refused",
            Self::Abandoned => "abandoned",
        }
    }

    /// Why the request was refused, if it was.
    pub const fn reason(self) -> Option<Reason> {
        match self {
            Self::Refused(reason) => Some(reason),
            _ => None,
        }
    }
}

impl fmt::Debug for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decision")
            .field("outcome", &self.outcome)
            .field("method", self.method())
            .field("path", &self.path())
            .field("scheme", &self.scheme.map(ToString::to_string))
            .field("key_id", &self.key_id())
            .field("organization", &self.organization())
            .field("missing_permissions", &self.missing_permissions())
            .field("cause", &self.cause())
            .field("error", &self.error())
            .field("store_time", &self.store_time())
            .field("is_outdated", &self.used_previous_pepper())
            .finish_non_exhaustive()
    }
}
