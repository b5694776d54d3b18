//! Tests the list of addresses from which a key is accepted.

mod bypasses;
mod managed;
mod networks;
mod requests;

use http::Request;
use tower_api_key::{
    ClientAddress, KeyRecord, Reason,
    address::{Network, PeerAddress},
};

use crate::support::{Api, Body, LIVE, Observed, bearer, refused};

/// An address in the list of a key.
const OFFICE: &str = "192.0.2.7";

/// An address that is not.
const STRANGER: &str = "203.0.113.9";

/// The network of the proxies.
const PROXIES: [&str; 1] = ["10.0.0.0/24"];

const PROXY: &str = "10.0.0.2";

fn networks(texts: &[&str]) -> Vec<Network> {
    Network::list(texts).unwrap()
}

/// An API with the key [`LIVE`], which is accepted from these networks only.
fn allowing(list: &[&str]) -> Api {
    Api::new().key("live", LIVE, |record: KeyRecord| record.with_allowed_addresses(networks(list)))
}

/// The same, without a proxy.
fn facing_clients(list: &[&str]) -> Api {
    allowing(list).layer(|layer| layer.client_address(ClientAddress::peer()))
}

fn from(peer: &str, mut request: Request<Body>) -> Request<Body> {
    request.extensions_mut().insert(PeerAddress(peer.parse().unwrap()));
    request
}

fn live_from(peer: &str) -> Request<Body> {
    from(peer, bearer(LIVE))
}

fn wrong_address() -> Observed {
    refused(Reason::WrongAddress, 403)
}

fn unknown_address() -> Observed {
    refused(Reason::UnknownAddress, 403)
}
