//! The address of the client that sent a request.
//!
//! A [`ClientAddress`] reads it from the connection, or from a header that a trusted proxy writes:
//!
//! ```
//! use tower_api_key::ClientAddress;
//!
//! # fn main() -> Result<(), tower_api_key::ConfigError> {
//! // Clients connect to this server.
//! let address = ClientAddress::peer();
//! // nginx on this machine and load balancers in 10.0.0.0/24 append to X-Forwarded-For.
//! let address = ClientAddress::behind(["127.0.0.1", "10.0.0.0/24"]).x_forwarded_for()?;
//! # Ok(())
//! # }
//! ```
//!
//! # Which header is trusted
//!
//! Any client can send any forwarding header. So a header is read only if the *peer*, which opened
//! the connection, is a listed proxy; the address of every other peer is the address itself. Only
//! the one header that you choose is read.
//!
//! A list (`Forwarded`, `X-Forwarded-For`) is read from right to left, because proxies append to
//! it. Entries that are listed proxies are skipped. The first other entry is the client, and the
//! entries to its left, which the client may have written, are never read. Several lines of the
//! header are one list.
//!
//! # Unknown addresses
//!
//! The address is unknown (`None`), and never a guess, if
//!
//! - the server inserts neither a [`PeerAddress`] nor axum's `ConnectInfo<SocketAddr>`,
//! - a listed proxy sends no header, or a list with listed proxies only: a proxy is not a client,
//! - an entry is reached that is not an address: empty, `unknown`, `_hidden`, a host name, an IPv6
//!   address with a zone (`fe80::1%eth0`), an IPv4 address with a leading zero,
//! - an element of `Forwarded` is reached that breaks RFC 7239, repeats `for`, or has a comma, a
//!   semicolon or a backslash in a quoted string,
//! - 32 listed proxies are reached,
//! - a header with a single address has two lines, more than one address, or a listed proxy.
//!
//! A key with a list of [allowed addresses](crate::KeyRecord::with_allowed_addresses) is rejected
//! at an unknown address. A limit on failures (`limit::FailureLimit`) counts all unknown ones
//! together.
//!
//! An IPv4 address and its IPv4-mapped form (`::ffff:192.0.2.7`) are the same address everywhere:
//! in the peer, in headers and in the list of proxies. The result is in the IPv4 form.

mod entry;
mod list;
mod network;
mod proxies;

use std::net::IpAddr;

use http::{Extensions, HeaderMap, HeaderName, header::FORWARDED};

use crate::error::ConfigError;
pub(crate) use entry::forwarded_element;
pub(crate) use list::AddressList;
pub use network::{InvalidNetwork, Network};
pub(crate) use network::{bits, canonical, intersection, is_within};
pub(crate) use proxies::{Proxies, entries_from_last};

/// Reads the address of the client from the connection, or from a header of a trusted proxy. The
/// [module](self) has the rules, and an example.
#[derive(Clone, Debug)]
#[must_use = "an address source does nothing by itself"]
pub struct ClientAddress(Option<Forwarding>);

/// The proxies whose header is read. [`ClientAddress::behind`] makes it, and its methods choose the
/// header.
#[derive(Clone, Debug)]
#[must_use = "choose the header that the proxies write"]
pub struct BehindProxies(Result<Proxies, ConfigError>);

/// The address of the peer, which opened the connection: a request extension.
///
/// With the feature `axum`, the layer also reads axum's `ConnectInfo<SocketAddr>`, which
/// `Router::into_make_service_with_connect_info` inserts. Insert this type with any other server,
/// or if a PROXY protocol says who the peer is. It takes precedence.
///
/// ```
/// use std::net::{IpAddr, Ipv4Addr};
/// use http::Request;
/// use tower_api_key::{ClientAddress, address::PeerAddress};
///
/// let peer = IpAddr::from(Ipv4Addr::new(192, 0, 2, 7));
/// let mut request = Request::new(());
/// request.extensions_mut().insert(PeerAddress(peer)); // where your server accepts a connection
/// assert_eq!(ClientAddress::peer().find(request.extensions(), request.headers()), Some(peer));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerAddress(pub IpAddr);

/// A header, and the proxies that write it.
#[derive(Clone, Debug)]
struct Forwarding {
    proxies: Proxies,
    header: HeaderName,
    form: Form,
}

#[derive(Clone, Copy, Debug)]
enum Form {
    /// A list of RFC 7239.
    Forwarded,
    /// A list of addresses.
    Addresses,
    /// One address in one line.
    Single,
}

// === impl ClientAddress ===

impl ClientAddress {
    /// Uses the address of the peer, which is the client if no proxy is in front of this server.
    /// Reads no header. See [`PeerAddress`].
    pub fn peer() -> Self {
        Self(None)
    }

