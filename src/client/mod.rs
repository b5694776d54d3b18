//! The caller's side: adds a key to the requests for one origin, and to no others.
//!
//! ```no_run
//! use http::Request;
//! use http_body_util::Empty;
//! use hyper_util::{client::legacy::Client, rt::TokioExecutor};
//! use tower::{ServiceBuilder, ServiceExt};
//! use tower_api_key::{ApiKey, Scheme, client::SendKeyLayer};
//! use tower_http::follow_redirect::FollowRedirectLayer;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let key: ApiKey = std::env::var("ACME_KEY")?.parse()?;
//! let client = ServiceBuilder::new()
//!     .layer(FollowRedirectLayer::new()) // outside: each hop is judged anew
//!     .layer(SendKeyLayer::new("http://api.example.com", Scheme::bearer(), &key)?)
//!     .service(Client::builder(TokioExecutor::new()).build_http());
//!
//! let request = Request::get("http://api.example.com/links").body(Empty::<bytes::Bytes>::new())?;
//! let response = client.oneshot(request).await?;
//! # Ok(())
//! # }
//! ```
//!
//! It goes around any client that is a tower service over [`Request`]; the example `client` of this project has `reqwest`.
//!
//! # Which requests get the key
//!
//! Those whose URI has the layer's own scheme, host and port (RFC 6454 §4). A default port may stand there or not, the host is compared
//! without regard to case, an IPv6 address in any spelling. All others go on without the key, and lose nothing of their own:
//!
//! - another scheme, host or port; so `http://` of a host that the layer knows as `https://`, and a subdomain;
//! - a URI without scheme and host (`/links`, with a `Host` header): nobody can tell where it goes;
//! - a URI with a user (`https://api.example.com@…`), as RFC 9110 §4.2.4 advises.
//!
//! # Redirects
//!
//! A layer that follows redirects stands **outside** of this one, as above, and each request that it makes is a request like any other here.
//! One that stands inside follows with the key that it was given: most take `Authorization` and `Cookie` off a request for another origin,
//! but not `X-API-Key`. So switch it off: `reqwest::ClientBuilder::redirect(Policy::none())`.
//!
//! A key in the query is in the URL that a server may repeat: `Location: https://elsewhere.example/?api_key=KEY`. Where the parameter holds this key,
//! it is taken out of requests for other origins. In another place (`?next=%2F%3Fapi_key%3D…`) it is not found; that is one more reason to send
//! keys in headers.
//!
//! # What a request has already
//!
//! It carries one key in this place when it leaves, and so is never refused as ambiguous for what stood there before:
//!
//! | scheme            | what goes                                              | what stays                          |
//! |-------------------|--------------------------------------------------------|-------------------------------------|
//! | in a header       | every line of this header, whosever credential it is   | every other header                  |
//! | in a cookie       | cookies of this name                                   | all others; they become one line    |
//! | among protocols   | this name, and the protocol that follows it            | all others, before the key's name   |
//! | in the query      | parameters of this name                                | all others, byte for byte           |
//!
//! # The plain text
//!
//! The layer has to keep what it sends, for as long as it or a request lives. Values of headers are marked sensitive, so that `Debug`
//! does not show them and HTTP/2 does not index them; but they are shared with the requests, and their memory is not wiped, other
//! than that of an [`ApiKey`].

mod origin;

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use http::Request;
use tower_layer::Layer;
use tower_service::Service;

use crate::{
    error::ConfigError,
    key::ApiKey,
    scheme::{Scheme, Writer},
};
use origin::Origin;

/// Adds a key to the requests for one origin: see the [module](self).
///
/// ```
/// use http::Request;
/// use tower::{Layer, ServiceExt, service_fn};
/// use tower_api_key::{ApiKey, Scheme, client::SendKeyLayer};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let key = ApiKey::new("hopx_live_51FwqftsmMDHHbJAMEXXHCgG")?;
/// let layer = SendKeyLayer::new("https://api.example.com", Scheme::x_api_key(), &key)?;
/// let client = layer.layer(service_fn(async |request: Request<()>| {
///     Ok::<_, std::convert::Infallible>(request.headers().contains_key("x-api-key"))
/// }));
///
/// let ours = Request::get("https://api.example.com/links").body(())?;
/// assert!(client.clone().oneshot(ours).await?);
/// let elsewhere = Request::get("https://example.com/links").body(())?;
/// assert!(!client.oneshot(elsewhere).await?);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct SendKeyLayer {
    sender: Arc<Sender>,
}

/// A client behind a [`SendKeyLayer`]. It is ready when the inner one is, and its future is the inner one's.
///
/// ```
/// use tower::Layer;
/// use tower_api_key::client::{SendKey, SendKeyLayer};
///
/// fn with_key<S>(client: S, layer: &SendKeyLayer) -> SendKey<S> {
///     layer.layer(client)
/// }
/// ```
#[derive(Clone, Debug)]
pub struct SendKey<S> {
    inner: S,
    layer: SendKeyLayer,
}

struct Sender {
    origin: Origin,
    scheme: Scheme,
    writer: Writer,
}

// === impl SendKeyLayer, SendKey ===

impl SendKeyLayer {
    /// A layer that sends `key` to `origin`, as `https://api.example.com` or `http://[::1]:3000`, by `scheme`.
    ///
    /// # Errors
    ///
    /// - [`ConfigError::Origin`] for anything but a scheme (`http`, `https`, `ws`, `wss`), a host and at most a port:
    ///   `api.example.com`, `https://user@api.example.com`, `https://api.example.com/v1`. A `/` at the end is no path.
    /// - [`ConfigError::HeaderName`], [`AuthSchemeName`](ConfigError::AuthSchemeName), [`CookieName`](ConfigError::CookieName),
    ///   [`WebSocketProtocol`](ConfigError::WebSocketProtocol), [`QueryName`](ConfigError::QueryName) for a scheme whose name is wrong.
    /// - [`ConfigError::UnsupportedKeyCharacters`] for a key outside the scheme's alphabet, see the [schemes](crate::scheme): `a:b` as a user name,
    ///   `a;b` in a cookie, `a,b` behind a word or among protocols.
    pub fn new(origin: &str, scheme: Scheme, key: &ApiKey) -> Result<Self, ConfigError> {
        let (origin, writer) = (Origin::parse(origin)?, Writer::new(&scheme, key.expose())?);
        let sender = Sender { origin, scheme, writer };
        Ok(Self { sender: Arc::new(sender) })
    }
}

impl<S> Layer<S> for SendKeyLayer {
    type Service = SendKey<S>;

    fn layer(&self, inner: S) -> SendKey<S> {
        SendKey { inner, layer: self.clone() }
    }
}

impl<S, B> Service<Request<B>> for SendKey<S>
where
    S: Service<Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> S::Future {
        let Sender { origin, writer, .. } = &*self.layer.sender;
        let (mut parts, body) = request.into_parts();
        if origin.is_of(&parts.uri) {
            writer.write(&mut parts.headers, &mut parts.uri);
        } else {
            writer.withdraw(&mut parts.uri);
        }
        self.inner.call(Request::from_parts(parts, body))
    }
}

impl fmt::Debug for SendKeyLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Sender { origin, scheme, .. } = &*self.sender;
        let (origin, scheme) = (origin.to_string(), scheme.to_string());
        f.debug_struct("SendKeyLayer").field("origin", &origin).field("scheme", &scheme).finish_non_exhaustive()
    }
}
