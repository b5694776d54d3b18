//! The details of a change in the headers and the query of a request: the required versions, the id
//! of the request, the address of the caller, the reason.

use std::net::{IpAddr, SocketAddr};

use axum::{
    extract::{ConnectInfo, FromRequestParts},
    http::{HeaderMap, HeaderValue, StatusCode, header::IF_MATCH, request::Parts},
};

use super::{bodies::ChangeReason, extract::ApiError};
use crate::record::KeyRecord;

/// The `reason` in a query string. Other parameters are ignored: one may carry the key.
pub(super) struct QueryReason(pub(super) Option<ChangeReason>);

/// The longest id of a request. A longer one is ignored.
const MAX_REQUEST_ID: usize = 128;

const REQUEST_ID: &str = "x-request-id";

impl<S: Sync> FromRequestParts<S> for QueryReason {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let query = parts.uri.query().unwrap_or_default();
        let mut reasons = form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name == "reason");
        let reason = reasons.next().map(|(_, reason)| ChangeReason(reason.into_owned()));
        match reasons.next() {
            Some(_) => Err(ApiError::problem(StatusCode::BAD_REQUEST, "reason: given twice.")),
            None => Ok(Self(reason)),
        }
    }
}

/// Returns the strong entity tag of a record: its version.
pub(super) fn etag(record: &KeyRecord) -> HeaderValue {
    let tag = format!("\"{}\"", record.version());
    HeaderValue::try_from(tag).unwrap_or_else(|_| HeaderValue::from_static("\"\""))
}

/// Returns the versions that `If-Match` lists (RFC 9110 §13.1.1). `*` and a missing header are
/// `None`: every version. A weak tag, and a tag that is no version, match nothing.
pub(super) fn required_versions(headers: &HeaderMap) -> Result<Option<Vec<u64>>, ApiError> {
    let values: Vec<&[u8]> = headers.get_all(IF_MATCH).iter().map(|value| value.as_bytes().trim_ascii()).collect();
    match values[..] {
        [] | [b"*"] => return Ok(None),
        _ => {}
    }
    let list = values.join(&b","[..]);
    let tags = listed_tags(&list).ok_or_else(|| {
        let detail = "If-Match: must be * or a list of entity tags such as \"3\".";
        ApiError::problem(StatusCode::BAD_REQUEST, detail)
    })?;
    Ok(Some(tags.into_iter().filter_map(version).collect()))
}

/// Returns the opaque texts of the strong tags in a list, and an empty text for a weak tag.
fn listed_tags(mut list: &[u8]) -> Option<Vec<&[u8]>> {
    let mut tags = Vec::new();
    loop {
        list = list.trim_ascii_start();
        // Empty elements of a list are ignored (RFC 9110 §5.6.1.2).
        while let Some(rest) = list.strip_prefix(b",") {
            list = rest.trim_ascii_start();
        }
        if list.is_empty() {
            return (!tags.is_empty()).then_some(tags);
        }
        let is_weak = list.starts_with(b"W/");
        let quoted = list.strip_prefix(b"W/").unwrap_or(list).strip_prefix(b"\"")?;
        let end = quoted.iter().position(|byte| *byte == b'"')?;
        let (tag, rest) = quoted.split_at(end);
        if !tag.iter().all(|byte| *byte > b' ' && *byte != 0x7F) {
            return None;
        }
        tags.push(if is_weak { b"" } else { tag });
        list = rest[1..].trim_ascii_start();
        if !list.is_empty() && !list.starts_with(b",") {
            return None;
        }
    }
}

/// Returns the version of a tag, in the only form that [`etag`] writes.
fn version(tag: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(tag).ok()?;
    text.parse().ok().filter(|version: &u64| version.to_string() == text)
}

/// Returns the id of the request in `X-Request-Id`, if it is a short text of visible ASCII.
pub(super) fn request_id(headers: &HeaderMap) -> Option<&str> {
    let id = headers.get(REQUEST_ID)?.to_str().ok()?;
    let is_good = (1..=MAX_REQUEST_ID).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic());
    is_good.then_some(id)
}

/// Returns the address of the connection, if the server has put it into the request. A header that
/// a client can set is never read.
pub(super) fn address(parts: &Parts) -> Option<IpAddr> {
    parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(address)| address.ip())
}
