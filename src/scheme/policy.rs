//! Which schemes a service accepts, and what two credentials in one request mean.

use http::{
    HeaderName,
    header::{COOKIE, SEC_WEBSOCKET_PROTOCOL},
};

use super::{Carrier, Scheme};
use crate::error::ConfigError;

/// An ordered set of schemes and a rule for conflicts.
///
/// A plain list of schemes is a policy too:
///
/// ```
/// use tower_api_key::{ApiKeyLayer, ConflictPolicy, Scheme, SchemePolicy, store::MemoryStore};
///
/// # fn main() -> Result<(), tower_api_key::ConfigError> {
/// ApiKeyLayer::builder(MemoryStore::new())
///     .schemes([Scheme::bearer(), Scheme::x_api_key()])
///     .build()?;
///
/// ApiKeyLayer::builder(MemoryStore::new())
///     .schemes(
///         SchemePolicy::new([Scheme::x_api_key(), Scheme::bearer()])
///             .on_conflict(ConflictPolicy::AllowIdentical),
///     )
///     .build()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemePolicy {
    schemes: Vec<Scheme>,
    conflict: ConflictPolicy,
    unadvertised: Vec<Scheme>,
}

/// What a request with two accepted schemes means. A repeated header is refused under every rule.
///
/// ```
/// use tower_api_key::{ConflictPolicy, Scheme, SchemePolicy};
///
/// let policy = SchemePolicy::new([Scheme::bearer(), Scheme::x_api_key()]);
/// assert_eq!(policy.conflict(), ConflictPolicy::Reject);
/// let policy = policy.on_conflict(ConflictPolicy::FirstWins);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ConflictPolicy {
    /// The request is refused as ambiguous (RFC 6750 §2: "MUST NOT use more than one method").
    #[default]
    Reject,
    /// Equal keys count as one, which the first scheme in the policy's order carried; different keys are refused.
    AllowIdentical,
    /// The first scheme in the policy's order wins. If its key is refused, the second is not tried.
    FirstWins,
}

impl SchemePolicy {
    /// A policy of these schemes, in this order, that refuses two of them in one request.
    pub fn new(schemes: impl IntoIterator<Item = Scheme>) -> Self {
        Self { schemes: schemes.into_iter().collect(), conflict: ConflictPolicy::Reject, unadvertised: Vec::new() }
    }

    /// Decides what two accepted schemes in one request mean.
    #[must_use]
    pub fn on_conflict(mut self, conflict: ConflictPolicy) -> Self {
        self.conflict = conflict;
        self
    }

    /// Accepts this scheme of the policy without naming it in a challenge or in the text of a refusal. A browser that reads no
    /// `Basic` challenge opens no dialog. At least one scheme stays advertised, since every 401 carries a challenge (RFC 9110 §15.5.2):
    /// else [`build`](crate::layer::ApiKeyLayerBuilder::build) is an error, as it is for a scheme that the policy does not have.
    ///
    /// ```
    /// use tower_api_key::{ApiKeyLayer, ConfigError, Scheme, SchemePolicy, store::MemoryStore};
    ///
    /// let policy = SchemePolicy::new([Scheme::bearer(), Scheme::basic()]).unadvertised(Scheme::basic());
    /// assert!(ApiKeyLayer::builder(MemoryStore::new()).schemes(policy).build().is_ok());
    ///
    /// let silent = SchemePolicy::new([Scheme::basic()]).unadvertised(Scheme::basic());
    /// let refused = ApiKeyLayer::builder(MemoryStore::new()).schemes(silent).build();
    /// assert_eq!(refused.err(), Some(ConfigError::NothingAdvertised));
    /// ```
    #[must_use]
    pub fn unadvertised(mut self, scheme: Scheme) -> Self {
        self.unadvertised.push(scheme);
        self
    }

    /// Whether challenges name this scheme.
    pub(crate) fn is_advertised(&self, scheme: &Scheme) -> bool {
        !self.unadvertised.contains(scheme)
    }

    /// The schemes that challenges name.
    pub(crate) fn advertised(&self) -> impl Iterator<Item = &Scheme> {
        self.schemes.iter().filter(|scheme| self.is_advertised(scheme))
    }

    /// Whether every unadvertised scheme is one of the policy, and another one is left.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if self.schemes.is_empty() {
            return Err(ConfigError::NoScheme);
        }
        if let Some(other) = self.unadvertised.iter().find(|scheme| !self.schemes.contains(scheme)) {
            return Err(ConfigError::NotInPolicy(other.to_string()));
        }
        if self.advertised().next().is_none() { Err(ConfigError::NothingAdvertised) } else { Ok(()) }
    }

    /// The accepted schemes, in order: every place that may carry a key.
    ///
    /// ```
    /// use tower_api_key::SchemePolicy;
    ///
    /// let policy = SchemePolicy::default();
    /// let places: Vec<String> = policy.schemes().iter().map(ToString::to_string).collect();
    /// assert_eq!(places, ["authorization:Bearer", "authorization:Token", "header:x-api-key"]);
    /// ```
    pub fn schemes(&self) -> &[Scheme] {
        &self.schemes
    }

    /// Returns the request headers that may carry a key, each once: `authorization`, private headers, `cookie`, `sec-websocket-protocol`. A key in the
    /// query is in none of them.
    ///
    /// Use it for middleware outside of the layer, which sees requests before the layer marks their keys sensitive: tower-http's
    /// `SetSensitiveRequestHeadersLayer` takes these names.
    ///
    /// ```
    /// use tower_api_key::{Scheme, SchemePolicy};
    ///
    /// let names: Vec<_> = SchemePolicy::default().header_names().collect();
    /// assert_eq!(names, ["authorization", "x-api-key"]);
    /// let policy = SchemePolicy::new([Scheme::cookie("key"), Scheme::query("key")]);
    /// assert_eq!(policy.header_names().collect::<Vec<_>>(), ["cookie"]);
    /// ```
    pub fn header_names(&self) -> impl Iterator<Item = HeaderName> + use<> {
        let mut names: Vec<HeaderName> = Vec::new();
        for scheme in &self.schemes {
            let name = match &scheme.place {
                Carrier::Header(name) => HeaderName::from_bytes(name.as_bytes()).ok(),
                Carrier::Cookie(_) => Some(COOKIE),
                Carrier::WebSocketProtocol(_) => Some(SEC_WEBSOCKET_PROTOCOL),
                Carrier::Query(_) => None,
            };
            names.extend(name.filter(|name| !names.contains(name)));
        }
        names.into_iter()
    }

    /// The rule for conflicts.
    pub fn conflict(&self) -> ConflictPolicy {
        self.conflict
    }
}

/// `Authorization: Bearer`, `Authorization: Token` and `X-API-Key`, two of which in one request are refused.
impl Default for SchemePolicy {
    fn default() -> Self {
        Self::new([Scheme::bearer(), Scheme::token(), Scheme::x_api_key()])
    }
}

/// A policy of one scheme.
impl From<Scheme> for SchemePolicy {
    fn from(scheme: Scheme) -> Self {
        Self::new([scheme])
    }
}

impl<const N: usize> From<[Scheme; N]> for SchemePolicy {
    fn from(schemes: [Scheme; N]) -> Self {
        Self::new(schemes)
    }
}

impl From<Vec<Scheme>> for SchemePolicy {
    fn from(schemes: Vec<Scheme>) -> Self {
        Self::new(schemes)
    }
}

impl From<&[Scheme]> for SchemePolicy {
    fn from(schemes: &[Scheme]) -> Self {
        Self::new(schemes.iter().cloned())
    }
}
