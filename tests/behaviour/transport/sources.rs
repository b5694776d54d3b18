//! Where the transport of a request is read.

use tower_api_key::ConfigError;

use super::*;
use crate::support::{LIVE, add, path};

use Transport::{Clear, Tls};

/// Returns the transport of a request from `peer` with these lines of headers.
fn find<V: AsRef<[u8]>>(source: &TransportSource, peer: &str, lines: &[(&str, V)]) -> Option<Transport> {
    let mut request = from(peer, bearer(LIVE));
    for (name, value) in lines {
        add(&mut request, name, value);
    }
    source.find(&request)
}

#[test]
fn the_server_says_it_by_an_extension_and_else_the_uri_does() {
    for source in [TransportSource::server(), x_forwarded_proto()] {
        for (uri, said_by_uri) in [
            ("/links", None),
            ("http://api.example/links", Some(Clear)),
            ("https://api.example/links", Some(Tls)),
            ("HTTPS://api.example/links", Some(Tls)),
            ("wss://api.example/links", Some(Tls)),
            ("ws://api.example/links", Some(Clear)),
            ("ftp://api.example/links", None),
            ("httpss://api.example/links", None),
        ] {
            let request = || path(bearer(LIVE), uri);
            assert_eq!(source.find(&request()), said_by_uri, "{uri}");
            assert_eq!(source.find(&over(Clear, request())), Some(Clear), "{uri}");
            assert_eq!(source.find(&over(Tls, request())), Some(Tls), "{uri}");
        }
    }
}

#[test]
fn the_header_of_a_listed_proxy_says_it() {
    let source = x_forwarded_proto();
    for (value, transport) in [
        ("https", Some(Tls)),
        ("HTTPS", Some(Tls)),
        (" https\t", Some(Tls)),
        ("wss", Some(Tls)),
        ("http", Some(Clear)),
        ("ws", Some(Clear)),
        ("https, https", Some(Tls)),
        ("https,http", Some(Clear)),
        ("http, https", Some(Clear)),
        ("", None),
        ("https,", None),
        (",https", None),
        ("https, unknown", None),
        ("unknown", None),
        ("https://", None),
        ("\"https\"", None),
        ("https;", None),
        ("on", None),
        ("443", None),
        ("h2", None),
    ] {
        for peer in [PROXY, "::ffff:10.0.0.2", "fd00:a::2"] {
            assert_eq!(find(&source, peer, &[("x-forwarded-proto", value)]), transport, "{peer} {value:?}");
        }
    }
    assert_eq!(find(&source, PROXY, &[("x-forwarded-proto", "https"), ("x-forwarded-proto", "http")]), Some(Clear));
    assert_eq!(find(&source, PROXY, &[("x-forwarded-proto", "https"), ("x-forwarded-proto", "")]), None);
    assert_eq!(find(&source, PROXY, &[("x-forwarded-proto", &b"https\xff"[..])]), None);
    let none: &[(&str, &str)] = &[];
    assert_eq!(find(&source, PROXY, none), None, "the proxy sends no header");
}

#[test]
fn a_header_of_any_other_peer_says_nothing() {
    let source = x_forwarded_proto();
    for peer in [CLIENT, "10.0.1.2", "127.0.0.1", "fd00:a:0:1::2"] {
        for value in ["https", "http"] {
            assert_eq!(find(&source, peer, &[("x-forwarded-proto", value)]), None, "{peer}");
        }
    }
    let mut unknown = bearer(LIVE);
    add(&mut unknown, "x-forwarded-proto", "https");
    assert_eq!(source.find(&unknown), None, "an unknown peer");
    assert_eq!(TransportSource::server().find(&from(PROXY, unknown)), None, "no header is read");
}

/// What the proxy says counts more than a URI, which the client writes.
#[test]
fn behind_a_proxy_neither_the_uri_nor_the_extension_counts() {
    for uri in ["http://api.example/", "https://api.example/"] {
        for transport in [Clear, Tls] {
            let mut request = from(PROXY, over(transport, path(bearer(LIVE), uri)));
            assert_eq!(x_forwarded_proto().find(&request), None, "the proxy sends no header");
            add(&mut request, "x-forwarded-proto", "http");
            assert_eq!(x_forwarded_proto().find(&request), Some(Clear));
        }
    }
}

