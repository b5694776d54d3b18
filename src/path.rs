//! Paths that somebody else may take for other ones. No table, no skipped path and no organization counts on such a path.

use std::borrow::Cow;

use http::Extensions;
use percent_encoding::percent_decode_str;

/// Whether a router further out, or a service further in, may take a request with this path for one with another.
pub(crate) fn is_ambiguous(path: &str, extensions: &Extensions) -> bool {
    has_two_readings(path) || original(extensions).is_some_and(|path| has_two_readings(&path))
}

/// Empty segments, which are merged or lost on the way: under axum's `nest` `/api//health` becomes `/health`, and has gone to `/{id}/health`.
/// Dot segments, which are resolved (RFC 3986 §5.2.4), also by who decodes first, takes a backslash for a slash, or cuts a segment
/// at its semicolon.
fn has_two_readings(path: &str) -> bool {
    let decoded: Cow<'_, [u8]> = percent_decode_str(path).into();
    let mut segments = decoded.split(|byte| b"/\\".contains(byte));
    let is_dots = |segment: &[u8]| {
        let name = segment.split(|byte| *byte == b';').next().unwrap_or_default();
        name == b"." || name == b".."
    };
    path.contains("//") || segments.any(is_dots)
}

/// The path before axum's `nest` has cut it.
#[cfg(feature = "axum")]
fn original(extensions: &Extensions) -> Option<Cow<'_, str>> {
    extensions.get::<axum::extract::OriginalUri>().map(|uri| uri.path().into())
}

#[cfg(not(feature = "axum"))]
fn original(_: &Extensions) -> Option<Cow<'_, str>> {
    None
}

/// The same path with unreserved characters as they are (RFC 3986 §6.2.2.2), if it has some that are encoded.
pub(crate) fn with_unreserved_decoded(path: &str) -> Option<String> {
    let mut parts = path.split('%');
    let mut decoded = parts.next().unwrap_or_default().to_owned();
    let mut is_another = false;
    for part in parts {
        let byte = part.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match byte.filter(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(byte)) {
            Some(byte) => {
                is_another = true;
                decoded.push(char::from(byte));
                decoded.push_str(&part[2..]);
            }
            None => decoded.extend(["%", part]),
        }
    }
    is_another.then_some(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_is_merged_or_resolved_has_two_readings() {
        for path in [
            "//",
            "//a",
            "/a//b",
            "/a//",
            "/.",
            "/a/../b",
            "/a/%2e%2E/b",
            "/a/..%2fb",
            "/a/..%5Cb",
            "/a/..\\b",
            "/a/..;x/b",
            "/a/.;/b",
        ] {
            assert!(has_two_readings(path), "{path}");
        }
        for path in
            ["", "*", "/", "/a", "/a/", "/a/b.c", "/a/...", "/a/..b", "/a/b..", "/a/%2f", "/a;b/c", "/%252e%252e"]
        {
            assert!(!has_two_readings(path), "{path}");
        }
    }

    #[test]
    fn unreserved_characters_are_decoded_and_no_others() {
        for (path, decoded) in [
            ("/admin", None),
            ("/%61dmin", Some("/admin")),
            ("/%61%2F%7e%2Fx", Some("/a%2F~%2Fx")),
            ("/%2F", None),
            ("/%", None),
            ("/%6", None),
            ("/%6g%+1", None),
            ("/%C3%A9", None),
            ("/\u{e9}%61", Some("/\u{e9}a")),
        ] {
            assert_eq!(with_unreserved_decoded(path).as_deref(), decoded, "{path}");
        }
    }
}
