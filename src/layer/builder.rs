//! The builder of a layer, which checks the settings.

use std::{fmt, sync::Arc, time::Duration};

use http::HeaderName;

use super::{
    ApiKeyLayer,
    admit::{Authenticator, SkipPath},
    after_verify::AfterVerify,
    check::Checker,
    forward::IdentityHeader,
    sharded_arc::ShardedArc,
    transport::TlsPolicy,
};
use crate::{
    address::ClientAddress,
    clock::Clock,
    error::ConfigError,
    key::{KeyFormat, KeyHasher},
    live::{Resolving, Sources},
    observe::{self, Decision, Observer, Observers},
    record::{KeyRecord, LayerBounds, Validity},
    rejection::{RejectionFormat, Renderer},
    scheme::{Challenges, KEY_LEN_LIMIT, MAX_KEY_LEN, Reader, SchemePolicy},
    store::ErasedStore,
    token::Tokens,
    transport::{ExposedKeys, OnExposed, TransportSource},
};

/// Builds an [`ApiKeyLayer`]. [`ApiKeyLayer::builder`] lists the defaults.
///
/// ```
/// use std::time::Duration;
/// use tower_api_key::{ApiKeyLayer, KeyFormat, RejectionFormat, Scheme, store::MemoryStore};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let layer = ApiKeyLayer::builder(MemoryStore::new())
///     .schemes([Scheme::bearer()])
///     .formats([KeyFormat::new("acme_live")?])
///     .environments(["live"])
///     .rejection_format(RejectionFormat::json())
///     .deadline(Duration::from_secs(1))
///     .hide_credentials()
///     .build()?;
/// # Ok(())
/// # }
/// ```
///
/// A layer that accepts the keys of one organization, lets preflights and requests without a key
/// pass, and sends the principal's id to the inner service:
///
/// ```
/// use tower_api_key::{ApiKeyLayer, KeyHasher, store::MemoryStore};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let layer = ApiKeyLayer::builder(MemoryStore::new())
///     .hasher(KeyHasher::sha256())
///     .realm("links")
///     .max_key_len(256)
///     .organization("acme")
///     .hide_forbidden_details()
///     .optional()
///     .pass_preflight()
///     .skip(|path| path == "/health")
///     .forward_identity("x-principal")
///     .observe(|decision| println!("{}", decision.outcome().as_str()))
///     .build()?;
/// # Ok(())
/// # }
/// ```
#[must_use = "a builder does nothing until it is built"]
#[allow(clippy::struct_excessive_bools, reason = "each is a setting of its own")]
pub struct ApiKeyLayerBuilder {
    pub(super) store: Arc<dyn ErasedStore>,
    pub(super) policy: SchemePolicy,
    pub(super) formats: Vec<KeyFormat>,
    pub(super) hasher: KeyHasher,
    pub(super) realm: String,
    pub(super) challenge_params: Vec<(String, String)>,
    pub(super) max_key_len: usize,
    pub(super) format: RejectionFormat,
    pub(super) bounds: LayerBounds,
    pub(super) client_address: Option<ClientAddress>,
    pub(super) sources: Sources,
    pub(super) tokens: Option<Tokens>,
    pub(super) requires_tls: Option<TransportSource>,
    pub(super) on_exposed: Option<OnExposed>,
    pub(super) deadline: Duration,
    pub(super) optional: bool,
    pub(super) serves_grpc: bool,
    pub(super) ignores_other_formats: bool,
    pub(super) pass_preflight: bool,
    pub(super) hide_credentials: bool,
    pub(super) hide_forbidden_details: bool,
    pub(super) forward_identity: Option<String>,
    pub(super) expiry_header: Option<HeaderName>,
    pub(super) skip: Option<SkipPath>,
    pub(super) after_verify: AfterVerify,
    #[cfg(feature = "limits")]
    pub(super) limits: Option<crate::limit::Limits>,
    #[cfg(feature = "limits")]
    pub(super) rate_limit_fields: crate::limit::RateLimitFields,
    #[cfg(feature = "limits")]
    pub(super) failures: Option<crate::limit::FailureLimit>,
    pub(super) observers: Observers,
    pub(super) when_built: Option<WhenBuilt>,
}

