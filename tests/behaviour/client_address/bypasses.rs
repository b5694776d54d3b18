//! Ways in which other projects let a client choose its address, by name. Each test names where the
//! bypass was public.

use super::*;

/// `OpenWA` #211, talosctl-oidc #127 and #128, oauth2-proxy #3478, voicemode GHSA-2qvv-vjq9-g5r4,
/// actor-ts #715: the leftmost entry is what the client has sent.
#[test]
fn the_leftmost_entry_is_never_believed() {
    for sent in [FORGED, "127.0.0.1", "10.0.0.2", "::1", "unknown", "", "192.0.2.66, 192.0.2.67"] {
        assert_eq!(behind_proxy(format!("{sent}, {CLIENT}")), Some(ip(CLIENT)), "{sent}");
        assert_eq!(behind_rfc7239(format!("for={sent}, for={CLIENT}")), Some(ip(CLIENT)), "{sent}");
    }
}

/// `OneUptime` #3171: one listed entry anywhere was enough.
#[test]
fn entries_that_are_proxies_left_of_the_client_do_not_matter() {
    assert_eq!(behind_proxy(format!("{FORGED}, 10.0.0.3, {CLIENT}, 10.0.0.4")), Some(ip(CLIENT)));
}

/// Infisical #6645, openvpn-auth-oauth2 #964: the header was read whoever sent it.
#[test]
fn a_peer_that_is_no_proxy_is_the_client_whatever_it_sends() {
    for peer in [CLIENT, "10.0.1.2", "fd00:a:0:1::2", "fd00::a", "11.0.0.2"] {
        assert_eq!(find(&x_forwarded_for(), peer, &[("x-forwarded-for", FORGED)]), Some(ip(peer)));
        assert_eq!(find(&forwarded(), peer, &[("forwarded", "for=192.0.2.66")]), Some(ip(peer)));
        let single = ClientAddress::behind(PROXIES).header("cf-connecting-ip").unwrap();
        assert_eq!(find(&single, peer, &[("cf-connecting-ip", FORGED)]), Some(ip(peer)));
    }
}

