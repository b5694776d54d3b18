//! Paths that somebody else may take for other ones. No table, no skipped path and no organization counts on such a path.

use std::borrow::Cow;

use http::Extensions;
use percent_encoding::percent_decode_str;

/// Whether a router further out, or a service further in, may take a request with this path for one with another.
pub(crate) fn is_ambiguous(path: &str, extensions: &Extensions) -> bool {
    has_two_readings(path) || is_another(path, extensions)
}

/// Empty segments, which are merged or lost on the way: under axum's `nest` `/api//health` becomes `/health`, and has gone to `/{id}/health`.
/// Backslashes, which a browser's URL takes for slashes. Dot segments, which are resolved (RFC 3986 §5.2.4), also by who decodes first,
/// or cuts a segment at its semicolon.
fn has_two_readings(path: &str) -> bool {
    let decoded: Cow<'_, [u8]> = percent_decode_str(path).into();
    let mut segments = decoded.split(|byte| b"/\\".contains(byte));
    let is_dots = |segment: &[u8]| {
        let name = segment.split(|byte| *byte == b';').next().unwrap_or_default();
        name == b"." || name == b".."
    };
    path.contains("//") || path.contains('\\') || segments.any(is_dots)
}

/// Whether axum has routed another path than this one with its prefixes before it: `nest` has lost a slash, or has not cut a prefix
/// like `/v{n}`; or somebody has put another path into the request.
#[cfg(feature = "axum")]
fn is_another(path: &str, extensions: &Extensions) -> bool {
    use axum::extract::{NestedPath, OriginalUri};

    let Some(OriginalUri(original)) = extensions.get() else { return false };
    let nested = extensions.get().map_or("", NestedPath::as_str);
    let prefixes = nested.split('/').filter(|segment| !segment.is_empty()).count();
    has_two_readings(original.path()) || without_prefixes(original.path(), prefixes) != path
}

#[cfg(not(feature = "axum"))]
fn is_another(_: &str, _: &Extensions) -> bool {
    false
}

/// What is left of a path without so many segments at its beginning.
#[cfg(feature = "axum")]
fn without_prefixes(path: &str, prefixes: usize) -> &str {
    let mut left = path;
    for _ in 0..prefixes {
        let next_slash = left.get(1..).and_then(|rest| rest.find('/'));
        left = next_slash.map_or("/", |place| &left[place + 1..]);
    }
    left
}

/// How a service may read the path that decodes it, takes a backslash for a slash, cuts each segment at its semicolon, merges slashes and drops
/// the last one, unless it is to be kept. None where that is the path itself.
pub(crate) fn canonical(path: &str, keeps_last_slash: bool) -> Option<String> {
    let is_canonical = |path: &str| !path.contains(['%', ';', '\\']) && !path.contains("//") && path.starts_with('/');
    if is_canonical(path) && (keeps_last_slash || path == "/" || !path.ends_with('/')) {
        return None;
    }
    let decoded = percent_decode_str(path).decode_utf8_lossy();
    let segments = decoded.split(['/', '\\']).map(|segment| segment.split(';').next().unwrap_or_default());
    let mut canonical: String = segments.filter(|segment| !segment.is_empty()).flat_map(|name| ["/", name]).collect();
    if canonical.is_empty() || (keeps_last_slash && path.ends_with('/')) {
        canonical.push('/');
    }
    (canonical != path).then_some(canonical)
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
    fn a_canonical_path_is_what_the_most_lenient_service_reads() {
        for (path, expected) in [
            ("/", None),
            ("/a/b.c", None),
            ("/a/", Some("/a")),
            ("/a%2Fb", Some("/a/b")),
            ("/a%2F%2Fb%2f", Some("/a/b")),
            ("/a%5Cb", Some("/a/b")),
            ("/a;x=1/b;", Some("/a/b")),
            ("/%61", Some("/a")),
            ("/%C3%A9", Some("/\u{e9}")),
            ("/%2F", Some("/")),
            ("*", Some("/*")),
        ] {
            assert_eq!(canonical(path, false).as_deref(), expected, "{path}");
        }
        assert_eq!(canonical("/a/", true), None);
        assert_eq!(canonical("/a%2Fb/", true).as_deref(), Some("/a/b/"));
    }

    #[cfg(feature = "axum")]
    #[test]
    fn a_prefix_is_cut_segment_by_segment() {
        for (path, prefixes, left) in [
            ("/api/links", 0, "/api/links"),
            ("/api/links", 1, "/links"),
            ("/api/links/", 2, "/"),
            ("/api/links", 2, "/"),
            ("/api/", 1, "/"),
            ("/api", 1, "/"),
            ("*", 1, "/"),
        ] {
            assert_eq!(without_prefixes(path, prefixes), left, "{path} without {prefixes}");
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
