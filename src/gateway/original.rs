//! Reads the original request from that of a gateway.
//!
//! The request of a gateway in, the head of the original one out. It knows no layer and no guard.

use axum::extract::{ConnectInfo, NestedPath, OriginalUri};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, header::HOST, request::Parts};
use std::net::SocketAddr;

use super::kind::{Preset, Target};
use crate::address::PeerAddress;

/// Why the original request cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// The gateway did not write a header, or it is there twice: it is not set up as the guide
    /// says.
    NotSent,
    /// The value is no method, or no target of a request.
    Malformed,
}

/// Returns the original request, without a body.
///
/// It has the headers of the gateway's request without those of the preset, and the address of the
/// peer. It has no other extension: not the principal of a layer around this router, and not what
/// axum routed here.
pub(super) fn original(preset: &Preset, mut parts: Parts) -> Result<Request<()>, Unreadable> {
    let (method, uri) = match &preset.target {
        Target::Own => (parts.method.clone(), own_target(&parts)?),
        Target::Headers { method, uri } => {
            let of_method = one(&parts.headers, method)?;
            let of_uri = one(&parts.headers, uri)?;
            let method = Method::from_bytes(of_method.as_bytes()).map_err(|_| Unreadable::Malformed)?;
            (method, parse_target(of_uri.as_bytes()).ok_or(Unreadable::Malformed)?)
        }
    };
    if let Target::Headers { method, uri } = &preset.target {
        parts.headers.remove(method);
        parts.headers.remove(uri);
    }
    match &preset.host {
        Some(name) => {
            let host = one(&parts.headers, name).ok().cloned();
            parts.headers.remove(name);
            set_host(&mut parts.headers, host);
        }
        // HTTP/2 has no `Host`.
        None if !parts.headers.contains_key(HOST) => {
            let authority = parts.uri.authority().and_then(|host| HeaderValue::from_str(host.as_str()).ok());
            set_host(&mut parts.headers, authority);
        }
        None => {}
    }
    let mut request = Request::new(());
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    *request.headers_mut() = parts.headers;
    if let Some(peer) = parts.extensions.remove::<PeerAddress>() {
        request.extensions_mut().insert(peer);
    }
    if let Some(peer) = parts.extensions.remove::<ConnectInfo<SocketAddr>>() {
        request.extensions_mut().insert(peer);
    }
    Ok(request)
}

/// Parses the target of a request line (RFC 9112 §3.2), as a server does: a path with its query, an
/// absolute URI, or `*`. Returns `None` for a fragment, which the parser would cut off.
pub(super) fn parse_target(text: &[u8]) -> Option<Uri> {
    let uri = Uri::try_from(text).ok().filter(|_| !text.contains(&b'#'))?;
    (uri.path().starts_with('/') || uri.path() == "*").then_some(uri)
}

fn set_host(headers: &mut HeaderMap, host: Option<HeaderValue>) {
    match host {
        Some(host) => _ = headers.insert(HOST, host),
        None => _ = headers.remove(HOST),
    }
}

/// Returns the only line of a header.
fn one<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<&'h HeaderValue, Unreadable> {
    let mut lines = headers.get_all(name).iter();
    lines.next().filter(|_| lines.next().is_none()).ok_or(Unreadable::NotSent)
}

/// Returns the path below that of the router, with the query.
///
/// axum may drop slashes where it removes a prefix, so that `/envoy//admin` would become
/// `/admin`. The prefix is therefore cut from the path that axum routed.
fn own_target(parts: &Parts) -> Result<Uri, Unreadable> {
    let routed = parts.extensions.get().map_or(&parts.uri, |OriginalUri(uri)| uri);
    let nested = parts.extensions.get().map_or("", NestedPath::as_str);
    let prefixes = nested.split('/').filter(|segment| !segment.is_empty()).count();
    let path = without_prefixes(routed.path(), prefixes);
    let slashless = |path: &str| path.trim_start_matches('/').to_owned();
    if slashless(path) != slashless(parts.uri.path()) {
        return Err(Unreadable::NotSent);
    }
    let target = match routed.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    parse_target(target.as_bytes()).ok_or(Unreadable::Malformed)
}

/// Returns the path without its first segments.
fn without_prefixes(path: &str, prefixes: usize) -> &str {
    (0..prefixes).fold(path, |left, _| {
        let next_slash = left.get(1..).and_then(|rest| rest.find('/'));
        next_slash.map_or("/", |index| &left[index + 1..])
    })
}
