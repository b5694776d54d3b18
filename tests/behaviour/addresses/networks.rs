//! Networks as text, and what they contain.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;
use tower_api_key::address::Network;

fn network(text: &str) -> Network {
    text.parse().unwrap()
}

#[test]
fn a_network_is_shown_as_it_is_written() {
    for (text, shown) in [
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("192.0.2.7", "192.0.2.7"),
        ("192.0.2.7/32", "192.0.2.7"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
        ("::ffff:c000:207", "192.0.2.7"),
        ("::ffff:0:0/96", "0.0.0.0/0"),
        ("2001:DB8:0:0::/32", "2001:db8::/32"),
        ("::1/128", "::1"),
        ("::/0", "::/0"),
        ("::/80", "::/80"),
        ("::/96", "::/96"),
    ] {
        assert_eq!(network(text).to_string(), shown);
        assert_eq!(network(shown), network(text));
    }
}

#[test]
fn a_text_that_can_be_read_in_two_ways_is_no_network() {
    for (text, why) in [
        ("", "write a network as"),
        ("/8", "write a network as"),
        ("10/8", "write a network as"),
        ("10.0.0/24", "write a network as"),
        ("10.0.0.0 /8", "write a network as"),
        (" 10.0.0.0/8", "write a network as"),
        ("010.0.0.0/8", "write a network as"),
        ("10.0.0.256", "write a network as"),
        ("10.0.0.0-10.0.0.9", "write a network as"),
        ("10.0.0.*", "write a network as"),
        ("localhost", "write a network as"),
        ("*", "write a network as"),
        ("fe80::1%eth0", "write a network as"),
        ("[::1]", "write a network as"),
        ("192.0.2.7:80", "write a network as"),
        ("10.0.0.0/", "is not a number"),
        ("10.0.0.0/x", "is not a number"),
        ("10.0.0.0/255.0.0.0", "is not a number"),
        ("10.0.0.0/8/8", "is not a number"),
        ("10.0.0.0/-1", "is not a number"),
        ("10.0.0.0/33", "at most 32"),
        ("10.0.0.0/08", "at most 32"),
        ("10.0.0.0/+8", "at most 32"),
        ("::/129", "at most 32 for IPv4 and 128"),
        ("10.0.0.1/8", "bits after its prefix"),
        ("192.0.2.7/31", "bits after its prefix"),
        ("1.0.0.0/0", "bits after its prefix"),
        ("2001:db8::1/32", "bits after its prefix"),
        ("::ffff:0:0/0", "bits after its prefix"),
    ] {
        let error = text.parse::<Network>().unwrap_err().to_string();
        assert!(error.contains(why), "{text:?}: {error}");
    }
}

#[test]
fn an_error_does_not_repeat_the_text() {
    for text in ["a-key-in-the-wrong-field", "10.0.0.0/a-key-in-the-wrong-field"] {
        assert!(!format!("{0} {0:?}", text.parse::<Network>().unwrap_err()).contains("a-key"));
    }
}

#[test]
fn a_list_of_texts_is_wrong_if_one_of_them_is() {
    assert_eq!(Network::list(["10.0.0.0/8", "::1"]), Ok(vec![network("10.0.0.0/8"), network("::1")]));
    assert_eq!(Network::list::<&str>([]), Ok(vec![]));
    assert!(Network::list(["10.0.0.0/8", "all"]).is_err());
}

/// Networks near each other, so that they often contain each other: IPv4, mapped, and IPv6.
fn networks() -> impl Strategy<Value = Network> {
    (0_u8..3, any::<u8>(), 0_u32..=32).prop_map(|(family, byte, prefix)| {
        let v4 = u32::from_be_bytes([10, byte & 3, 0, byte]);
        let first = if prefix == 0 { 0 } else { v4 >> (32 - prefix) << (32 - prefix) };
        let v6 = u128::from(first) << 96;
        network(&match family {
            0 => format!("{}/{prefix}", Ipv4Addr::from_bits(first)),
            1 => format!("{}/{}", Ipv4Addr::from_bits(first).to_ipv6_mapped(), prefix + 96),
            _ => format!("{}/{prefix}", Ipv6Addr::from_bits(v6)),
        })
    })
}

fn addresses() -> impl Strategy<Value = IpAddr> {
    (0_u8..4, any::<u8>(), any::<u8>()).prop_map(|(family, one, other)| {
        let v4 = Ipv4Addr::new(10, one & 3, 0, other);
        match family {
            0 => v4.into(),
            1 => v4.to_ipv6_mapped().into(),
            2 => Ipv6Addr::from_bits(u128::from(v4.to_bits()) << 96 | u128::from(one)).into(),
            _ => Ipv6Addr::from_bits(u128::from(other)).into(),
        }
    })
}

/// Compares bit by bit, as the definition of a prefix does.
fn contains_by_definition(text: &str, address: IpAddr) -> bool {
    let (first, prefix) = text.split_once('/').map_or((text, None), |(first, prefix)| (first, Some(prefix)));
    let bits = |address: IpAddr| -> Vec<bool> {
        match address {
            IpAddr::V4(address) => (0..32).map(|bit| address.to_bits() >> (31 - bit) & 1 == 1).collect(),
            IpAddr::V6(address) => (0..128).map(|bit| address.to_bits() >> (127 - bit) & 1 == 1).collect(),
        }
    };
    let (first, address) = (bits(first.parse().unwrap()), bits(address.to_canonical()));
    let prefix = prefix.map_or(first.len(), |prefix| prefix.parse().unwrap());
    first.len() == address.len() && first[..prefix] == address[..prefix]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn a_network_contains_the_addresses_that_begin_with_its_prefix(network in networks(), address in addresses()) {
        prop_assert_eq!(network.contains(address), contains_by_definition(&network.to_string(), address));
        prop_assert_eq!(network.to_string().parse::<Network>(), Ok(network));
    }

    #[test]
    fn a_network_within_another_contains_nothing_more(one in networks(), other in networks(), address in addresses()) {
        if one.is_superset(&other) && other.contains(address) {
            prop_assert!(one.contains(address), "{one} {other} {address}");
        }
        prop_assert!(one.is_superset(&one));
        // Two networks are one in the other, or have no address in common.
        if !one.is_superset(&other) && !other.is_superset(&one) {
            prop_assert!(!(one.contains(address) && other.contains(address)), "{one} {other} {address}");
        }
    }
}
