//! Tests `require_tls`: which requests are in clear text, and that all of them are rejected alike.

mod exposed;
mod rejections;
mod sources;

use http::Request;
use tower_api_key::{TransportSource, address::PeerAddress, transport::Transport};

use crate::support::{Api, Body, bearer};

/// The network of the proxies.
const PROXIES: [&str; 2] = ["10.0.0.0/24", "fd00:a::/64"];

const PROXY: &str = "10.0.0.2";

/// A peer that is no proxy.
const CLIENT: &str = "203.0.113.9";

fn x_forwarded_proto() -> TransportSource {
    TransportSource::behind(PROXIES).x_forwarded_proto().unwrap()
}

fn from(peer: &str, mut request: Request<Body>) -> Request<Body> {
    request.extensions_mut().insert(PeerAddress(peer.parse().unwrap()));
    request
}

fn over(transport: Transport, mut request: Request<Body>) -> Request<Body> {
    request.extensions_mut().insert(transport);
    request
}
