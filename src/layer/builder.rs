//! The settings of a layer, checked when it is built.

use std::{fmt, sync::Arc, time::Duration, time::SystemTime};

use super::{
    ApiKeyLayer,
    admit::{Authenticator, SkipPath},
    check::Checker,
    forward::IdentityHeader,
    sharded_arc::ShardedArc,
};
use crate::{
    clock::Clock,
    error::ConfigError,
    head::RequestHead,
    key::{KeyFormat, KeyHasher},
    observe::{self, Decision, Observer, Observers},
    record::{KeyRecord, LayerBounds},
    rejection::{RejectionFormat, Renderer},
    scheme::{Challenges, KEY_LEN_LIMIT, MAX_KEY_LEN, Reader, SchemePolicy},
    store::ErasedStore,
};

/// The settings of an [`ApiKeyLayer`]; the defaults stand at [`ApiKeyLayer::builder`].
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
#[must_use = "a builder does nothing until it is built"]
#[allow(clippy::struct_excessive_bools, reason = "each is a setting of its own")]
pub struct ApiKeyLayerBuilder {
    store: Arc<dyn ErasedStore>,
    policy: SchemePolicy,
    formats: Vec<KeyFormat>,
    hasher: KeyHasher,
    realm: String,
    challenge_params: Vec<(String, String)>,
    max_key_len: usize,
    format: RejectionFormat,
    bounds: LayerBounds,
    deadline: Duration,
    optional: bool,
    serves_grpc: bool,
    ignores_other_formats: bool,
    pass_preflight: bool,
    hide_credentials: bool,
    hide_forbidden_details: bool,
    forward_identity: Option<String>,
    skip: Option<SkipPath>,
    observers: Observers,
    when_built: Option<WhenBuilt>,
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
            bounds: LayerBounds { organization: None, environments: None, clock: Clock::system() },
            deadline: Duration::from_secs(5),
            optional: false,
            serves_grpc: false,
            ignores_other_formats: false,
            pass_preflight: false,
            hide_credentials: false,
            hide_forbidden_details: false,
            forward_identity: None,
            skip: None,
            observers: observe::built_in(),
            when_built: None,
        }
    }

    /// Accepts these schemes, in this order: a list of [`Scheme`](crate::Scheme)s, or a [`SchemePolicy`] with a rule for conflicts.
    pub fn schemes(mut self, policy: impl Into<SchemePolicy>) -> Self {
        self.policy = policy.into();
        self
    }

    /// Tells a manager which schemes the layer has, once it is built.
    pub(crate) fn when_built(mut self, tell: impl FnOnce(&SchemePolicy) + Send + Sync + 'static) -> Self {
        self.when_built = Some(Box::new(tell));
        self
    }

    /// Refuses every key that has none of these formats, before it is hashed; and one whose checksum is wrong before a store has to wait.
    pub fn formats(mut self, formats: impl IntoIterator<Item = KeyFormat>) -> Self {
        self.formats = formats.into_iter().collect();
        self
    }

    /// Ignores credentials that have none of the [`formats`](Self::formats), in whatever accepted scheme: they belong to another layer. Use it where keys and JWTs
    /// both come by `Authorization: Bearer`.
    ///
    /// An optional layer lets such a request through, anonymous; a required one refuses it as a request without a key, 401. The credential conflicts with
    /// no key and stays in the request, also after [`hide_credentials`](Self::hide_credentials). A text in which a word begins with the prefix of a format, in
    /// whatever case, is a key of yours, mistyped or not: it is refused with 401 if it is not known. An empty place and a repeated header are refused as ever.
    ///
    /// ```
    /// use tower_api_key::{ApiKeyLayer, KeyFormat, store::MemoryStore};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let keys = ApiKeyLayer::builder(MemoryStore::new())
    ///     .formats([KeyFormat::new("acme")?])
    ///     .ignore_other_formats()
    ///     .optional()
    ///     .build()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn ignore_other_formats(mut self) -> Self {
        self.ignores_other_formats = true;
        self
    }

    /// Hashes as the stored digests were hashed.
    pub fn hasher(mut self, hasher: KeyHasher) -> Self {
        self.hasher = hasher;
        self
    }

    /// Names the protection space in every challenge (RFC 9110 §11.5).
    pub fn realm(mut self, realm: impl Into<String>) -> Self {
        self.realm = realm.into();
        self
    }

    /// Adds a parameter to every challenge of this layer (RFC 9110 §11.2): `resource_metadata`, the URL of a document about the resource
    /// (RFC 9728 §5.1), or `charset`. The value is quoted and escaped. May be called several times.
    ///
    /// A name that is not a token, one that the layer writes itself (`realm`, `error`, `scope`, `in`, `name`, `scheme`), one that stands twice, and a
    /// value with a control character are a [`ConfigError::ChallengeParam`].
    ///
    /// ```
    /// use tower_api_key::{ApiKeyLayer, store::MemoryStore};
    ///
    /// let layer = ApiKeyLayer::builder(MemoryStore::new())
    ///     .challenge_param("resource_metadata", "https://api.example.com/.well-known/oauth-protected-resource")
    ///     .build();
    /// assert!(layer.is_ok());
    /// ```
    pub fn challenge_param(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.challenge_params.push((name.into(), value.into()));
        self
    }

    /// Reads keys of up to this many bytes, 1 to 4096; up to [`MAX_KEY_LEN`] otherwise. A longer key is refused before it is hashed, and the
    /// refusal names the limit.
    ///
    /// Servers and proxies bound a request's head too: hyper reads 400 KiB of it over HTTP/1, nginx 8 KiB a line.
    pub fn max_key_len(mut self, bytes: usize) -> Self {
        self.max_key_len = bytes;
        self
    }

    /// Answers refused requests in this format.
    pub fn rejection_format(mut self, format: RejectionFormat) -> Self {
        self.format = format;
        self
    }

    /// Answers every 403 with the same body and challenge: the caller does not learn which permission the key lacks, nor whether a table lists the
    /// route. Observers do: see [`Decision::missing_permissions`].
    ///
    /// Without it a guard's refusal names the permission (`It lacks the permission links:create.`), in problem+json, in text and in a gRPC
    /// message, and as `scope` on the Bearer challenge (RFC 6750 §3). What is hidden by [`Require::hide_as_not_found`](crate::Require::hide_as_not_found)
    /// is named in no case.
    pub fn hide_forbidden_details(mut self) -> Self {
        self.hide_forbidden_details = true;
        self
    }

    /// Lets a request through, anonymous, when it presents nothing of ours. A bad key is 401 all the same. If an outer layer has accepted a key, its
    /// principal stays.
    pub fn optional(mut self) -> Self {
        self.optional = true;
        self
    }

    /// Refuses gRPC requests as gRPC does: a POST whose content type begins with `application/grpc` is answered with HTTP status 200 and the code
    /// in `grpc-status`. Set it where a gRPC server is behind the layer and gRPC clients before it, not where a proxy goes by the HTTP status: see
    /// [gRPC](crate::rejection#grpc).
    ///
    /// Without it a refusal is never a 2xx, whatever the content type.
    pub fn grpc(mut self) -> Self {
        self.serves_grpc = true;
        self
    }

    /// Lets a CORS preflight through, to a CORS layer further in: `OPTIONS` with `Origin` and `Access-Control-Request-Method`,
    /// which a browser sends without credentials. No other `OPTIONS` passes.
    pub fn pass_preflight(mut self) -> Self {
        self.pass_preflight = true;
        self
    }

    /// Lets a request through unread when its path is not to be protected: without a principal, an outer layer's included. The path
    /// is as the layer sees it: undecoded, and under axum's `nest` without the prefix.
    ///
    /// A path is skipped only if every reading of it is, as [`Require::table`](crate::Require::table) says: percent-decoded, cut at its parameters,
    /// without its last slash and so on. So `/static/` is skipped only along with `/static`. Under axum's `nest` that needs the feature `axum`.
    ///
    /// Compare whole paths: `starts_with("/public")` lets `/publication` through.
    pub fn skip(mut self, path: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        self.skip = Some(Box::new(path));
        self
    }

    /// Takes every credential of ours out of an accepted request, wherever it stood. A skipped path and a preflight are not
    /// touched: what they carry is somebody else's to read.
    pub fn hide_credentials(mut self) -> Self {
        self.hide_credentials = true;
        self
    }

    /// Tells the inner service the principal's id in the header `name`: percent-encoded, where it has a space, a percent sign, or what is
    /// not visible ASCII. Whatever the client has sent under this name is taken out, also when nobody is calling, and also
    /// with underscores for hyphens. Where an optional layer keeps the principal of an outer one, the header has that
    /// principal's id. Let nobody reach the service behind but through this layer.
    pub fn forward_identity(mut self, name: impl Into<String>) -> Self {
        self.forward_identity = Some(name.into());
        self
    }

    /// Serves the keys of this organization only; every other key is 401, as if it were unknown.
    pub fn organization(mut self, organization: impl Into<String>) -> Self {
        self.bounds.organization = Some(organization.into().into());
        self
    }

    /// Serves the keys of these environments only; every other key is 401, as if it were unknown.
    pub fn environments<E: Into<String>>(mut self, environments: impl IntoIterator<Item = E>) -> Self {
        let environments = environments.into_iter().map(|name| name.into().into());
        self.bounds.environments = Some(environments.collect());
        self
    }

    /// Tells `observer` of every request. May be called several times; all are told, in order. An observer must not block; if it panics, the
    /// others are told all the same.
    ///
    /// The features `tracing` and `metrics` observe every layer besides: see [`Decision`].
    pub fn observe(mut self, observer: impl Fn(&Decision) + Send + Sync + 'static) -> Self {
        self.observers.push(Observer::Plain(Box::new(observer)));
        self
    }

    /// Calls `observer` once for every request, with the decision and with what `capture` took from the head of the request. Use it for what a
    /// [`Decision`] does not have: the peer's address, a request id.
    ///
    /// `capture` runs before the request reaches the inner service, `observer` when the response is ready. Neither may block. If `capture` panics,
    /// the request is served, and `observer` is not called.
    ///
    /// ```
    /// use std::net::SocketAddr;
    /// use tower_api_key::{ApiKeyLayer, store::MemoryStore};
    ///
    /// # #[derive(Clone)] struct ConnectInfo<T>(T); // axum's
    /// let layer = ApiKeyLayer::builder(MemoryStore::new())
    ///     .observe_with(
    ///         |head| {
    ///             let peer = head.extensions().get::<ConnectInfo<SocketAddr>>().map(|peer| peer.0);
    ///             (peer, head.headers().get("x-request-id").cloned())
    ///         },
    ///         |decision, (peer, id)| {
    ///             let (method, path) = (decision.method(), decision.path());
    ///             println!("{id:?} {peer:?} {method} {path} {}", decision.outcome().as_str());
    ///         },
    ///     )
    ///     .build();
    /// ```
    pub fn observe_with<T: Send + 'static>(
        mut self,
        capture: impl Fn(&RequestHead<'_>) -> T + Send + Sync + 'static,
        observer: impl Fn(&Decision, T) + Send + Sync + 'static,
    ) -> Self {
        let observer = Arc::new(observer);
        self.observers.push(Observer::Capturing(Box::new(move |head| {
            let (captured, observer) = (capture(head), Arc::clone(&observer));
            Box::new(move |decision| observer(decision, captured))
        })));
        self
    }

    /// Calls `observer` with decisions that have neither method nor path.
    pub(crate) fn observe_keys(mut self, observer: impl Fn(&Decision) + Send + Sync + 'static) -> Self {
        self.observers.push(Observer::Own(Box::new(observer)));
        self
    }

    /// Takes the time from `now`, for tests.
    pub fn clock(mut self, now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        self.bounds.clock = Clock::new(now);
        self
    }

    pub(crate) fn timed_by(mut self, clock: Clock) -> Self {
        self.bounds.clock = clock;
        self
    }

    /// Answers 503 when a store that has to wait takes longer. Such a store needs a tokio runtime with its timer on.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Checks the settings, and makes the layer.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names the setting that is wrong: no scheme, a header name with a space, an empty scheme word, a realm with
    /// a line break, an empty list of environments, a deadline of zero, an identity in a header that carries keys,
    /// `ignore_other_formats` without `formats`, a limit for keys outside of 1 to 4096 bytes or below that of a format.
    pub fn build(self) -> Result<ApiKeyLayer, ConfigError> {
        if self.deadline.is_zero() {
            return Err(ConfigError::Deadline);
        }
        if self.bounds.environments.as_ref().is_some_and(Vec::is_empty) {
            return Err(ConfigError::NoEnvironment);
        }
        if self.ignores_other_formats && self.formats.is_empty() {
            return Err(ConfigError::NoFormat);
        }
        let longest = self.formats.iter().filter_map(KeyFormat::key_len).max().unwrap_or(1);
        if !(longest..=KEY_LEN_LIMIT).contains(&self.max_key_len) {
            return Err(ConfigError::MaxKeyLen(self.max_key_len));
        }
        let reader = Reader::new(&self.policy, self.max_key_len)?;
        let challenges = Challenges::new(&self.policy, &self.realm, &self.challenge_params)?;
        let forward_identity = self.forward_identity.map(|name| IdentityHeader::new(&name, &reader)).transpose()?;
        let renderer = Renderer::new(self.format, challenges, &self.policy, self.max_key_len)?;
        let renderer = renderer.hiding_forbidden_details(self.hide_forbidden_details);
        let checker = Checker {
            reader,
            store: self.store,
            formats: self.formats,
            hasher: self.hasher,
            bounds: self.bounds,
            dummy: KeyRecord::dummy(),
            deadline: self.deadline,
            ignores_other_formats: self.ignores_other_formats,
        };
        let authenticator = Authenticator {
            is_watched: self.observers.may_read_requests() || renderer.captures(),
            renderer,
            checker,
            optional: self.optional,
            serves_grpc: self.serves_grpc,
            pass_preflight: self.pass_preflight,
            hide_credentials: self.hide_credentials,
            forward_identity,
            skip: self.skip,
            observers: self.observers,
        };
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
            .field("deadline", &self.deadline)
            .field("optional", &self.optional)
            .field("grpc", &self.serves_grpc)
            .field("ignore_other_formats", &self.ignores_other_formats)
            .field("pass_preflight", &self.pass_preflight)
            .field("hide_credentials", &self.hide_credentials)
            .field("hide_forbidden_details", &self.hide_forbidden_details)
            .field("forward_identity", &self.forward_identity)
            .finish_non_exhaustive()
    }
}
