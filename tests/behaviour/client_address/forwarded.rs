//! `Forwarded`, by RFC 7239.

use super::*;

#[test]
fn the_examples_of_the_rfc_are_read() {
    for (value, address) in [
        ("for=192.0.2.43", Some("192.0.2.43")),
        (r#"For="[2001:db8:cafe::17]:4711""#, Some("2001:db8:cafe::17")),
        ("for=192.0.2.60;proto=http;by=203.0.113.43", Some("192.0.2.60")),
        ("for=192.0.2.43, for=198.51.100.17", Some("198.51.100.17")),
        (r#"for="_gazonk""#, None),
        (r#"for=192.0.2.43, for="[2001:db8:cafe::17]""#, Some("2001:db8:cafe::17")),
        (r#"for=192.0.2.43,for="[2001:db8:cafe::17]",for=unknown"#, None),
        ("for=_hidden, for=_SEVKISEK", None),
        (r#"for="192.0.2.43:47011""#, Some("192.0.2.43")),
        (r#"for="_hidden:8080""#, None),
        (r#"for="192.0.2.43:_port-1.a""#, Some("192.0.2.43")),
    ] {
        assert_eq!(behind_rfc7239(value), address.map(ip), "{value}");
    }
}

#[test]
fn an_element_that_breaks_the_rfc_has_no_address() {
    for element in [
        "for=203.0.113.9:4711",
        "for=2001:db8::9",
        "for=[2001:db8::9]",
        r#"for="2001:db8::9""#,
        r#"for="203.0.113.9"#,
        r#"for=203.0.113.9""#,
        r#"for="203.0.113.9""#.trim_end_matches('"'),
        r#"for="203.0.113.9"x"#,
        r#"for=""203.0.113.9"""#,
        r#"for="[2001:db8::9\]""#,
        r#"for="203.0.113.9:_""#,
        "for=",
        "for",
        "203.0.113.9",
        "for = 203.0.113.9",
        "proto=https",
        "for=203.0.113.9;proto",
        "for=203.0.113.9;for=203.0.113.9",
        "For=203.0.113.9;fOR=192.0.2.66",
        "for*=203.0.113.9",
    ] {
        assert_eq!(behind_rfc7239(format!("for={FORGED}, {element}")), None, "{element}");
    }
    for element in ["FOR=203.0.113.9", "; for=203.0.113.9 ;", r#"host="a.example:80";for=203.0.113.9;proto=https"#] {
        assert_eq!(behind_rfc7239(format!("for={FORGED}, {element}")), Some(ip(CLIENT)), "{element}");
    }
}

/// A parser from left to right takes the proxy's element as a part of the client's quoted string.
#[test]
fn a_quote_that_the_client_leaves_open_hides_no_element_of_a_proxy() {
    for sent in [r#"for=192.0.2.66;host=""#, r#"for="192.0.2.66"#, r#"for=192.0.2.66;x="\"#, r#"""#, r"\"] {
        assert_eq!(behind_rfc7239(format!("{sent}, for={CLIENT}")), Some(ip(CLIENT)), "{sent}");
        let quoted = format!(r#"{sent}, for="[2001:db8::9]:80";proto=https, for=10.0.0.3"#);
        assert_eq!(behind_rfc7239(quoted), Some(ip("2001:db8::9")), "{sent}");
    }
}

/// The proxy writes the client's `Host` into the element, quoted as the RFC says.
#[test]
fn a_host_that_a_proxy_quotes_ends_no_element() {
    for host in ["a,for=192.0.2.66", "a,for=192.0.2.66;x=", "a;for=192.0.2.66", r#"a",for=192.0.2.66;x="b"#, r"a\"] {
        let escaped = host.replace('\\', r"\\").replace('"', "\\\"");
        let found = behind_rfc7239(format!(r#"for={CLIENT};host="{escaped}""#));
        assert!(found.is_none() || found == Some(ip(CLIENT)), "{host}: {found:?}");
        let found = behind_rfc7239(format!(r#"host="{escaped}";for={CLIENT}"#));
        assert!(found.is_none() || found == Some(ip(CLIENT)), "{host}: {found:?}");
    }
}