type WhenBuilt = Box<dyn FnOnce(&SchemePolicy) + Send + Sync>;

impl ApiKeyLayerBuilder {
    pub(crate) fn new(store: Arc<dyn ErasedStore>) -> Self {
        Self {
            store,
            policy: SchemePolicy::default(),
            formats: Vec::new(),
            hasher: KeyHasher::default(),
            realm: "api".to_owned(),
            challenge_params: Vec::new(),
            max_key_len: MAX_KEY_LEN,
            format: RejectionFormat::default(),
            bounds: LayerBounds { clock: Clock::system(), restrictions: None },
            client_address: None,
            sources: Sources::default(),
            tokens: None,
            requires_tls: None,
            on_exposed: None,
            deadline: Duration::from_secs(5),
            optional: false,
            serves_grpc: false,
            ignores_other_formats: false,
            pass_preflight: false,
            hide_credentials: false,
            hide_forbidden_details: false,
            forward_identity: None,
            expiry_header: None,
            skip: None,
            after_verify: AfterVerify::default(),
            #[cfg(feature = "limits")]
            limits: None,
            #[cfg(feature = "limits")]
            rate_limit_fields: crate::limit::RateLimitFields::Off,
            #[cfg(feature = "limits")]
            failures: None,
            observers: observe::built_in(),
            when_built: None,
        }
    }

    /// Passes the schemes of the layer to a manager, once the layer is built.
    pub(crate) fn when_built(mut self, tell: impl FnOnce(&SchemePolicy) + Send + Sync + 'static) -> Self {
        self.when_built = Some(Box::new(tell));
        self
    }

    /// Calls `observer` with every decision. The decisions have no method and no path.
    pub(crate) fn observe_keys(mut self, observer: impl Fn(&Decision) + Send + Sync + 'static) -> Self {
        self.observers.push(Observer::Own(Box::new(observer)));
        self
    }

    /// Sets when keys work: the clock, and the policies of a manager.
    pub(crate) fn valid_by(mut self, validity: &Validity) -> Self {
        self.bounds.clock = validity.clock().clone();
        if let Some(policies) = validity.policies() {
            self.bounds.restrict().policies = Some(Arc::clone(policies));
        }
        self
    }

