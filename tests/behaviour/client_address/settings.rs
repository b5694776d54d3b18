//! Wrong settings of an address source.

use tower_api_key::ConfigError;

use super::*;

#[test]
fn a_text_that_is_no_network_is_an_error_that_repeats_it() {
    for text in [
        "",
        "10.0.0.0/",
        "/8",
        "10.0.0.0/33",
        "10.0.0.0/-1",
        "10.0.0.0/+8",
        "10.0.0.0/08",
        "10.0.0.0/8/8",
        "10.0.0.0/255.0.0.0",
        "10.0.0/8",
        "10.0.0.0/4294967304",
        "fd00::/129",
        "fd00::/x",
        "fe80::1%eth0",
        "[fd00::1]",
        "10.0.0.1:80",
        " 10.0.0.1",
        "10.0.0.0 /8",
        "proxy.example",
        "0.0.0.0/0",
        "::/0",
        "::ffff:0:0/96",
        // Bits after the prefix: the network is another one than it looks like.
        "10.0.0.1/8",
        "10.128.0.0/8",
        "fd00::1/8",
        "::ffff:10.0.0.1/104",
        "fd00:a::1:0/64",
    ] {
        let error = ClientAddress::behind(["192.0.2.1", text]).x_forwarded_for().unwrap_err();
        assert!(matches!(&error, ConfigError::Proxies(repeated, _) if repeated == text), "{text}: {error:?}");
        assert!(error.to_string().starts_with(&format!("proxies: {text:?}: ")), "{error}");
        assert_eq!(ClientAddress::behind([text]).forwarded().unwrap_err(), error);
        assert_eq!(ClientAddress::behind([text]).header("x-real-ip").unwrap_err(), error);
    }
}

#[test]
fn an_empty_list_of_proxies_is_an_error() {
    let none: [&str; 0] = [];
    assert!(matches!(ClientAddress::behind(none).forwarded(), Err(ConfigError::Proxies(..))));
}

#[test]
fn a_header_that_is_no_name_is_an_error() {
    for name in ["", "x real ip", "x-real-ip:", "ü"] {
        let error = ClientAddress::behind([PROXY]).header(name).unwrap_err();
        assert_eq!(error, ConfigError::AddressHeader(name.to_owned()));
    }
}

#[test]
fn a_network_contains_its_first_and_last_address_and_no_other() {
    for (network, inside, outside) in [
        ("10.0.0.0/8", ["10.0.0.0", "10.255.255.255"], ["9.255.255.255", "11.0.0.0"]),
        ("10.1.2.4/31", ["10.1.2.4", "10.1.2.5"], ["10.1.2.3", "10.1.2.6"]),
        ("10.1.2.4", ["10.1.2.4", "::ffff:10.1.2.4"], ["10.1.2.3", "10.1.2.5"]),
        ("10.1.2.4/32", ["10.1.2.4", "::ffff:a01:204"], ["10.1.2.3", "::10.1.2.4"]),
        ("128.0.0.0/1", ["128.0.0.0", "255.255.255.255"], ["127.255.255.255", "::8000:0"]),
        ("fd00::/8", ["fd00::", "fdff:ffff::1"], ["fcff::", "fe00::"]),
        ("2001:db8::/64", ["2001:db8::", "2001:db8::ffff:1:2:3"], ["2001:db8:0:1::", "2001:db7:ffff:ffff::"]),
        ("::1", ["::1", "0:0:0:0:0:0:0:1"], ["::2", "0.0.0.1"]),
        // A short prefix of IPv6 has the mapped addresses in it, but no IPv4 address.
        ("::/1", ["::2", "7fff::"], ["203.0.113.9", "8000::"]),
        ("::ffff:10.0.0.0/104", ["10.0.0.0", "10.255.255.255"], ["11.0.0.0", "a00::"]),
    ] {
        let source = ClientAddress::behind([network]).x_forwarded_for().unwrap();
        let is_proxy = |peer| find(&source, peer, &[("x-forwarded-for", "5.5.5.5")]) == Some(ip("5.5.5.5"));
        for peer in inside {
            assert!(is_proxy(peer), "{network} {peer}");
        }
        for peer in outside {
            assert!(!is_proxy(peer), "{network} {peer}");
        }
    }
}
