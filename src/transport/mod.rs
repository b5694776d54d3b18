//! Whether a request came over TLS or in clear text.
//!
//! A key that is sent in clear text can be read by everybody on the way, and no redirect to HTTPS
//! takes it back: the client has sent it by then. So an API rejects *every* request in clear text,
//! before it looks at the key: see
//! [`require_tls`](crate::layer::ApiKeyLayerBuilder::require_tls). This follows
//! draft-ietf-httpapi-privacy, a best current practice.
//!
//! ```
//! use tower_api_key::{ApiKeyLayer, TransportSource, store::MemoryStore};
//!
//! # fn main() -> Result<(), tower_api_key::ConfigError> {
//! // nginx on this machine ends TLS, and sets `proxy_set_header X-Forwarded-Proto $scheme;`.
//! let source = TransportSource::behind(["127.0.0.1"]).x_forwarded_proto()?;
//! let layer = ApiKeyLayer::builder(MemoryStore::new()).require_tls(source).build()?;
//! # Ok(())
//! # }
//! ```
//!
//! # Which word is trusted
//!
//! | the request comes from                | the transport is                                     |
//! |---------------------------------------|------------------------------------------------------|
//! | a listed proxy                        | what the chosen header says                          |
//! | any other peer, or an unknown one     | what your server says: a [`Transport`] in the request's extensions; or else the scheme of its URI |
//!
//! Any client can send any header, so the header is read only behind a listed proxy. The scheme of
//! the URI (`:scheme` in HTTP/2, the absolute form in HTTP/1) is written by the client too. A
//! client that lies about it exposes its own key only. Most requests over HTTP/1 have no scheme in
//! their URI: let your server insert a [`Transport`].
//!
//! An unknown transport is treated as clear text.

mod exposed;

use http::{HeaderMap, HeaderName, Request, header::FORWARDED};

pub(crate) use exposed::{ExposedKeys, OnExposed};

use crate::{
    address::{Proxies, entries_from_last, forwarded_element, peer},
    error::ConfigError,
};

/// The transport of a request: a request extension that your server inserts.
///
/// ```
/// use axum::{Extension, Router, routing::get};
/// use tower_api_key::{ApiKeyLayer, TransportSource, store::MemoryStore, transport::Transport};
///
/// # fn main() -> Result<(), tower_api_key::ConfigError> {
/// let source = TransportSource::server();
/// let auth = ApiKeyLayer::builder(MemoryStore::new()).require_tls(source).build()?;
/// let app: Router = Router::new().route("/links", get("links")).layer(auth);
/// // One router for each listener. The extension is outside of the layer.
/// let over_tls = app.clone().layer(Extension(Transport::Tls));
/// let in_clear_text = app.layer(Extension(Transport::Clear));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Transport {
    /// The connection is encrypted.
    Tls,
    /// The connection is not encrypted.
    Clear,
}

/// Reads the transport of a request: from the server, or from a header of a trusted proxy. The
/// [module](self) has the rules, and an example.
#[derive(Clone, Debug)]
#[must_use = "a source does nothing until a layer requires TLS"]
pub struct TransportSource(Option<Forwarding>);

/// The proxies whose header is read. [`TransportSource::behind`] makes it, and its methods choose
/// the header.
#[derive(Clone, Debug)]
#[must_use = "choose the header that the proxies write"]
pub struct BehindTlsProxies(Result<Proxies, ConfigError>);

/// A header, and the proxies that write it.
#[derive(Clone, Debug)]
struct Forwarding {
    proxies: Proxies,
    header: HeaderName,
    form: Form,
}

#[derive(Clone, Copy, Debug)]
enum Form {
    /// A list of RFC 7239, with the parameter `proto`.
    Forwarded,
    /// The name of a scheme, or a list of them.
    Scheme,
}

/// What says which transport a request has.
enum Word {
    Proxy(Option<Transport>),
    Server(Transport),
    /// The client has written it.
    Uri(Option<Transport>),
}

// === impl TransportSource ===

impl TransportSource {
    /// Uses what the server says: a [`Transport`] in the request's extensions, or else the scheme
    /// of its URI. Reads no header. [`Transport`] has an example.
    pub fn server() -> Self {
        Self(None)
    }

