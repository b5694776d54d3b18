//! Entries of forwarding headers: text in, an address out. Everything else is `None`.

use std::net::{IpAddr, Ipv6Addr};

const WHITE_SPACE: [char; 2] = [' ', '\t'];

/// Reads an address with or without a port. An IPv6 address with a port is in brackets.
pub(super) fn address(entry: &[u8]) -> Option<IpAddr> {
    let text = str::from_utf8(entry).ok()?.trim_matches(WHITE_SPACE);
    match text.parse::<Ipv6Addr>() {
        Ok(address) => Some(IpAddr::V6(address).to_canonical()),
        Err(_) => node(text),
    }
}

/// Reads the parameters `for` and `proto` of a forwarded-element (RFC 7239 §4). Without `for`, or
/// if one of them is repeated, the result is `None`.
///
/// A quoted string with a comma, a semicolon, a quote or a backslash is `None`, as no address has
/// these. So the commas outside and inside of quotes need not be distinguished. A client whose
/// `Host` is quoted in an element cannot end the element.
pub(crate) fn forwarded_element(element: &[u8]) -> Option<(IpAddr, Option<&str>)> {
    let text = str::from_utf8(element).ok()?;
    let (mut found, mut proto) = (None, None);
    for pair in text.split(';').map(|pair| pair.trim_matches(WHITE_SPACE)).filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=')?;
        let quoted = match value.strip_prefix('"') {
            Some(rest) => Some(rest.strip_suffix('"')?),
            None => None,
        };
        if quoted.unwrap_or(value).contains(['"', '\\']) {
            return None;
        }
        if name.eq_ignore_ascii_case("for") {
            let address = match quoted {
                Some(text) => node(text)?,
                None => IpAddr::V4(value.parse().ok()?),
            };
            if found.replace(address).is_some() {
                return None;
            }
        } else if name.eq_ignore_ascii_case("proto") && proto.replace(quoted.unwrap_or(value)).is_some() {
            return None;
        }
    }
    Some((found?, proto))
}

/// Reads a node (RFC 7239 §6): an IPv4 address, or an IPv6 address in brackets, and a port.
fn node(text: &str) -> Option<IpAddr> {
    let (address, port) = if let Some(rest) = text.strip_prefix('[') {
        let (address, port) = rest.split_once(']')?;
        (IpAddr::V6(address.parse().ok()?), port)
    } else {
        let (address, port) = text.split_at(text.find(':').unwrap_or(text.len()));
        (IpAddr::V4(address.parse().ok()?), port)
    };
    is_port(port).then(|| address.to_canonical())
}

/// Returns whether the text is empty, or a colon and a port: up to five digits, or a name that
/// begins with `_`.
fn is_port(text: &str) -> bool {
    let Some(port) = text.strip_prefix(':') else { return text.is_empty() };
    match port.strip_prefix('_') {
        Some(name) => {
            !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        }
        None => (1..=5).contains(&port.len()) && port.bytes().all(|byte| byte.is_ascii_digit()),
    }
}
