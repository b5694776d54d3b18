//! Reports the outcome of each request once.

mod getters;
#[cfg(feature = "metrics")]
mod metrics;
mod observers;
#[cfg(feature = "tracing")]
mod trace;

use std::{error::Error, net::IpAddr, sync::Arc, time::Duration};

pub(crate) use observers::{CapturedObservers, Observer, Observers, RequestLine};

use crate::{
    key::KeyDigest,
    principal::Principal,
    record::KeyRecord,
    rejection::{Cause, Missing, Reason, Rejection},
    scheme::Scheme,
};

/// Describes the outcome of one request. It never contains the key itself.
///
/// Observers get the decision once per request, when the response is ready or when the caller
/// disconnects. So a decision includes the rejection of a guard.
///
/// With the feature `tracing` each decision is an event of the target `tower_api_key`. The id of an
/// accepted key is recorded in the field `key_id` of the current span, if the span has that field.
///
/// | event of `tracing` | when                                                 |
/// |--------------------|------------------------------------------------------|
/// | `DEBUG`            | the request passed, or its caller disconnected       |
/// | `INFO`             | the request was rejected with a status 4xx           |
/// | `ERROR`            | the service failed: a status 5xx                     |
///
/// Every event has the fields `outcome`, `method` and `path`. It has `reason`, `cause`, `scheme`,
/// `key_id`, `organization`, `error`, `missing_permissions` (as `links:create stats:read`),
/// `limits` (those used up, as `burst, daily`) and `client_address` (one that the key does not
/// allow) if they have a value.
///
/// With the feature `metrics` each decision is counted:
///
/// | metric                       | labels                       | value                           |
/// |------------------------------|------------------------------|---------------------------------|
/// | `api_key_requests_total`     | `outcome`, `reason`, `cause` | requests                        |
/// | `api_key_limited_total`      | `limit`                      | requests that a limit rejected  |
/// | `api_key_store_seconds`      |                              | histogram: waits for the store  |
/// | `api_key_store_errors_total` | `reason`                     | `store_failed`, `store_timeout` |
///
/// The `reason` is `none` for a request that was not rejected. Only a rejection with a [`Cause`]
/// has the label `cause`. A request that several limits rejected counts once for each of them.
/// Their names are those of your plans.
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
    violated: Option<Arc<[Box<str>]>>,
    client_address: Option<IpAddr>,
}

/// A key that is stored under an older pepper.
#[derive(Clone, Copy)]
pub(crate) struct PreviousPepper {
    pub(crate) used: KeyDigest,
    pub(crate) newest: KeyDigest,
    /// Whether the record may be rehashed. False while other nodes already use the next pepper.
    pub(crate) moves: bool,
}

/// Names the outcome of a request.
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
    /// The key is valid, and no guard rejected the request.
    Accepted,
    /// The request has no key for this layer, and the layer is optional. If an outer layer accepted
    /// a key, it reports a decision of its own.
    Anonymous,
    /// The path is not protected.
    Skipped,
    /// The request is a CORS preflight and passed.
    Preflight,
    /// The request was rejected.
    Refused(Reason),
    /// The caller disconnected during a lookup or a check, before the inner service was called.
    Abandoned,
}

/// Returns the observers that features add to every layer. An observer that reads the method or the
/// path is `Logging` or `Plain`.
pub(crate) fn built_in() -> Observers {
    let built_in: Vec<Observer> = Vec::from([
        #[cfg(feature = "tracing")]
        Observer::Logging(Box::new(trace::event), trace::is_on),
        #[cfg(feature = "metrics")]
        Observer::Own(Box::new(metrics::count)),
    ]);
    let mut observers = Observers::default();
    for observer in built_in {
        observers.push(observer);
    }
    observers
}

/// Records the key's id on the current span.
#[cfg_attr(not(feature = "tracing"), expect(unused_variables))]
pub(crate) fn record_on_span(principal: &Principal) {
    #[cfg(feature = "tracing")]
    trace::record_on_span(principal);
}

impl Decision {
    /// Returns the decision for a request without an accepted key.
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

    /// Sets the outcome to abandoned while a check waits, in case the caller disconnects.
    pub(crate) fn abandoned_by_caller(self) -> Self {
        Self { outcome: Outcome::Abandoned, ..self }
    }

    /// Sets the outcome back to accepted, because the check has passed.
    pub(crate) fn admitted(self) -> Self {
        Self { outcome: Outcome::Accepted, ..self }
    }

    /// Returns the decision for a rejection. If the rejection has no key, uses that of `before`.
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
        if let Some(violated) = rejection.shared_violated() {
            decision.details().violated = Some(Arc::clone(violated));
        }
        if let Some(address) = rejection.client_address() {
            decision.details().client_address = Some(address);
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
}

impl Outcome {
    /// Returns a label for a log or a metric: `accepted`.
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

    /// Returns why the request was rejected, if it was.
    pub const fn reason(self) -> Option<Reason> {
        match self {
            Self::Refused(reason) => Some(reason),
            _ => None,
        }
    }
}
