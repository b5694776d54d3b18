//! The address of the connection.

use http::Request;
use tower_api_key::ClientAddress;

use super::*;

#[test]
fn the_peer_is_the_client_if_no_proxy_is_listed() {
    let source = ClientAddress::peer();
    for header in ["x-forwarded-for", "forwarded", "x-real-ip", "cf-connecting-ip", "true-client-ip"] {
        assert_eq!(find(&source, CLIENT, &[(header, FORGED)]), Some(ip(CLIENT)), "{header}");
    }
}

#[test]
fn a_server_that_inserts_no_peer_has_unknown_clients_whatever_they_send() {
    let request = Request::builder().header("x-forwarded-for", FORGED).header("forwarded", "for=192.0.2.66");
    let request = request.body(()).unwrap();
    for source in [ClientAddress::peer(), x_forwarded_for(), forwarded()] {
        assert_eq!(source.find(request.extensions(), request.headers()), None);
    }
}

#[test]
fn a_mapped_peer_is_the_ipv4_address() {
    assert_eq!(find::<&str>(&ClientAddress::peer(), "::ffff:203.0.113.9", &[]), Some(ip(CLIENT)));
    assert_eq!(find::<&str>(&ClientAddress::peer(), "::ffff:cb00:7109", &[]), Some(ip(CLIENT)));
    // An address of IPv6 that only looks alike stays.
    assert_eq!(find::<&str>(&ClientAddress::peer(), "::203.0.113.9", &[]), Some(ip("::203.0.113.9")));
}

#[cfg(feature = "axum")]
#[test]
fn axums_connect_info_is_the_peer_and_an_extension_of_ours_takes_precedence() {
    use ::axum::extract::ConnectInfo;
    use http::HeaderMap;
    use std::net::SocketAddr;
    use tower_api_key::address::PeerAddress;

    let mut request = Request::new(());
    let address: SocketAddr = "[fe80::1%7]:4711".parse().unwrap();
    request.extensions_mut().insert(ConnectInfo(address));
    let find = |request: &Request<()>| ClientAddress::peer().find(request.extensions(), &HeaderMap::new());
    assert_eq!(find(&request), Some(ip("fe80::1")));
    request.extensions_mut().insert(PeerAddress(ip(CLIENT)));
    assert_eq!(find(&request), Some(ip(CLIENT)));
}