/// A mapped address that is compared as text is a proxy that is not recognized, or a client that is
/// not.
#[test]
fn mapped_addresses_are_ipv4_in_the_peer_the_header_and_the_list() {
    let lists = [["10.0.0.0/24"], ["::ffff:10.0.0.0/120"], ["::ffff:a00:0/120"]];
    for list in lists {
        let source = ClientAddress::behind(list).x_forwarded_for().unwrap();
        for peer in ["10.0.0.2", "::ffff:10.0.0.2", "::ffff:a00:2"] {
            for entries in
                ["203.0.113.9", "::ffff:203.0.113.9", "[::FFFF:203.0.113.9]:80", "203.0.113.9, ::ffff:10.0.0.9"]
            {
                let entries = format!("{FORGED}, {entries}");
                assert_eq!(find(&source, peer, &[("x-forwarded-for", entries)]), Some(ip(CLIENT)), "{list:?} {peer}");
            }
        }
    }
    assert_eq!(
        behind_rfc7239(r#"for=192.0.2.66, for="[::ffff:203.0.113.9]", for="[::ffff:10.0.0.9]""#),
        Some(ip(CLIENT))
    );
}

/// Only the last line, or only the first, was read: the other one was the client's.
#[test]
fn several_lines_of_a_header_are_one_list() {
    let name = "x-forwarded-for";
    let lines = |lines: &[&str]| {
        let lines: Vec<_> = lines.iter().map(|line| (name, *line)).collect();
        find(&x_forwarded_for(), PROXY, &lines)
    };
    assert_eq!(lines(&[FORGED, CLIENT]), Some(ip(CLIENT)));
    assert_eq!(lines(&[FORGED, CLIENT, "10.0.0.3"]), Some(ip(CLIENT)));
    assert_eq!(lines(&["192.0.2.66, 10.0.0.3", "203.0.113.9, 10.0.0.3"]), Some(ip(CLIENT)));
    assert_eq!(lines(&["garbage", "", CLIENT]), Some(ip(CLIENT)));
    // An empty line at the end is an entry without an address: who wrote it is unknown.
    assert_eq!(lines(&[FORGED, ""]), None);
    let both = [("forwarded", "for=192.0.2.66;x=\""), ("forwarded", "for=203.0.113.9")];
    assert_eq!(find(&forwarded(), PROXY, &both), Some(ip(CLIENT)));
}

/// A single address of which there are two: one is the client's.
#[test]
fn a_single_address_that_is_sent_twice_is_unknown() {
    let source = ClientAddress::behind(PROXIES).header("CF-Connecting-IP").unwrap();
    let name = "cf-connecting-ip";
    assert_eq!(find(&source, PROXY, &[(name, CLIENT)]), Some(ip(CLIENT)));
    for lines in [&[FORGED, CLIENT][..], &[CLIENT, FORGED], &["192.0.2.66, 203.0.113.9"], &[""], &["unknown"], &[]] {
        let lines: Vec<_> = lines.iter().map(|line| (name, *line)).collect();
        assert_eq!(find(&source, PROXY, &lines), None, "{lines:?}");
    }
    // The proxy before the last one: the header does not have the client.
    assert_eq!(find(&source, PROXY, &[(name, "10.0.0.3")]), None);
}

/// gorouter #179, Infisical #6645: the first header of many that is present was used, also if the
/// proxies write another one.
#[test]
fn no_other_header_than_the_chosen_one_is_read() {
    let others = ["forwarded", "x-real-ip", "true-client-ip", "cf-connecting-ip", "x-client-ip", "x_forwarded_for"];
    for other in others {
        let lines = [(other, "for=192.0.2.66"), (other, FORGED), ("x-forwarded-for", CLIENT), (other, FORGED)];
        assert_eq!(find(&x_forwarded_for(), PROXY, &lines), Some(ip(CLIENT)), "{other}");
        // Without the chosen header, the client is unknown, and not what another one says.
        assert_eq!(find(&x_forwarded_for(), PROXY, &[(other, FORGED)]), None, "{other}");
    }
}

#[test]
fn ports_are_no_part_of_the_address() {
    for (entry, address) in [
        ("203.0.113.9:4711", Some(CLIENT)),
        ("203.0.113.9:1", Some(CLIENT)),
        ("[2001:db8::9]:4711", Some("2001:db8::9")),
        ("[2001:db8::9]", Some("2001:db8::9")),
        ("2001:db8::9", Some("2001:db8::9")),
        ("2001:DB8:0:0:0:0:0:9", Some("2001:db8::9")),
        // Without brackets a port cannot be told from the address.
        ("2001:db8::9:4711", Some("2001:db8::9:4711")),
        ("203.0.113.9:", None),
        ("203.0.113.9:+80", None),
        ("203.0.113.9:123456", None),
        ("203.0.113.9:80:80", None),
        ("203.0.113.9:80 ", Some(CLIENT)),
        ("203.0.113.9 :80", None),
        ("[2001:db8::9", None),
        ("[2001:db8::9]80", None),
        ("[203.0.113.9]", None),
        ("[[2001:db8::9]]", None),
        (":80", None),
    ] {
        assert_eq!(behind_proxy(entry), address.map(ip), "{entry}");
    }
}

/// CVE-2021-29922 and others: `010.0.0.2` is read in octal by one program and in decimal by another.
#[test]
fn only_the_plain_forms_of_an_address_are_addresses() {
    for entry in [
        "010.0.0.2",
        "0x0a.0.0.2",
        "167772162",
        "10.2",
        "10.0.0.2.",
        "10.0.0",
        "10.0.0.256",
        "１０.0.0.2",
        "localhost",
        "10.0.0.2/32",
        "::ffff:10.0.0.2.1",
        "2001:db8::1::2",
        "*",
        "-",
        "unknown",
        "_hidden",
        "null",
    ] {
        assert_eq!(behind_proxy(format!("{FORGED}, {entry}")), None, "{entry}");
        assert_eq!(behind_rfc7239(format!("for={FORGED}, for={entry}")), None, "{entry}");
    }
}

#[test]
fn an_address_with_a_zone_is_unknown() {
    for entry in ["fe80::1%eth0", "fe80::1%1", "[fe80::1%25eth0]", "[fe80::1%1]:80", "fd00:a::1%1"] {
        assert_eq!(behind_proxy(format!("{FORGED}, {entry}")), None, "{entry}");
        assert_eq!(behind_rfc7239(format!(r#"for={FORGED}, for="{entry}""#)), None, "{entry}");
    }
}

#[test]
fn white_space_is_trimmed_at_the_ends_only() {
    for (value, address) in [
        (&b"  203.0.113.9\t"[..], Some(CLIENT)),
        (b"192.0.2.66 ,\t203.0.113.9 , 10.0.0.3", Some(CLIENT)),
        (b"192.0.2.66,203.0.113.9", Some(CLIENT)),
        // Two addresses without a comma are none.
        (b"192.0.2.66 203.0.113.9", None),
        (b"192.0.2.66\t203.0.113.9", None),
        (b"203.0.113. 9", None),
        // A no-break space and a zero-width space in UTF-8, and a byte that is not UTF-8.
        (b"203.0.113.9\xc2\xa0", None),
        (b"\xe2\x80\x8b203.0.113.9", None),
        (b"\xa0203.0.113.9", None),
        (b"203.0.113.9\xff, 10.0.0.3", None),
        (b"203.0.113.9;", None),
        (b"192.0.2.66, 203.0.113.9,", None),
        (b"192.0.2.66, 203.0.113.9, ", None),
        (b",", None),
        (b"", None),
    ] {
        assert_eq!(behind_proxy(value), address.map(ip), "{}", value.escape_ascii());
    }
}

#[test]
fn a_huge_list_changes_nothing_and_costs_no_time() {
    for sent in ["192.0.2.66,", "10.0.0.2,", "garbage,", ",", "\"\\,", "[::1]:80,"] {
        let huge = sent.repeat(100_000);
        assert_eq!(behind_proxy(format!("{huge} {CLIENT}")), Some(ip(CLIENT)), "{sent}");
        assert_eq!(behind_rfc7239(format!("{huge} for={CLIENT}")), Some(ip(CLIENT)), "{sent}");
    }
    // Proxies that list each other: the walk ends.
    let proxies = |number: usize| format!("{CLIENT}{}", ", 10.0.0.3".repeat(number));
    assert_eq!(behind_proxy(proxies(31)), Some(ip(CLIENT)));
    assert_eq!(behind_proxy(proxies(32)), None);
}

/// Without a header, and with proxies only, the proxy itself would pass a list of internal networks.
#[test]
fn a_proxy_is_never_the_client() {
    assert_eq!(find::<&str>(&x_forwarded_for(), PROXY, &[]), None);
    for value in ["10.0.0.2", "10.0.0.3, 10.0.0.2", "fd00:a::7", "10.0.0.7:80"] {
        assert_eq!(behind_proxy(value), None, "{value}");
    }
    assert_eq!(find::<&str>(&forwarded(), PROXY, &[]), None);
    assert_eq!(behind_rfc7239("for=10.0.0.3, for=10.0.0.2"), None);
}

/// oauth2-proxy #3506: by default, `0.0.0.0/0` and `::/0` were trusted.
#[test]
fn a_list_of_every_address_is_no_list_of_proxies() {
    for everything in ["0.0.0.0/0", "::/0", "::ffff:0:0/96"] {
        assert!(ClientAddress::behind([everything]).x_forwarded_for().is_err(), "{everything}");
    }
}
