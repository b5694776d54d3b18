//! Headers that are lists: `Cookie`, `Sec-WebSocket-Protocol`, `Connection`.

use http::{HeaderMap, HeaderName, HeaderValue};
use zeroize::Zeroizing;

use super::grammar::trim_ows;

/// Returns the non-empty elements of all lines, in order (RFC 9110 §5.6.1.2).
pub(crate) fn elements<'h>(headers: &'h HeaderMap, name: &HeaderName, separator: u8) -> impl Iterator<Item = &'h [u8]> {
    headers.get_all(name).iter().flat_map(move |line| split(line, separator))
}

/// Returns the non-empty elements of one line.
pub(super) fn split(line: &HeaderValue, separator: u8) -> impl Iterator<Item = &[u8]> {
    let elements = line.as_bytes().split(move |byte| *byte == separator);
    elements.map(trim_ows).filter(|element| !element.is_empty())
}

/// Removes the elements that `keep` rejects, and joins the lines into one, which is not marked as
/// sensitive. Returns whether any were removed; if none, the header stays as it is, byte for byte.
pub(crate) fn retain(
    headers: &mut HeaderMap,
    name: &HeaderName,
    separator: u8,
    mut keep: impl FnMut(&[u8]) -> bool,
) -> bool {
    let all: Vec<&[u8]> = elements(headers, name, separator).collect();
    let kept: Vec<&[u8]> = all.iter().copied().filter(|element| keep(element)).collect();
    if kept.len() == all.len() {
        return false;
    }
    match join(&kept, separator, false) {
        Some(line) => headers.insert(name, line),
        None => headers.remove(name),
    };
    true
}

/// Returns the elements as one line, or `None` if there are none.
pub(super) fn join(elements: &[&[u8]], separator: u8, is_sensitive: bool) -> Option<HeaderValue> {
    if elements.is_empty() {
        return None;
    }
    let joined = Zeroizing::new(elements.join(&[separator, b' '][..]));
    let mut line = HeaderValue::from_bytes(&joined).ok()?;
    line.set_sensitive(is_sensitive);
    Some(line)
}
