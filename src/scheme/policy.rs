//! Which schemes a service accepts, and how it treats two credentials in one request.

use std::fmt;

use http::HeaderName;

use super::Scheme;
use crate::error::ConfigError;

/// The schemes that a service accepts, in order, and the rule for requests with two of them.
///
/// An array, a vector or a slice of schemes converts into a policy:
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

/// How a service treats a request with two accepted schemes.
///
/// A repeated header, query parameter or cookie is rejected under every rule.
///
/// ```
/// use tower_api_key::{ConflictPolicy, Scheme, SchemePolicy};
///
/// let policy = SchemePolicy::new([Scheme::bearer(), Scheme::x_api_key()]);
/// assert_eq!(policy.conflict(), ConflictPolicy::Reject);
/// let policy = policy.on_conflict(ConflictPolicy::FirstWins);
/// assert_eq!(policy.conflict().as_str(), "first-wins");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ConflictPolicy {
    /// Rejects the request as ambiguous (RFC 6750 §2: "MUST NOT use more than one method").
    #[default]
    Reject,
    /// Accepts equal keys as one, sent by the first scheme in the policy's order. Rejects different
    /// keys.
    AllowIdentical,
    /// Uses the first scheme in the policy's order. If its key is rejected, the second is not
    /// tried.
    FirstWins,
}

impl ConflictPolicy {
    /// Returns the name: `reject`, `allow-identical` or `first-wins`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reject => "reject",
            Self::AllowIdentical => "allow-identical",
            Self::FirstWins => "first-wins",
        }
    }
}

impl fmt::Display for ConflictPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl SchemePolicy {
    /// Returns a policy of these schemes, in this order. It rejects a request with two of them.
    pub fn new(schemes: impl IntoIterator<Item = Scheme>) -> Self {
        Self { schemes: schemes.into_iter().collect(), conflict: ConflictPolicy::Reject, unadvertised: Vec::new() }
    }

    /// Sets how requests with two accepted schemes are treated.
    #[must_use]
    pub fn on_conflict(mut self, conflict: ConflictPolicy) -> Self {
        self.conflict = conflict;
        self
    }

    /// Accepts this scheme of the policy without naming it in challenges and error responses.
    ///
    /// Without a `Basic` challenge, a browser opens no login dialog. At least one scheme must stay
    /// advertised, since every 401 carries a challenge (RFC 9110 §15.5.2). Otherwise, and for a
    /// scheme that is not in the policy, [`build`](crate::layer::ApiKeyLayerBuilder::build) returns
    /// an error.
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

    /// Returns whether challenges name this scheme.
    pub(crate) fn is_advertised(&self, scheme: &Scheme) -> bool {
        !self.unadvertised.contains(scheme)
    }

    /// Returns the schemes that challenges name.
    pub(crate) fn advertised(&self) -> impl Iterator<Item = &Scheme> {
        self.schemes.iter().filter(|scheme| self.is_advertised(scheme))
    }

    /// Checks that every unadvertised scheme is in the policy, and that at least one scheme is
    /// advertised.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if self.schemes.is_empty() {
            return Err(ConfigError::NoScheme);
        }
        if let Some(other) = self.unadvertised.iter().find(|scheme| !self.schemes.contains(scheme)) {
            return Err(ConfigError::NotInPolicy(other.to_string()));
        }
        if self.advertised().next().is_none() { Err(ConfigError::NothingAdvertised) } else { Ok(()) }
    }

    /// Returns the accepted schemes, in order.
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

    /// Returns the request headers that may carry a key, each once: `authorization`, private
    /// headers, `cookie`, `sec-websocket-protocol`. For a key in the query, there is no header.
    ///
    /// Use it for middleware outside the layer, which sees requests before the layer marks their
    /// keys as sensitive: tower-http's `SetSensitiveRequestHeadersLayer` takes these names.
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
            let name = scheme.place.request_header();
            names.extend(name.filter(|name| !names.contains(name)));
        }
        names.into_iter()
    }

    /// Returns how requests with two accepted schemes are treated.
    pub fn conflict(&self) -> ConflictPolicy {
        self.conflict
    }
}

/// Accepts `Authorization: Bearer`, `Authorization: Token` and `X-API-Key`, and rejects a request
/// with two of them.
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
