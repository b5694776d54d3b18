//! The layer: verifies keys, calls the inner service or rejects, renders every rejection, and
//! reports every request.
//!
//! A request runs through these stages in this order. Any stage before the handler may reject it
//! with a [`Rejection`].
//!
//! | stage         | code                                     | may wait | settings                                |
//! |---------------|------------------------------------------|----------|-----------------------------------------|
//! | bypass        | `bypass`: preflight, skipped path        | no       | `pass_preflight`, `skip`                |
//! | transport     | `transport`: rejects clear text          | no       | `require_tls`                           |
//! | read          | `check`: one credential                  | no       | `schemes`                               |
//! | form, digest  | `check`: shape, alphabet, hash           | no       | `formats`, `hasher`                     |
//! | lookup        | `check`: `try_find`, checksum, `find`    | yes      | the [`KeyStore`], `deadline`            |
//! | verify        | `check`: digest, status, times, bounds, address | no | `organization`, `environments`, `client_address` |
//! | accept        | `admit`: credentials, forwarded identity | no       | `hide_credentials`, `forward_identity`  |
//! | after verify  | `after_verify`                           | yes      | [`ApiKeyLayerBuilder::after_verify`]    |
//! | principal     | `admit`: into the extensions             | no       |                                         |
//! | guards        | `guard`: anywhere inside the layer       | yes      | [`Require`](crate::Require)             |
//! | after guards  | `guard`: once a guard has accepted       | yes      | [`Require::and_then`](crate::Require::and_then) |
//! | handler       | the inner service                        | yes      |                                         |
//! | response      | `report`: render, cache headers, observe | no       | `rejection_format`, `observe`           |

mod admit;
mod after_verify;
mod builder;
mod bypass;
mod cache_headers;
mod check;
mod client;
mod expiry_header;
mod failures;
mod form;
mod forward;
mod found;
mod future;
#[cfg(feature = "limits")]
mod limits;
mod observation;
mod plain;
mod rate_limit_fields;
mod report;
mod service;
mod settings;
mod sharded_arc;
mod sources;
mod standalone;
mod tokens;
mod transport;

use std::{fmt, sync::Arc};

pub use crate::body::ResponseBody;
pub use builder::ApiKeyLayerBuilder;
pub use future::ResponseFuture;
use http::Request;
pub use service::ApiKeyService;
use tower_layer::Layer;

use crate::{principal::Principal, rejection::Rejection, scheme::SchemePolicy, store::KeyStore};
use admit::Authenticator;
use sharded_arc::ShardedArc;
use standalone::Authentication;

/// Protects a service with API keys.
///
/// ```
/// use http::{Request, Response, StatusCode};
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
/// use tower_api_key::{ApiKey, ApiKeyLayer, Principal, store::StaticKeys};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let keys = StaticKeys::new([("deploy", ApiKey::new("zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ")?)])?;
/// let service = ServiceBuilder::new()
///     .layer(ApiKeyLayer::builder(keys).build()?)
///     .service(service_fn(async |request: Request<String>| {
///         let key = request.extensions().get::<Principal>().map(|key| key.id().to_string());
///         Ok::<_, std::convert::Infallible>(Response::new(key.unwrap_or_default()))
///     }));
///
/// let request = Request::get("/").header("x-api-key", "zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ");
/// let response = service.clone().oneshot(request.body(String::new())?).await?;
/// assert_eq!(response.status(), StatusCode::OK);
///
/// let response = service.oneshot(Request::get("/").body(String::new())?).await?;
/// assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
/// # Ok(())
/// # }
/// ```
///
/// # Nested layers
///
/// A request passes through every layer of this type, and each makes one decision. An inner layer
/// may replace the principal of an outer layer:
///
/// - If the inner layer accepts a key, its principal replaces the other.
/// - If the inner layer is optional and reads no key, the principal stays. The outer layer then
///   renders and reports the rejections of inner guards.
/// - If the inner layer skips the path or lets a preflight pass, it removes the principal.
///
/// # Caches
///
/// A rejection gets `Cache-Control: no-store`. The response to an accepted key gets
/// `Cache-Control: private`, unless the service sets `Cache-Control` or answers 401.
///
/// Rejections, and the responses to accepted keys and to anonymous requests, get a `Vary` over the
/// headers that can carry a key ([`SchemePolicy::header_names`]). It is merged with the service's
/// own `Vary`. So no cache sends the response for one caller to another (RFC 9111 §4.1).
///
/// The layer adds none of this to the service's responses to skipped paths, preflights and gRPC
/// requests.
///
/// # axum
///
/// `Router::layer` protects the fallback too: without a key, an unknown path gets 401.
/// `Router::route_layer` protects only the routes.
#[derive(Clone)]
pub struct ApiKeyLayer {
    authenticator: ShardedArc<Authenticator>,
    policy: Arc<SchemePolicy>,
}