    /// Checks the settings, and builds the layer. The type's documentation has an example.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] that names the invalid setting, for example:
    ///
    /// - an empty list of schemes or environments,
    /// - a header name with a space, an empty auth-scheme, or a realm with a line break,
    /// - a deadline of zero,
    /// - `forward_identity` in a header that carries keys,
    /// - `tokens` with a prefix with which the keys of a format begin,
    /// - `ignore_other_formats` without `formats`, `on_exposed_key` without `require_tls`,
    /// - a limit on failures of zero,
    /// - a `max_key_len` outside of 1 to 4096 bytes, or below the length of a format's keys.
    pub fn build(self) -> Result<ApiKeyLayer, ConfigError> {
        if self.deadline.is_zero() {
            return Err(ConfigError::Deadline);
        }
        let environments =
            self.bounds.restrictions.as_ref().and_then(|restrictions| restrictions.environments.as_ref());
        if environments.is_some_and(Vec::is_empty) {
            return Err(ConfigError::NoEnvironment);
        }
        if self.ignores_other_formats && self.formats.is_empty() {
            return Err(ConfigError::NoFormat);
        }
        if let Some(tokens) = &self.tokens {
            tokens.check_formats(&self.formats)?;
        }
        let tls = match (self.requires_tls, self.on_exposed) {
            (None, Some(_)) => return Err(ConfigError::NoTlsRequired),
            (source, handle) => source.map(|source| {
                let store = Arc::clone(&self.store);
                TlsPolicy { source, exposed: handle.map(ExposedKeys::new), store }
            }),
        };
        let tokens = self.tokens.as_ref().map(Tokens::shortest_len);
        let longest = self.formats.iter().filter_map(KeyFormat::key_len).chain(tokens).max().unwrap_or(1);
        if !(longest..=KEY_LEN_LIMIT).contains(&self.max_key_len) {
            return Err(ConfigError::MaxKeyLen(self.max_key_len));
        }
        #[cfg(feature = "limits")]
        let failures =
            self.failures.map(|limit| limit.build(&self.bounds.clock, self.client_address.as_ref())).transpose()?;
        let reader = Reader::new(&self.policy, self.max_key_len)?;
        let challenges = Challenges::new(&self.policy, &self.realm, &self.challenge_params)?;
        let forward_identity = self.forward_identity.map(|name| IdentityHeader::new(&name, &reader)).transpose()?;
        let renderer = Renderer::new(self.format, challenges, &self.policy, self.max_key_len)?;
        let renderer = renderer.hiding_forbidden_details(self.hide_forbidden_details);
        #[cfg(feature = "limits")]
        let renderer = renderer.foreseeing_limits(self.limits.iter().flat_map(crate::limit::Limits::problems));
        let store = if self.sources.is_empty() {
            self.store
        } else {
            Arc::new(Resolving::new(self.store, self.sources, self.bounds.clone()))
        };
        let checker = Checker {
            reader,
            store,
            formats: self.formats,
            hasher: self.hasher,
            bounds: self.bounds,
            client_address: self.client_address,
            dummy: KeyRecord::dummy(),
            deadline: self.deadline,
            ignores_other_formats: self.ignores_other_formats,
            tokens: self.tokens,
        };
        let mut authenticator = Authenticator {
            tls,
            is_plain: false,
            is_watched: self.observers.may_read_requests() || renderer.captures(),
            renderer,
            checker,
            after_verify: self.after_verify,
            #[cfg(feature = "limits")]
            limits: self.limits,
            #[cfg(feature = "limits")]
            rate_limit_fields: self.rate_limit_fields,
            optional: self.optional,
            serves_grpc: self.serves_grpc,
            pass_preflight: self.pass_preflight,
            hide_credentials: self.hide_credentials,
            forward_identity,
            expiry_header: self.expiry_header,
            skip: self.skip,
            observers: self.observers,
            #[cfg(feature = "limits")]
            failures,
        };
        authenticator.is_plain = authenticator.accepts_plainly();
        if let Some(tell) = self.when_built {
            tell(&self.policy);
        }
        Ok(ApiKeyLayer { authenticator: ShardedArc::new(authenticator), policy: Arc::new(self.policy) })
    }
}

impl fmt::Debug for ApiKeyLayerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKeyLayerBuilder")
            .field("schemes", &self.policy)
            .field("formats", &self.formats)
            .field("hasher", &self.hasher)
            .field("realm", &self.realm)
            .field("challenge_params", &self.challenge_params)
            .field("max_key_len", &self.max_key_len)
            .field("rejection_format", &self.format)
            .field("bounds", &self.bounds)
            .field("client_address", &self.client_address)
            .field("sources", &self.sources)
            .field("tokens", &self.tokens)
            .field("require_tls", &self.requires_tls)
            .field("deadline", &self.deadline)
            .field("optional", &self.optional)
            .field("grpc", &self.serves_grpc)
            .field("ignore_other_formats", &self.ignores_other_formats)
            .field("pass_preflight", &self.pass_preflight)
            .field("hide_credentials", &self.hide_credentials)
            .field("hide_forbidden_details", &self.hide_forbidden_details)
            .field("forward_identity", &self.forward_identity)
            .field("expiry_header", &self.expiry_header)
            .finish_non_exhaustive()
    }
}
