//! The client side: adds a key to requests for one origin, and to no others.
//!
//! ```no_run
//! use http::Request;
//! use http_body_util::Empty;
//! use hyper_util::client::legacy::{Client, connect::Connect};
//! use hyper_util::rt::TokioExecutor;
//! use tower::{ServiceBuilder, ServiceExt};
//! use tower_api_key::{ApiKey, Scheme, client::SendKeyLayer};
//! use tower_http::follow_redirect::FollowRedirectLayer;
//!
//! /// `tls` is a connector for HTTPS, such as the one of `hyper-rustls`.
//! async fn links(
//!     tls: impl Connect + Clone + Send + Sync + 'static,
//! ) -> Result<(), Box<dyn std::error::Error>> {
//!     let key: ApiKey = std::env::var("ACME_KEY")?.parse()?;
//!     let client = ServiceBuilder::new()
//!         .layer(FollowRedirectLayer::new()) // outside: each hop is checked again
//!         .layer(SendKeyLayer::new("https://api.example.com", Scheme::bearer(), &key)?)
//!         .service(Client::builder(TokioExecutor::new()).build(tls));
//!
//!     let links = Request::get("https://api.example.com/links");
//!     let response = client.oneshot(links.body(Empty::<bytes::Bytes>::new())?).await?;
//!     println!("{}", response.status());
//!     Ok(())
//! }
//! ```
//!
//! The layer wraps any client that is a tower service over [`Request`]. The example `client` of
//! this project uses `reqwest`.
//!
//! # Which requests get the key
//!
//! The layer adds the key to requests for its scheme, host and port (RFC 6454 §4). The default port
//! may be omitted, the case of the host does not matter, and an IPv6 address may have any spelling.
//! All other requests are sent without the key and otherwise unchanged:
//!
//! - another scheme, host or port, such as `http://` instead of `https://`, or a subdomain;
//! - a URI without scheme and host (`/links`, with a `Host` header), since its destination is
//!   unknown;
//! - a URI with user information (`https://api.example.com@…`), as RFC 9110 §4.2.4 advises.
//!
//! # Clear text
//!
//! [`SendKeyLayer::new`] rejects `http` and `ws`, since everyone on the network could read the key
//! (draft-ietf-httpapi-privacy-06 §3.3). Hosts on this machine are allowed: `127.0.0.0/8`, `::1`,
//! `localhost` and names below it. The layer does not resolve names, so your resolver must return a
//! loopback address for `localhost`. If the client uses an HTTP proxy, exclude these hosts from it.
//! [`SendKeyLayer::insecure`] allows `http` and `ws` for every host.
//!
//! A server that redirects from `http` to `https` does not protect the key: the first request has
//! already sent it in clear text.
//!
//! # Redirects
//!
//! Put a layer that follows redirects **outside** this one, as above. This layer then checks each
//! hop.
//!
//! If the client follows redirects inside this layer, it sends the key to the other origin: most
//! clients remove `Authorization` and `Cookie` there, but not `X-API-Key`. Disable redirects in the
//! client: `reqwest::ClientBuilder::redirect(Policy::none())`.
//!
//! A server may repeat a key from the query in a redirect:
//! `Location: https://elsewhere.example/?api_key=KEY`. The layer removes a parameter with this key
//! from requests for other origins. It does not find the key inside another value
//! (`?next=%2F%3Fapi_key%3D…`), so prefer schemes that use headers.
//!
//! # Credentials that a request already has
//!
//! The layer replaces a credential in the place of its scheme, so that the server does not reject
//! the request as ambiguous:
//!
//! | scheme             | replaced                                     | kept                                     |
//! |--------------------|----------------------------------------------|------------------------------------------|
//! | header             | all lines of this header                     | all other headers                        |
//! | cookie             | cookies with this name                       | all other cookies, joined into one line  |
//! | WebSocket protocol | this name, and the protocol after it         | all other protocols; the key is last     |
//! | query              | parameters with this name                    | all other parameters, byte for byte      |
//!
//! # The plain text in memory
//!
//! The layer keeps the value that it sends. Header values are marked sensitive, so that `Debug`
//! does not show them and HTTP/2 does not index them. Requests share these values. Their memory is
//! not wiped; the memory of an [`ApiKey`] is.

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
    scheme::{Scheme, write::Writer},
};
use origin::Origin;