impl ApiKeyLayer {
    /// Returns a builder for a layer that finds keys in `store`.
    ///
    /// Build layers from configuration, when the program starts. The library keeps each distinct
    /// scheme in memory until the process ends, so do not take schemes from requests.
    ///
    /// The defaults are:
    ///
    /// | setting            | default                                                               |
    /// |--------------------|-----------------------------------------------------------------------|
    /// | `schemes`          | `Authorization: Bearer` and `Token`, `X-API-Key`; one key per request |
    /// | `formats`          | none: every key is looked up                                          |
    /// | `hasher`           | SHA-256                                                               |
    /// | `realm`            | `api`                                                                 |
    /// | `max_key_len`      | 512 bytes                                                             |
    /// | `rejection_format` | problem+json                                                          |
    /// | `deadline`         | 5 s for a lookup that waits                                           |
    /// | everything else    | off: every path and method needs a key, which stays in the request    |
    pub fn builder(store: impl KeyStore) -> ApiKeyLayerBuilder {
        ApiKeyLayerBuilder::new(Arc::new(store))
    }

    /// Authenticates a request without calling a service. Use it for a connection that another
    /// library accepts.
    ///
    /// The layer reads the request at once; the future waits only for the store and for checks
    /// after verification. A key is required: `optional` and `skip` do not apply. Observers run
    /// once, unless the future is dropped before it is done.
    ///
    /// The request does not change. The layer does not mark the credential as sensitive, hide it,
    /// or remove it from the protocols that a WebSocket client offers.
    ///
    /// ```
    /// use http::Request;
    /// use tower_api_key::{ApiKey, ApiKeyLayer, store::StaticKeys};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let keys = StaticKeys::new([("deploy", ApiKey::new("zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ")?)])?;
    /// let layer = ApiKeyLayer::builder(keys).build()?;
    /// let request = Request::get("/").header("x-api-key", "zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ").body(())?;
    /// assert_eq!(layer.authenticate(&request).await.unwrap().id().as_str(), "deploy");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns the [`Rejection`] that the layer would render.
    pub fn authenticate<B>(
        &self,
        request: &Request<B>,
    ) -> impl Future<Output = Result<Principal, Rejection>> + Send + use<'_, B> {
        // The request is read at once, so that the future is `Send` for every body.
        let authentication = self.authenticator.authenticate(request);
        async move {
            match authentication {
                Authentication::Done(result) => result,
                Authentication::Pending(pending) => self.authenticator.authenticate_later(*pending).await,
            }
        }
    }

    /// Authenticates a request without waiting, for example in an interceptor that is not async.
    /// Returns `None` if the store, or a check after verification, has to wait. Then no limit of
    /// the key is charged.
    ///
    /// ```
    /// # use http::Request;
    /// # use tower_api_key::{ApiKeyLayer, Reason, store::MemoryStore};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let layer = ApiKeyLayer::builder(MemoryStore::new()).build()?;
    /// let request = Request::get("/").body(())?;
    /// let answer = layer.try_authenticate(&request).expect("a store in memory never waits");
    /// assert_eq!(answer.unwrap_err().reason(), Reason::Missing);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns the [`Rejection`] that the layer would render.
    pub fn try_authenticate<B>(&self, request: &Request<B>) -> Option<Result<Principal, Rejection>> {
        match self.authenticator.authenticate(request) {
            Authentication::Done(result) => Some(result),
            Authentication::Pending(pending) => {
                self.authenticator.give_up(&pending);
                None
            }
        }
    }

    /// Returns the schemes that this layer accepts.
    pub fn schemes(&self) -> &SchemePolicy {
        &self.policy
    }
}

impl<S> Layer<S> for ApiKeyLayer {
    type Service = ApiKeyService<S>;

    fn layer(&self, inner: S) -> ApiKeyService<S> {
        ApiKeyService::new(inner, self.authenticator.clone())
    }
}

impl fmt::Debug for ApiKeyLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKeyLayer").field("schemes", &self.policy).finish_non_exhaustive()
    }
}
