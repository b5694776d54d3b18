//! Finds the host that a request is for: `{organization}.example.com`.

use std::borrow::Cow;

use http::{
    HeaderValue,
    header::HOST,
    request::Parts,
    uri::{Authority, Uri},
};

use crate::error::ConfigError;

/// Returns the host that a request names, in lower case, without its port and without a trailing
/// dot.
///
/// The host is in the authority of the request's target (`:authority` in HTTP/2 and HTTP/3, the
/// absolute form in HTTP/1) and in the `Host` header (RFC 9110 §7.2, RFC 9112 §3.2.2). Returns
/// `None` in these cases:
///
/// - neither names a host, or the two name different hosts;
/// - the request has more than one `Host` header;
/// - a host is malformed, or has a user name before it.
///
/// The function ignores `X-Forwarded-Host` and `Forwarded`, because any client can send them.
///
/// Do not take a tenant from `uri.host()` alone. An HTTP/1 request in origin form has no host
/// there. In absolute form the host may differ from the `Host` header, which other services use.
///
/// ```
/// use http::Request;
/// use tower_api_key::guard::host_of;
///
/// let (request, ()) = Request::get("/links").header("host", "Org_A.Example.com:8080").body(())?.into_parts();
/// assert_eq!(host_of(&request).as_deref(), Some("org_a.example.com"));
///
/// let (request, ()) = Request::get("http://org_a.example.com/").header("host", "org_b.example.com").body(())?.into_parts();
/// assert_eq!(host_of(&request), None);
/// # Ok::<(), http::Error>(())
/// ```
pub fn host_of(parts: &Parts) -> Option<Cow<'_, str>> {
    let mut lines = parts.headers.get_all(HOST).iter();
    let header = lines.next();
    if lines.next().is_some() {
        return None;
    }
    let header = header.map(HeaderValue::as_bytes).map(str::from_utf8).transpose().ok()?;
    let original = original_of(parts);
    let targets = [original.and_then(Uri::authority), parts.uri.authority()];
    let mut named = targets.into_iter().flatten().map(Authority::as_str).chain(header).map(host);
    let first = named.next()??;
    named.all(|other| other.as_deref() == Some(&*first)).then_some(first)
}

/// Returns the target as axum received it. A middleware that rewrites the URI may have dropped its
/// authority.
#[cfg(feature = "axum")]
fn original_of(parts: &Parts) -> Option<&Uri> {
    parts.extensions.get::<axum::extract::OriginalUri>().map(|original| &original.0)
}

#[cfg(not(feature = "axum"))]
fn original_of(_: &Parts) -> Option<&Uri> {
    None
}

/// Returns the host of `host [ ":" port ]` (RFC 9110 §4.2): labels of letters, digits, `-`, `_` and
/// `~`, or an address in brackets.
fn host(authority: &str) -> Option<Cow<'_, str>> {
    let end = if authority.starts_with('[') {
        authority.find(']')? + 1
    } else {
        authority.find(':').unwrap_or(authority.len())
    };
    let (host, port) = authority.split_at(end);
    let is_port = port.strip_prefix(':').is_none_or(|port| port.bytes().all(|digit| digit.is_ascii_digit()));
    if !is_port || !(port.is_empty() || port.starts_with(':')) {
        return None;
    }
    if let Some(address) = host.strip_prefix('[') {
        let address = address.strip_suffix(']')?;
        let is_address = address.parse::<std::net::Ipv6Addr>().is_ok();
        return is_address.then(|| in_lower_case(host));
    }
    let host = host.strip_suffix('.').unwrap_or(host);
    host.split('.').all(is_label).then(|| in_lower_case(host))
}

fn is_label(label: &str) -> bool {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_~".contains(&byte);
    !label.is_empty() && label.bytes().all(is_name)
}

fn in_lower_case(text: &str) -> Cow<'_, str> {
    if text.bytes().any(|byte| byte.is_ascii_uppercase()) { text.to_ascii_lowercase().into() } else { text.into() }
}

/// The labels of a host. One of them is captured.
pub(super) struct HostTemplate {
    before: Vec<String>,
    after: Vec<String>,
}

impl HostTemplate {
    pub(super) fn parse(template: &str) -> Result<Self, ConfigError> {
        let invalid = || ConfigError::HostTemplate(template.to_owned());
        let labels: Vec<&str> = template.split('.').collect();
        let is_captured =
            |label: &str| label.strip_prefix('{').and_then(|label| label.strip_suffix('}')).is_some_and(is_label);
        let place = labels.iter().position(|label| is_captured(label)).ok_or_else(invalid)?;
        let (before, after) = (&labels[..place], &labels[place + 1..]);
        if after.is_empty() || !before.iter().chain(after).all(|label| is_label(label)) {
            return Err(invalid());
        }
        let owned = |labels: &[&str]| labels.iter().map(|label| label.to_ascii_lowercase()).collect();
        Ok(Self { before: owned(before), after: owned(after) })
    }

    /// Returns the label at the place of the braces, if all other labels match.
    pub(super) fn capture_of(&self, parts: &Parts) -> Option<String> {
        let host = host_of(parts)?;
        let labels: Vec<&str> = host.split('.').collect();
        let (before, rest) = labels.split_at_checked(self.before.len())?;
        let (captured, after) = rest.split_first()?;
        (before == self.before && after == self.after).then(|| (*captured).to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_compared_without_case_port_and_last_dot_and_is_none_if_it_is_malformed() {
        for (authority, expected) in [
            ("a.x", Some("a.x")),
            ("A.X:80", Some("a.x")),
            ("a.x.", Some("a.x")),
            ("a.x.:8080", Some("a.x")),
            ("a.x:", Some("a.x")),
            ("org_a.x", Some("org_a.x")),
            ("127.0.0.1:1", Some("127.0.0.1")),
            ("[::1]:80", Some("[::1]")),
            ("[::A]", Some("[::a]")),
            ("", None),
            (":80", None),
            (".", None),
            ("a..x", None),
            (".a.x", None),
            ("a.x..", None),
            ("u@a.x", None),
            ("u:p@a.x", None),
            ("a.x:80:80", None),
            ("a.x:8o", None),
            ("a.x, b.x", None),
            ("a.x b.x", None),
            ("a.x/b", None),
            ("a%2Ex", None),
            ("a.x?b", None),
            ("\u{e9}.x", None),
            ("[::1", None),
            ("[::1]x", None),
            ("[a.x]", None),
        ] {
            assert_eq!(host(authority).as_deref(), expected, "{authority}");
        }
    }

    #[test]
    fn a_template_has_one_label_in_braces_and_ends_with_another() {
        for template in [
            "",
            "x",
            "{o}",
            "{o}.",
            "x.{o}",
            "{a}.{b}.x",
            "{o}x.y",
            "{}.x",
            "{o}.x:80",
            "{o}..x",
            "{o}.x/",
            "https://{o}.x",
            "{o}.\u{e9}",
        ] {
            assert_eq!(HostTemplate::parse(template).err(), Some(ConfigError::HostTemplate(template.into())));
        }
        for template in ["{organization}.example.com", "{o}.localhost", "api.{o}.x"] {
            assert!(HostTemplate::parse(template).is_ok(), "{template}");
        }
    }
}
