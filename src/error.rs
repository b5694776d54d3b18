//! What can be wrong with a configuration, found when it is built.

use thiserror::Error;

/// A layer, a guard or a manager that cannot be built. The text names the field and repeats the
/// offending value, which is configuration and never a key; of a caller's URL it repeats nothing, for a password may stand in it.
///
/// ```
/// use tower_api_key::{ApiKeyLayer, ConfigError, Scheme, store::MemoryStore};
///
/// let refused = ApiKeyLayer::builder(MemoryStore::new())
///     .schemes([Scheme::header("x api key")])
///     .build();
/// assert_eq!(
///     refused.err(),
///     Some(ConfigError::HeaderName("x api key".into())),
/// );
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// `schemes` is empty, so that no request could ever pass.
    #[error("schemes: at least one scheme is needed")]
    NoScheme,
    /// A header name that is not a token (RFC 9110 §5.1).
    #[error("schemes: {0:?} is not a header name")]
    HeaderName(String),
    /// A scheme word that is not a token (RFC 9110 §11.1).
    #[error("schemes: {0:?} is not a scheme word")]
    AuthSchemeName(String),
    /// A query parameter without a name.
    #[error("schemes: a query parameter needs a name")]
    QueryName,
    /// A cookie name that is not a token (RFC 6265 §4.1.1).
    #[error("schemes: {0:?} is not a cookie name")]
    CookieName(String),
    /// A name that is not a token, so that no client could offer it as a subprotocol (RFC 6455 §4.1).
    #[error("schemes: {0:?} is not a subprotocol")]
    WebSocketProtocol(String),
    /// Two schemes with one word that read its key in two ways: `Basic` by user name and by password.
    #[error("schemes: {0} has the word of another scheme, which reads its key otherwise")]
    ReadTwoWays(String),
    /// An unadvertised scheme that the policy does not accept.
    #[error("unadvertised: {0} is not one of the schemes")]
    NotInPolicy(String),
    /// A policy of which no scheme is advertised, so that a 401 would have no challenge (RFC 9110 §15.5.2).
    #[error("unadvertised: at least one scheme must be advertised")]
    NothingAdvertised,
    /// A limit for keys that is 0, more than 4096 bytes, or less than a key of the layer's formats has.
    #[error("max_key_len: {0} must be 1 to 4096, and no less than the length of the formats' keys")]
    MaxKeyLen(usize),
    /// A challenge parameter that is not a token (RFC 9110 §11.2), stands twice, is one that the layer writes itself, or has a control character
    /// in its value.
    #[error(
        "challenge_param: {0:?} is no parameter name, is written by the layer or stands twice, or its value has a control character"
    )]
    ChallengeParam(String),
    /// A base of problem types that is not a URI reference (RFC 3986).
    #[error("problem_types: {0:?} is not a URI")]
    ProblemTypes(String),
    /// A key that this scheme cannot carry: one with a semicolon, in a cookie.
    #[error("key: {0} cannot carry it")]
    UnsupportedKeyCharacters(String),
    /// What is no origin (RFC 6454 §4) of `http`, `https`, `ws` or `wss`: a relative URL, or one with a user, a path or a query.
    #[error("origin: must be http, https, ws or wss, a host, and at most a port")]
    Origin,
    /// A realm with a control character, which a challenge cannot carry (RFC 9110 §11.5).
    #[error("realm: {0:?} has a control character")]
    Realm(String),
    /// A header for the principal's id that is no header name, or one that carries keys.
    #[error("forward_identity: {0:?} is not a header name, or a header that carries keys")]
    ForwardIdentity(String),
    /// An empty list of environments, under which every key would be refused.
    #[error("environments: name at least one")]
    NoEnvironment,
    /// A deadline of zero, under which no store that waits could ever answer.
    #[error("deadline: must be longer than zero")]
    Deadline,
    /// A cache that may keep nothing.
    #[error("entries: at least one is needed")]
    Entries,
    /// A lease of a cache that is shorter than 10 ms, within which no heartbeat would come back.
    #[error("lease: must be 10 ms or longer")]
    Lease,
    /// A cache that is built outside of a tokio runtime, where nothing could follow the changes.
    #[error("cache: must be built within a tokio runtime")]
    NoRuntime,
    /// A manager without a format, which could make no key; a layer that ignores other formats, and has none.
    #[error("format: at least one is needed")]
    NoFormat,
    /// A format to make keys with, of which only the shape is known.
    #[error("format: keys of the foreign format {0:?} cannot be generated")]
    ForeignFormat(String),
    /// A row of a table guard that cannot be: its template, and why.
    #[error("table: {0:?}: {1}")]
    Route(String, String),
    /// A table guard without rows, under which every request would be refused.
    #[error("table: at least one row is needed")]
    EmptyTable,
    /// A guard was named on an operation, method and path, that the OpenAPI document does not have.
    #[error("openapi: the document has no operation {0:?}")]
    UnknownOperation(String),
    /// An operation of the OpenAPI document that its guards let nobody call.
    #[error("openapi: the guards of {0:?} let nobody pass")]
    UnsatisfiableGuard(String),
    /// A path template without exactly one `{name}` segment.
    #[error("organization: {0:?} must have exactly one segment in braces")]
    PathTemplate(String),
    /// A host template without exactly one `{name}` label, or with nothing after it.
    #[error("organization: {0:?} must have exactly one label in braces, and end with another label")]
    HostTemplate(String),
}
