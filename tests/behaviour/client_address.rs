//! Tests `ClientAddress`: which address a request comes from, and what no client can forge.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue, Request};
use tower_api_key::{ClientAddress, address::PeerAddress};

mod bypasses;
mod forwarded;
mod peer;
mod properties;
mod settings;

/// The network of the proxies.
const PROXIES: [&str; 2] = ["10.0.0.0/24", "fd00:a::/64"];

/// A proxy.
const PROXY: &str = "10.0.0.2";

/// The address that a proxy sees and writes.
const CLIENT: &str = "203.0.113.9";

/// The address that a client would like to have.
const FORGED: &str = "192.0.2.66";

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn x_forwarded_for() -> ClientAddress {
    ClientAddress::behind(PROXIES).x_forwarded_for().unwrap()
}

fn forwarded() -> ClientAddress {
    ClientAddress::behind(PROXIES).forwarded().unwrap()
}

/// Returns the address of a request from `peer` with these lines of headers.
fn find<V: AsRef<[u8]>>(source: &ClientAddress, peer: &str, lines: &[(&str, V)]) -> Option<IpAddr> {
    let mut request = Request::new(());
    request.extensions_mut().insert(PeerAddress(ip(peer)));
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        let name: HeaderName = name.parse().unwrap();
        headers.append(name, HeaderValue::from_bytes(value.as_ref()).unwrap());
    }
    source.find(request.extensions(), &headers)
}

/// Returns the address of a request from [`PROXY`] with this `X-Forwarded-For`.
fn behind_proxy(value: impl AsRef<[u8]>) -> Option<IpAddr> {
    find(&x_forwarded_for(), PROXY, &[("x-forwarded-for", value)])
}

/// Returns the address of a request from [`PROXY`] with this `Forwarded`.
fn behind_rfc7239(value: impl AsRef<[u8]>) -> Option<IpAddr> {
    find(&forwarded(), PROXY, &[("forwarded", value)])
}