    /// The scheme in a header that these proxies write. List networks and addresses as for
    /// [`ClientAddress::behind`](crate::ClientAddress::behind).
    ///
    /// Choose the header that your proxies set on every request. In one that they pass on
    /// unchanged, a client can write any scheme.
    ///
    /// ```
    /// use tower_api_key::{ConfigError, TransportSource};
    ///
    /// # fn main() -> Result<(), ConfigError> {
    /// let common = TransportSource::behind(["10.0.0.0/24"]).x_forwarded_proto()?;
    /// let rfc7239 = TransportSource::behind(["10.0.0.0/24"]).forwarded()?;
    /// let other = TransportSource::behind(["10.0.0.0/24"]).header("x-forwarded-scheme")?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn behind<P: AsRef<str>>(proxies: impl IntoIterator<Item = P>) -> BehindTlsProxies {
        BehindTlsProxies(Proxies::parse(proxies))
    }

    /// Returns the transport of a request, or `None` if it is unknown.
    ///
    /// ```
    /// use http::Request;
    /// use tower_api_key::{TransportSource, transport::Transport};
    ///
    /// let source = TransportSource::server();
    /// let mut request = Request::get("/links").body(())?;
    /// assert_eq!(source.find(&request), None);
    /// request.extensions_mut().insert(Transport::Tls);
    /// assert_eq!(source.find(&request), Some(Transport::Tls));
    /// # Ok::<(), http::Error>(())
    /// ```
    pub fn find<B>(&self, request: &Request<B>) -> Option<Transport> {
        match self.word(request) {
            Word::Proxy(transport) | Word::Uri(transport) => transport,
            Word::Server(transport) => Some(transport),
        }
    }

    fn word<B>(&self, request: &Request<B>) -> Word {
        let extensions = request.extensions();
        let is_proxy = |forwarding: &&Forwarding| {
            peer(extensions).is_some_and(|peer| forwarding.proxies.contains(peer.to_canonical()))
        };
        match (self.0.as_ref().filter(is_proxy), extensions.get()) {
            (Some(forwarding), _) => Word::Proxy(forwarding.transport(request.headers())),
            (None, Some(transport)) => Word::Server(*transport),
            (None, None) => Word::Uri(request.uri().scheme_str().and_then(of_scheme)),
        }
    }

    /// Returns whether a listed proxy or the server says that the request came in clear text. A
    /// proxy over cleartext HTTP/2 that is not listed writes the scheme `http` into the URI of each
    /// request, so a URI exposes no key.
    pub(crate) fn exposes<B>(&self, request: &Request<B>) -> bool {
        matches!(self.word(request), Word::Proxy(Some(Transport::Clear)) | Word::Server(Transport::Clear))
    }
}

// === impl BehindTlsProxies ===

impl BehindTlsProxies {
    /// Reads `X-Forwarded-Proto`: `https` or `http`. A list of several is TLS only if each is.
    ///
    /// # Errors
    ///
    /// Returns [`ConfigError::Proxies`], as [`ClientAddress`](crate::ClientAddress) does.
    pub fn x_forwarded_proto(self) -> Result<TransportSource, ConfigError> {
        self.reading(HeaderName::from_static("x-forwarded-proto"), Form::Scheme)
    }

    /// Reads `Forwarded` (RFC 7239): the parameter `proto` of the element whose `for` is the
    /// client. That is the last one which is not a listed proxy.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`x_forwarded_proto`](Self::x_forwarded_proto).
    pub fn forwarded(self) -> Result<TransportSource, ConfigError> {
        self.reading(FORWARDED, Form::Forwarded)
    }

    /// Reads another header, in the form of `X-Forwarded-Proto`.
    ///
    /// # Errors
    ///
    /// Returns [`ConfigError::AddressHeader`] if the text is not a header name, and the errors of
    /// [`x_forwarded_proto`](Self::x_forwarded_proto).
    pub fn header(self, name: &str) -> Result<TransportSource, ConfigError> {
        let header = name.parse().map_err(|_| ConfigError::AddressHeader(name.to_owned()))?;
        self.reading(header, Form::Scheme)
    }

    fn reading(self, header: HeaderName, form: Form) -> Result<TransportSource, ConfigError> {
        Ok(TransportSource(Some(Forwarding { proxies: self.0?, header, form })))
    }
}

// === impl Forwarding ===

impl Forwarding {
    fn transport(&self, headers: &HeaderMap) -> Option<Transport> {
        let Self { proxies, header, form } = self;
        match form {
            Form::Forwarded => of_scheme(proxies.client(headers, header, forwarded_element)?.1?),
            Form::Scheme => {
                let entries = entries_from_last(headers, header);
                entries.map(|entry| of_scheme(str::from_utf8(entry).ok()?)).reduce(weaker)?
            }
        }
    }
}

/// Returns the transport of a request that has passed both: clear text if one is, and unknown if
/// one is not known.
fn weaker(one: Option<Transport>, other: Option<Transport>) -> Option<Transport> {
    match (one, other) {
        (Some(Transport::Clear), _) | (_, Some(Transport::Clear)) => Some(Transport::Clear),
        (Some(Transport::Tls), Some(Transport::Tls)) => Some(Transport::Tls),
        (None, _) | (_, None) => None,
    }
}

/// Returns the transport of a URI scheme.
fn of_scheme(scheme: &str) -> Option<Transport> {
    let is = |names: [&str; 2]| names.iter().any(|name| scheme.trim_matches([' ', '\t']).eq_ignore_ascii_case(name));
    if is(["https", "wss"]) {
        Some(Transport::Tls)
    } else if is(["http", "ws"]) {
        Some(Transport::Clear)
    } else {
        None
    }
}
