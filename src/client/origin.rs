//! The origin to which a key is sent: scheme, host and port (RFC 6454 §4).

use std::{
    fmt,
    net::{Ipv4Addr, Ipv6Addr},
};

use http::Uri;

use crate::error::ConfigError;

/// The origin of a layer, which owns the host, or of a request, which borrows the host.
pub(super) struct Origin<H = String> {
    scheme: &'static str,
    host: Host<H>,
    port: u16,
}

/// A host name, or an IPv6 address. An address is parsed, since it has several spellings.
enum Host<H> {
    Name(H),
    V6(Ipv6Addr),
}

const SCHEMES: [(&str, u16); 4] = [("http", 80), ("https", 443), ("ws", 80), ("wss", 443)];

// === impl Origin ===

impl Origin {
    /// Parses a URL that has only an origin: no user, no query, no fragment, and no path except
    /// `/`.
    pub(super) fn parse(text: &str) -> Result<Self, ConfigError> {
        let uri: Uri = text.parse().map_err(|_| ConfigError::Origin)?;
        let Origin { scheme, host, port } = Origin::of(&uri).ok_or(ConfigError::Origin)?;
        // `Uri` drops a fragment.
        if uri.path() != "/" || text.contains(['?', '#']) {
            return Err(ConfigError::Origin);
        }
        let host = match host {
            Host::Name(name) => Host::Name(name.to_ascii_lowercase()),
            Host::V6(address) => Host::V6(address),
        };
        Ok(Self { scheme, host, port })
    }

    /// Returns whether no network reads what is sent: it is encrypted, or it stays on this machine.
    pub(super) fn is_confidential(&self) -> bool {
        matches!(self.scheme, "https" | "wss") || self.host.is_loopback()
    }

    /// Returns whether a request for `uri` is for this origin. Returns false if the origin of `uri`
    /// is unclear.
    pub(super) fn is_of(&self, uri: &Uri) -> bool {
        let Some(other) = Origin::of(uri) else { return false };
        let same_host = match (&self.host, other.host) {
            (Host::Name(ours), Host::Name(name)) => ours.eq_ignore_ascii_case(name),
            (Host::V6(ours), Host::V6(address)) => *ours == address,
            _ => false,
        };
        self.scheme == other.scheme && same_host && self.port == other.port
    }
}

impl<'u> Origin<&'u str> {
    /// Parses the authority itself. [`Uri`] accepts `https://host:80x` and `https://a[::1]`, with a
    /// host and no port. A client that parses them differently would send the key to another host.
    fn of(uri: &'u Uri) -> Option<Self> {
        // Rejects a path without a leading slash. It would become part of the authority when the
        // URI is formatted.
        let scheme = uri.scheme_str().filter(|_| uri.path().starts_with('/'))?;
        let &(scheme, default) = SCHEMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(scheme))?;
        let authority = uri.authority()?.as_str();
        // RFC 9110 §4.2.4: treat a user as an error, because it "is likely being used to obscure
        // the authority".
        if authority.contains('@') {
            return None;
        }
        let (host, port) = if let Some(rest) = authority.strip_prefix('[') {
            let (address, port) = rest.split_once(']')?;
            (Host::V6(address.parse().ok()?), port)
        } else {
            let (name, port) = authority.split_at(authority.find(':').unwrap_or(authority.len()));
            (Host::Name(name), port)
        };
        if matches!(host, Host::Name(name) if name.is_empty() || name.contains(['[', ']'])) {
            return None;
        }
        let port = match port.strip_prefix(':') {
            None if port.is_empty() => default,
            Some("") => default, // RFC 3986 §3.2.3
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse().ok()?,
            _ => return None,
        };
        Some(Self { scheme, host, port })
    }
}

impl Host<String> {
    /// Returns whether the host is this machine: a loopback address, `localhost`, or a name below
    /// it (RFC 6761 §6.3). The name is in lower case.
    fn is_loopback(&self) -> bool {
        match self {
            Host::V6(address) => address.to_canonical().is_loopback(),
            Host::Name(name) => {
                // `127.1` and `0x7f.1` are no addresses: clients read them in different ways.
                let is_address = name.parse().is_ok_and(|address: Ipv4Addr| address.is_loopback());
                let name = name.strip_suffix('.').unwrap_or(name);
                is_address || name == "localhost" || name.ends_with(".localhost")
            }
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scheme, host, port } = self;
        match host {
            Host::Name(name) => write!(f, "{scheme}://{name}")?,
            Host::V6(address) => write!(f, "{scheme}://[{address}]")?,
        }
        if SCHEMES.contains(&(scheme, *port)) { Ok(()) } else { write!(f, ":{port}") }
    }
}
