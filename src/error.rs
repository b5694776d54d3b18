//! Errors in the settings of a layer, a guard, a manager, a cache or a client.

use thiserror::Error;

/// A boxed error of any type. [`KeyStore::Error`](crate::KeyStore::Error) converts into it;
/// [`KeyStore`](crate::KeyStore) has an example.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Reports an invalid setting of a layer, a guard, a manager, a cache or a client.
///
/// The text names the setting, repeats its value, and says what to do. The value is never a key.
/// The text does not repeat the URL of a client, which may contain a password.
///
/// ```
/// use tower_api_key::{ApiKeyLayer, ConfigError, Scheme, store::MemoryStore};
///
/// let layer = ApiKeyLayer::builder(MemoryStore::new()).schemes([Scheme::header("x api key")]);
/// let error = layer.build().err().unwrap();
/// assert_eq!(error, ConfigError::HeaderName("x api key".into()));
/// assert_eq!(
///     error.to_string(),
///     r#"schemes: "x api key" is not a header name: use letters, digits and hyphens"#,
/// );
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The list of schemes is empty, so every request would be rejected.
    #[error("schemes: the list is empty: name at least one scheme, or leave out the call for the defaults")]
    NoScheme,
    /// A header name is not a token (RFC 9110 §5.1).
    #[error("schemes: {0:?} is not a header name: use letters, digits and hyphens")]
    HeaderName(String),
    /// The word before a key, the auth-scheme, is not a token (RFC 9110 §11.1).
    #[error("schemes: {0:?} is not an auth-scheme: use one word of letters, digits and hyphens")]
    AuthSchemeName(String),
    /// A query parameter has no name.
    #[error("schemes: the name of a query parameter is empty: name the parameter")]
    QueryName,
    /// A cookie name is not a token (RFC 6265 §4.1.1).
    #[error("schemes: {0:?} is not a cookie name: use letters, digits, hyphens and underscores")]
    CookieName(String),
    /// A subprotocol is not a token, so no client could offer it (RFC 6455 §4.1).
    #[error("schemes: {0:?} is not a WebSocket subprotocol: use letters, digits, hyphens and dots")]
    WebSocketProtocol(String),
    /// Two schemes read the same header and auth-scheme in different ways, such as `Basic` by user
    /// name and by password.
    #[error("schemes: {0} and another scheme read the same credential in different ways: keep one of the two")]
    ReadTwoWays(String),
    /// The policy lists a scheme as unadvertised, but does not contain it.
    #[error("unadvertised: {0} is not in the policy: add it to the schemes, or remove it here")]
    NotInPolicy(String),
    /// The policy advertises no scheme, so a 401 would have no challenge (RFC 9110 §15.5.2).
    #[error("unadvertised: every scheme is unadvertised, and a 401 needs a challenge: advertise at least one")]
    NothingAdvertised,
    /// The limit for keys is 0, above 4096 bytes, or below the length of a key in one of the
    /// formats.
    #[error("max_key_len: {0} is out of range: use 1 to 4096, and at least the length of the formats' keys")]
    MaxKeyLen(usize),
    /// The layer of a token endpoint accepts no tokens.
    #[error("tokens: the layer accepts none: call `tokens` on its builder")]
    NoTokens,
    /// Keys of a format of the layer begin with the prefix of its tokens, so they would be read as
    /// tokens.
    #[error("tokens: keys of a format begin with {0:?} too: choose a prefix that no key begins with")]
    TokenPrefix(String),
    /// The name of a challenge parameter is not a token (RFC 9110 §11.2), is repeated, or is one
    /// that the layer writes. Another cause is a control character in the value.
    #[error(
        "challenge_param: {0:?} cannot be added: use a new name of letters, digits and hyphens (the layer writes \
         realm, error, scope, in, name and scheme), and a value without control characters"
    )]
    ChallengeParam(String),
    /// The base of problem types is not a URI reference (RFC 3986).
    #[error("problem_types: {0:?} is not a URI: use one such as https://example.com/problems/")]
    ProblemTypes(String),
    /// The scheme cannot carry this key. For example, a cookie cannot carry a semicolon.
    #[error("key: {0} cannot carry the characters of this key: send it in a header such as X-API-Key")]
    UnsupportedKeyCharacters(String),
    /// The text is not an origin (RFC 6454 §4) of `http`, `https`, `ws` or `wss`: it is relative,
    /// or has a user, a path or a query.
    #[error("origin: write it as https://api.example.com or http://127.0.0.1:3000, without user, path and query")]
    Origin,
    /// The scheme of the origin is `http` or `ws`, and its host is not loopback, so the network
    /// could read the key.
    #[error(
        "origin: http and ws send the key in clear text: use https or wss, or SendKeyLayer::insecure in a network \
         that encrypts"
    )]
    InsecureOrigin,
    /// The realm has a control character, which a challenge cannot carry (RFC 9110 §11.5).
    #[error("realm: {0:?} has a control character, such as a line break: remove it")]
    Realm(String),
    /// The header for the principal's id is not a header name, or it carries keys.
    #[error("forward_identity: {0:?} is not a header name, or a scheme reads keys from it: choose another name")]
    ForwardIdentity(String),
    /// A limit has numbers out of range, or a name that cannot be used. Names the plan and the
    /// limit, and says what to change.
    #[cfg(feature = "limits")]
    #[error("{0}: {1}")]
    Limit(String, String),
    /// A plan is listed twice, has too many limits, or does not exist.
    #[cfg(feature = "limits")]
    #[error("plan {0:?}: {1}")]
    Plan(String, String),
    /// Exposed keys are to be handled, but the layer accepts requests in clear text.
    #[error("on_exposed_key: it needs require_tls, which finds the requests in clear text")]
    NoTlsRequired,
    /// A trusted proxy is not a network, or is every network; or the list of them is empty.
    #[error("proxies: {0:?}: {1}")]
    Proxies(String, String),
    /// The header for the address of a client is not a header name.
    #[error("client address: {0:?} is not a header name: use letters, digits and hyphens")]
    AddressHeader(String),
    /// A limit on failures allows none, or has no entries.
    #[cfg(feature = "limits")]
    #[error("limit_failures: {0}")]
    FailureLimit(String),
    /// A setting of the dashboard is missing or cannot be used. Names the setting, and says what to
    /// do.
    #[cfg(feature = "dashboard")]
    #[error("dashboard: {0}: {1}")]
    Dashboard(&'static str, &'static str),
    /// The list of environments is empty, so every key would be rejected.
    #[error("environments: the list is empty: name at least one, or leave out the call to accept all")]
    NoEnvironment,
    /// The deadline is zero, so every lookup that waits would time out.
    #[error("deadline: it is zero: use a duration such as 5 seconds")]
    Deadline,
    /// The capacity of the cache is zero.
    #[error("entries: it is zero: use at least one")]
    Entries,
    /// The lease of the cache is below 10 ms, so no heartbeat would return within it.
    #[error("lease: it is too short for a heartbeat: use 10 ms or longer")]
    Lease,
    /// The cache may not query the store, so every request would wait for its turn.
    #[error("max_concurrent_lookups: it is zero: use at least one")]
    ConcurrentLookups,
    /// The cache is built outside a tokio runtime, so no task can follow the changes.
    #[error("cache: there is no tokio runtime: build it in an async function")]
    NoRuntime,
    /// There is no format. A manager needs one to generate keys; a layer needs one to ignore other
    /// formats.
    #[error("format: there is none: add one, such as KeyFormat::new(\"acme\")")]
    NoFormat,
    /// The format for new keys is foreign. The crate recognizes keys of a foreign format but cannot
    /// generate them.
    #[error("format: keys of the foreign format {0:?} cannot be generated: use KeyFormat::new for new keys")]
    ForeignFormat(String),
    /// The bounds of an expiry policy contradict each other, so no key could obey it.
    #[error("expiry_policy: {0}: change the bounds")]
    ExpiryPolicy(String),
    /// A row of a table guard is invalid. Contains its template and the reason.
    #[error("table: {0:?}: {1}")]
    Route(String, String),
    /// A table guard has no rows, so every request would be rejected.
    #[error("table: it has no rows: add at least one route")]
    EmptyTable,
    /// A guard is set for an operation (method and path) that the OpenAPI document does not
    /// contain.
    #[error("openapi: the document has no operation {0:?}: write method and path as in the document")]
    UnknownOperation(String),
    /// The guards of an operation in the OpenAPI document reject every key.
    #[error("openapi: the guards of {0:?} reject every key: remove one of them")]
    UnsatisfiableGuard(String),
    /// A path template does not have exactly one `{name}` segment.
    #[error("organization: {0:?} needs exactly one segment in braces, as in /orgs/{{organization}}/links")]
    PathTemplate(String),
    /// A path template does not fit a guard for an instance. Contains the template and the reason.
    #[error("in_path: {0:?}: {1}")]
    InstancePath(String, String),
    /// A host template does not have exactly one `{name}` label, or has no label after it.
    #[error(
        "organization: {0:?} needs exactly one label in braces, and a label after it, as in \
         {{organization}}.example.com"
    )]
    HostTemplate(String),
}
