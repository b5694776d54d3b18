//! What holds for every header.

use proptest::{collection::vec, prelude::*};

use super::*;

/// Bytes that a header may have.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let any =
        vec(any::<u8>().prop_filter("a header", |byte| *byte == b'\t' || (*byte >= b' ' && *byte != 0x7f)), 0..80);
    prop_oneof![any, text().prop_map(String::into_bytes)]
}

/// Text of the pieces that forwarding headers consist of.
fn text() -> impl Strategy<Value = String> {
    let pieces = [
        "a,for=192.0.2.66;x=",
        "for=",
        "FOR=",
        "10.0.0.2",
        "192.0.2.66",
        "::ffff:10.0.0.3",
        "[2001:db8::1]",
        ":80",
        "\"",
        "\\",
        ",",
        ", ",
        ";",
        "=",
        " ",
        "unknown",
        "_x",
        "host=",
        "proto=https",
        "%eth0",
        "fd00:a::1",
        "\t",
        "for=\"[fd00:a::1]:80\"",
    ];
    vec(prop::sample::select(pieces.to_vec()), 0..14).prop_map(|pieces| pieces.concat())
}

/// What trusted proxies append: addresses of proxies, or none.
fn hops() -> impl Strategy<Value = Vec<&'static str>> {
    vec(prop::sample::select(&["10.0.0.3", "fd00:a::1", "::ffff:10.0.0.7"][..]), 0..4)
}

fn clients() -> impl Strategy<Value = IpAddr> {
    prop_oneof![any::<[u8; 4]>().prop_map(IpAddr::from), any::<[u8; 16]>().prop_map(IpAddr::from)]
        .prop_map(|address| address.to_canonical())
        .prop_filter("no proxy", |address| {
            // The walk returns the peer if it is no proxy.
            find::<&str>(&x_forwarded_for(), &address.to_string(), &[]) == Some(*address)
        })
}

fn quoted(address: &str) -> String {
    if address.contains(':') { format!("for=\"[{address}]:80\"") } else { format!("for={address}") }
}

proptest! {
    #[test]
    fn no_bytes_panic_and_none_make_a_proxy_the_client(lines in vec(bytes(), 0..4)) {
        let sources = [x_forwarded_for(), forwarded(), ClientAddress::behind(PROXIES).header("x-real-ip").unwrap()];
        for (source, name) in sources.iter().zip(["x-forwarded-for", "forwarded", "x-real-ip"]) {
            let lines: Vec<_> = lines.iter().map(|line| (name, line)).collect();
            if let Some(found) = find(source, PROXY, &lines) {
                let is_client = find::<&str>(source, &found.to_string(), &[]) == Some(found);
                prop_assert!(is_client && found == found.to_canonical(), "{found}");
            }
        }
    }

    /// Proxies append the client and themselves, to the line of the client or in lines of their own.
    #[test]
    fn whatever_a_client_sends_first_its_address_is_the_same(
        sent in vec(bytes(), 0..4), client in clients(), hops in hops(), in_lines: bool,
    ) {
        let chain: Vec<String> = std::iter::once(client.to_string()).chain(hops.iter().map(ToString::to_string)).collect();
        let rfc7239 = chain.iter().map(|address| quoted(address)).collect();
        for (source, name, added) in [(x_forwarded_for(), "x-forwarded-for", chain), (forwarded(), "forwarded", rfc7239)] {
            let mut lines = sent.clone();
            if in_lines || lines.is_empty() {
                lines.extend(added.into_iter().map(String::into_bytes));
            } else {
                let last = lines.last_mut().unwrap();
                last.extend_from_slice(format!(", {}", added.join(", ")).as_bytes());
            }
            let lines: Vec<_> = lines.iter().map(|line| (name, line)).collect();
            prop_assert_eq!(find(&source, PROXY, &lines), Some(client), "{:?}", lines);
        }
    }

    /// A proxy that quotes a `Host` as RFC 9110 says never makes it an address.
    #[test]
    fn a_quoted_host_is_never_an_address(host in text(), sent in text(), is_first: bool) {
        let escaped = host.replace('\\', "\\\\").replace('"', "\\\"");
        let element = if is_first {
            format!("host=\"{escaped}\";for={CLIENT}")
        } else {
            format!("for={CLIENT};host=\"{escaped}\";proto=https")
        };
        let found = behind_rfc7239(format!("{sent}, {element}"));
        prop_assert!(found.is_none() || found == Some(ip(CLIENT)), "{element}: {found:?}");
    }
}
