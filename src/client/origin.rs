//! Whom a key is for: a scheme, a host and a port (RFC 6454 §4), out of a URL or not at all.

use std::{fmt, net::Ipv6Addr};

use http::Uri;

use crate::error::ConfigError;

/// A layer's own, or that of a request, with its host borrowed.
pub(super) struct Origin<H = String> {
    scheme: &'static str,
    host: Host<H>,
    port: u16,
}

/// A name, or an IPv6 address, which has many spellings.
enum Host<H> {
    Name(H),
    V6(Ipv6Addr),
}

const SCHEMES: [(&str, u16); 4] = [("http", 80), ("https", 443), ("ws", 80), ("wss", 443)];

// === impl Origin ===

impl Origin {
    /// An origin, and nothing else: no user, no path but `/`, no query, no fragment.
    pub(super) fn parse(text: &str) -> Result<Self, ConfigError> {
        let uri: Uri = text.parse().map_err(|_| ConfigError::Origin)?;
        let Origin { scheme, host, port } = Origin::of(&uri).ok_or(ConfigError::Origin)?;
        // `Uri` forgets a fragment.
        if uri.path() != "/" || text.contains(['?', '#']) {
            return Err(ConfigError::Origin);
        }
        let host = match host {
            Host::Name(name) => Host::Name(name.to_ascii_lowercase()),
            Host::V6(address) => Host::V6(address),
        };
        Ok(Self { scheme, host, port })
    }

    /// Whether a request for `uri` goes to this origin. What cannot be told does not.
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
    /// Reads the authority itself: [`Uri`] lets `https://host:80x` and `https://a[::1]` pass, and finds a host and no port in them. Whoever
    /// reads them otherwise would send the key elsewhere.
    fn of(uri: &'u Uri) -> Option<Self> {
        // A path without its slash would be read as a part of the authority, once it is text again.
        let scheme = uri.scheme_str().filter(|_| uri.path().starts_with('/'))?;
        let &(scheme, default) = SCHEMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(scheme))?;
        let authority = uri.authority()?.as_str();
        // RFC 9110 §4.2.4: a user is an error, for it "is likely being used to obscure the authority".
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