/// Adds a key to requests for one origin. The [module](self) describes which requests get it.
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

/// The service of a [`SendKeyLayer`]. Its readiness and its future are those of the inner client.
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
    /// Creates a layer that sends `key` with `scheme` to `origin`, such as
    /// `https://api.example.com` or `http://[::1]:3000`. The type's documentation has an example.
    ///
    /// `http` and `ws` are allowed only for this machine: `127.0.0.0/8`, `::1`, `localhost` and
    /// names below `localhost`.
    ///
    /// # Errors
    ///
    /// - [`ConfigError::Origin`] unless the origin is a scheme (`http`, `https`, `ws`, `wss`), a
    ///   host and an optional port. `api.example.com`, `https://user@api.example.com` and
    ///   `https://api.example.com/v1` are errors; a trailing `/` is allowed.
    /// - [`ConfigError::InsecureOrigin`] for `http` or `ws` and any other host. Numbers in another
    ///   form, such as `127.1`, count as another host.
    /// - [`ConfigError::HeaderName`], [`AuthSchemeName`](ConfigError::AuthSchemeName),
    ///   [`CookieName`](ConfigError::CookieName),
    ///   [`WebSocketProtocol`](ConfigError::WebSocketProtocol) or
    ///   [`QueryName`](ConfigError::QueryName) for a scheme with an invalid name.
    /// - [`ConfigError::UnsupportedKeyCharacters`] for a key with characters that the
    ///   [scheme](crate::scheme) cannot carry: `a:b` as a user name, `a;b` in a cookie, `a,b` after
    ///   an auth-scheme or in a WebSocket protocol.
    pub fn new(origin: &str, scheme: Scheme, key: &ApiKey) -> Result<Self, ConfigError> {
        let origin = Origin::parse(origin)?;
        if !origin.is_confidential() {
            return Err(ConfigError::InsecureOrigin);
        }
        Self::with_origin(origin, scheme, key)
    }

    /// Creates a layer like [`new`](Self::new), and allows `http` and `ws` for every host.
    ///
    /// **Discouraged**: everyone on the network path can read the key, and use it until you revoke
    /// it. Nothing proves that the host is yours, so an attacker can also take its place. Use this
    /// only in a network that you trust for another reason, such as a service mesh or a VPN that
    /// encrypts.
    ///
    /// ```
    /// use tower_api_key::{ApiKey, ConfigError, Scheme, client::SendKeyLayer};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let key = ApiKey::new("hopx_live_51FwqftsmMDHHbJAMEXXHCgG")?;
    /// let origin = "http://links.default.svc.cluster.local"; // the mesh encrypts
    /// let rejected = SendKeyLayer::new(origin, Scheme::bearer(), &key).err();
    /// assert_eq!(rejected, Some(ConfigError::InsecureOrigin));
    /// let layer = SendKeyLayer::insecure(origin, Scheme::bearer(), &key)?;
    /// # let _ = layer;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Call it where the code knows the network. A program that falls back to it when `new` fails
    /// sends the key in clear text after one typing error in a URL.
    ///
    /// # Errors
    ///
    /// The errors of [`new`](Self::new), except [`ConfigError::InsecureOrigin`].
    pub fn insecure(origin: &str, scheme: Scheme, key: &ApiKey) -> Result<Self, ConfigError> {
        Self::with_origin(Origin::parse(origin)?, scheme, key)
    }

    /// Creates a layer for an origin that may receive the key.
    fn with_origin(origin: Origin, scheme: Scheme, key: &ApiKey) -> Result<Self, ConfigError> {
        let writer = Writer::new(&scheme, key.expose())?;
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