    /// The address in a header that these proxies write. List the networks of your proxies as
    /// `10.0.0.0/24` or `fd00::/64`, and single addresses as `127.0.0.1`. List no network in which
    /// clients are too: they could then send any address.
    ///
    /// Choose the header that your proxies write. In one that they pass on unchanged, a client can
    /// write any address.
    ///
    /// ```
    /// use tower_api_key::{ClientAddress, ConfigError};
    ///
    /// # fn main() -> Result<(), ConfigError> {
    /// let rfc7239 = ClientAddress::behind(["10.0.0.0/24"]).forwarded()?;
    /// let common = ClientAddress::behind(["10.0.0.0/24"]).x_forwarded_for()?;
    /// let cloudflare = ClientAddress::behind(["173.245.48.0/20"]).header("cf-connecting-ip")?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn behind<P: AsRef<str>>(proxies: impl IntoIterator<Item = P>) -> BehindProxies {
        BehindProxies(Proxies::parse(proxies))
    }

    /// Returns the address of the client in its canonical form, or `None` if it is unknown. The
    /// [module](self) lists the cases. [`PeerAddress`] has an example.
    pub fn find(&self, extensions: &Extensions, headers: &HeaderMap) -> Option<IpAddr> {
        let peer = peer(extensions)?.to_canonical();
        match &self.0 {
            Some(forwarding) if forwarding.proxies.contains(peer) => forwarding.client(headers),
            Some(_) | None => Some(peer),
        }
    }

    /// Returns the same address as bits, see [`bits`]. An `IpAddr` is written in pieces, and the
    /// processor stalls if it loads it as a whole right after.
    #[inline]
    pub(crate) fn find_bits(&self, extensions: &Extensions, headers: &HeaderMap) -> Option<u128> {
        match (&self.0, extensions.get()) {
            (None, Some(PeerAddress(address))) => Some(bits(*address)),
            _ => self.find(extensions, headers).map(bits),
        }
    }
}

// === impl BehindProxies ===

impl BehindProxies {
    /// Reads `Forwarded` (RFC 7239): the parameter `for` of its elements.
    ///
    /// # Errors
    ///
    /// Returns [`ConfigError::Proxies`] if the list of proxies is empty, or has a text that is not
    /// a network, a network with bits after its prefix, or every address (`0.0.0.0/0`, `::/0`).
    pub fn forwarded(self) -> Result<ClientAddress, ConfigError> {
        self.reading(FORWARDED, Form::Forwarded)
    }

    /// Reads `X-Forwarded-For`: a list of addresses, with or without ports.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`forwarded`](Self::forwarded).
    pub fn x_forwarded_for(self) -> Result<ClientAddress, ConfigError> {
        self.reading(HeaderName::from_static("x-forwarded-for"), Form::Addresses)
    }

    /// Reads a header with a single address, which the proxies replace: `CF-Connecting-IP`,
    /// `Fly-Client-IP`, `X-Real-IP`.
    ///
    /// # Errors
    ///
    /// Returns [`ConfigError::AddressHeader`] if the text is not a header name, and the errors of
    /// [`forwarded`](Self::forwarded).
    pub fn header(self, name: &str) -> Result<ClientAddress, ConfigError> {
        let header = name.parse().map_err(|_| ConfigError::AddressHeader(name.to_owned()))?;
        self.reading(header, Form::Single)
    }

    fn reading(self, header: HeaderName, form: Form) -> Result<ClientAddress, ConfigError> {
        Ok(ClientAddress(Some(Forwarding { proxies: self.0?, header, form })))
    }
}

// === impl Forwarding ===

impl Forwarding {
    /// Returns the last address in the header that is not a listed proxy.
    fn client(&self, headers: &HeaderMap) -> Option<IpAddr> {
        let Self { proxies, header, form } = self;
        let client = match form {
            Form::Forwarded => proxies.client(headers, header, forwarded_element),
            Form::Addresses => proxies.client(headers, header, |entry| Some((entry::address(entry)?, None))),
            Form::Single => {
                let mut lines = headers.get_all(header).iter();
                let address = entry::address(lines.next()?.as_bytes())?;
                return (lines.next().is_none() && !proxies.contains(address)).then_some(address);
            }
        };
        client.map(|(address, _)| address)
    }
}

/// Returns the address of the peer, as the server gives it.
pub(crate) fn peer(extensions: &Extensions) -> Option<IpAddr> {
    if let Some(PeerAddress(address)) = extensions.get() {
        return Some(*address);
    }
    #[cfg(feature = "axum")]
    if let Some(axum::extract::ConnectInfo(address)) =
        extensions.get::<axum::extract::ConnectInfo<std::net::SocketAddr>>()
    {
        return Some(address.ip());
    }
    None
}