#[test]
fn no_other_header_than_the_chosen_one_is_read() {
    let others = [
        "forwarded",
        "x-forwarded-scheme",
        "x-forwarded-protocol",
        "x-forwarded-ssl",
        "x-url-scheme",
        "front-end-https",
        "x_forwarded_proto",
        "cf-visitor",
        "x-forwarded-port",
        "x-scheme",
    ];
    for other in others {
        for value in ["https", "on", "443", "proto=https", "for=203.0.113.9;proto=https", r#"{"scheme":"https"}"#] {
            assert_eq!(find(&x_forwarded_proto(), PROXY, &[(other, value)]), None, "{other}: {value}");
            let lines = [(other, value), ("x-forwarded-proto", "http")];
            assert_eq!(find(&x_forwarded_proto(), PROXY, &lines), Some(Clear), "{other}: {value}");
        }
    }
    let other = TransportSource::behind(PROXIES).header("X-Forwarded-Scheme").unwrap();
    assert_eq!(find(&other, PROXY, &[("x-forwarded-scheme", "https"), ("x-forwarded-proto", "http")]), Some(Tls));
}

/// The element of the client is the last one whose `for` is no listed proxy. Elements to its left
/// are what the client has sent.
#[test]
fn the_proto_of_the_client_is_read_from_right_to_left() {
    let source = TransportSource::behind(PROXIES).forwarded().unwrap();
    for (value, transport) in [
        ("for=203.0.113.9;proto=https", Some(Tls)),
        ("for=203.0.113.9;proto=http", Some(Clear)),
        ("for=203.0.113.9;Proto=HTTPS;by=10.0.0.2;host=api.example", Some(Tls)),
        ("proto=https;for=203.0.113.9", Some(Tls)),
        (r#"for="203.0.113.9:4711";proto="https""#, Some(Tls)),
        (r#"for="[2001:db8::9]";proto=https"#, Some(Tls)),
        // The hop between two proxies may be in clear text; that of the client may not.
        ("for=203.0.113.9;proto=https, for=10.0.0.3;proto=http", Some(Tls)),
        ("for=203.0.113.9;proto=http, for=10.0.0.3;proto=https", Some(Clear)),
        // The client has sent the first element.
        ("for=192.0.2.66;proto=https, for=203.0.113.9;proto=http", Some(Clear)),
        ("for=192.0.2.66;proto=https, for=203.0.113.9", None),
        ("proto=https, for=203.0.113.9;proto=http", Some(Clear)),
        ("proto=https", None),
        ("for=203.0.113.9", None),
        ("for=unknown;proto=https", None),
        ("for=_hidden;proto=https", None),
        ("for=203.0.113.9;proto=https;proto=http", None),
        ("for=203.0.113.9;proto=http;proto=https", None),
        ("for=203.0.113.9;for=203.0.113.9;proto=https", None),
        ("for=203.0.113.9;proto=", None),
        ("for=203.0.113.9;proto", None),
        (r#"for=203.0.113.9;proto="https"#, None),
        (r#"for=203.0.113.9;proto="ht\tps""#, None),
        ("for=203.0.113.9;proto=\"https, for=203.0.113.9;proto=http\"", None),
        ("for=10.0.0.3;proto=https", None),
        ("", None),
    ] {
        assert_eq!(find(&source, PROXY, &[("forwarded", value)]), transport, "{value}");
        assert_eq!(find(&source, CLIENT, &[("forwarded", value)]), None, "{value}");
    }
    let lines = [("forwarded", "for=192.0.2.66;proto=https"), ("forwarded", "for=203.0.113.9;proto=http")];
    assert_eq!(find(&source, PROXY, &lines), Some(Clear), "two lines are one list");
    let long = vec!["for=10.0.0.3;proto=https"; 32].join(", ");
    let long = format!("for=203.0.113.9;proto=https, {long}");
    assert_eq!(find(&source, PROXY, &[("forwarded", long)]), None, "too many proxies");
}

#[test]
fn a_wrong_list_of_proxies_or_header_is_an_error() {
    let proxies = |list: &[&str]| TransportSource::behind(list.iter()).x_forwarded_proto().map(drop);
    assert!(matches!(proxies(&[]), Err(ConfigError::Proxies(..))));
    for wrong in ["0.0.0.0/0", "::/0", "localhost", "10.0.0.1/8", ""] {
        assert!(matches!(proxies(&[wrong]), Err(ConfigError::Proxies(..))), "{wrong}");
    }
    let header = TransportSource::behind(PROXIES).header("x forwarded").map(drop);
    assert_eq!(header, Err(ConfigError::AddressHeader("x forwarded".into())));
}
