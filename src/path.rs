//! Finds every reading of a path: each way in which a proxy or a service may interpret it. A guard
//! or a skip rule accepts a path only if it accepts every reading.

mod steps;

use http::Extensions;
use percent_encoding::percent_decode_str;

use steps::{STEPS, Step, decoded, without_last_slash};

/// A path, and the other paths that a service behind the layer may read instead of it.
///
/// A reading is the result of any sequence of [`STEPS`]. For example, a proxy decodes the path
/// once, a file server decodes it again, and a framework cuts off parameters.
#[derive(Debug)]
pub(crate) struct Readings<'p> {
    path: &'p str,
    /// First the readings that keep a trailing slash, then those that are found only by dropping
    /// it.
    others: Vec<String>,
    keeping_last_slash: usize,
}

/// The maximum number of readings of one path. Legitimate paths have fewer.
const MAX_READINGS: usize = 64;
/// The maximum total length of the readings of one path in bytes, so that a long path costs at most
/// some hundred microseconds.
const MAX_BYTES: usize = 128 * 1024;

impl<'p> Readings<'p> {
    /// Returns all readings of a request's path, or `None` if the path must be rejected: see
    /// [`Readings::of`].
    ///
    /// Under axum, also returns `None` if the path differs from the path that axum routed, apart
    /// from the prefixes of `nest`.
    pub(crate) fn of_request(path: &'p str, extensions: &Extensions) -> Option<Self> {
        if is_another(path, extensions) { None } else { Self::of(path) }
    }

    /// Returns all readings of a path, or `None` if the path must be rejected:
    ///
    /// - it contains an empty segment or a backslash as written,
    /// - a reading contains a dot segment (RFC 3986 §5.2.4) or a control character,
    /// - its decoded form is not UTF-8,
    /// - it is percent-encoded more than twice, or
    /// - it has too many readings.
    ///
    /// A path of plain characters has no other reading and allocates nothing.
    pub(crate) fn of(path: &'p str) -> Option<Self> {
        if is_plain(path) {
            let dropped = without_last_slash(path);
            return Some(Self { path, others: Vec::from_iter(dropped), keeping_last_slash: 0 });
        }
        if is_malformed(path) {
            return None;
        }
        let mut found = vec![path.to_owned()];
        if !path.starts_with('/') {
            found.push(format!("/{path}"));
        }
        follow(&mut found, &STEPS)?;
        let keeping_last_slash = found.len() - 1;
        if found.iter().any(|reading| reading.ends_with('/')) {
            let and_drop_it = [&STEPS[..], &[without_last_slash]].concat();
            follow(&mut found, &and_drop_it)?;
        }
        found.remove(0);
        Some(Self { path, others: found, keeping_last_slash })
    }

    /// Returns the path as written.
    pub(crate) fn path(&self) -> &'p str {
        self.path
    }

    /// Returns every other reading, and whether it is found only by dropping the trailing slash.
    pub(crate) fn others(&self) -> impl Iterator<Item = (&str, bool)> {
        let others = self.others.iter().enumerate();
        others.map(|(number, reading)| (reading.as_str(), number >= self.keeping_last_slash))
    }
}

/// Applies the steps to all readings until there are no new ones. Returns `None` if the path must
/// be rejected.
fn follow(found: &mut Vec<String>, steps: &[Step]) -> Option<()> {
    let mut next = 0;
    while next < found.len() {
        if is_refused(&found[next]) {
            return None;
        }
        for step in steps {
            if let Some(reading) = step(&found[next])
                && !found.contains(&reading)
            {
                found.push(reading);
            }
        }
        next += 1;
        if found.len() > MAX_READINGS || found.iter().map(String::len).sum::<usize>() > MAX_BYTES {
            return None;
        }
    }
    Some(())
}

/// Returns whether every reader uses the path as written, except perhaps for its trailing slash.
fn is_plain(path: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'%' | b';' | b'\\' | b'?' | b'#');
    let (mut before, mut has_dots) = (0, false);
    let is_plain = path.bytes().all(|byte| {
        let is_after_slash = before == b'/';
        before = byte;
        has_dots |= is_after_slash && byte == b'.';
        is_plain(byte) && !(is_after_slash && byte == b'/')
    });
    path.starts_with('/') && is_plain && !(has_dots && is_refused(path))
}

/// Returns whether the path contains something that no legitimate client sends:
///
/// - an empty segment, which proxies merge or drop (under axum's `nest`, `/api//health` becomes
///   `/health` although axum routed it to `/{id}/health`),
/// - a backslash, which browsers read as a slash,
/// - bytes that are not UTF-8 once decoded, such as overlong forms, or
/// - three levels of percent-encoding.
fn is_malformed(path: &str) -> bool {
    let is_utf8 = |path: &str| percent_decode_str(path).decode_utf8().is_ok();
    let once = decoded(path);
    let twice = once.as_deref().and_then(decoded);
    let is_encoded_further = twice.as_deref().and_then(decoded).is_some();
    let all_utf8 = [Some(path), once.as_deref(), twice.as_deref()].into_iter().flatten().all(is_utf8);
    path.contains("//") || path.contains('\\') || is_encoded_further || !all_utf8
}

/// Returns whether a reading contains a control character or a dot segment, also if backslashes are
/// read as slashes or parameters are cut off.
fn is_refused(reading: &str) -> bool {
    let is_dots = |segment: &str| {
        let name = segment.split(';').next().unwrap_or_default();
        name == "." || name == ".."
    };
    // A reader that parses `//host/path` as a URL gets `/path` on another host.
    let is_url = reading.starts_with("//");
    is_url || reading.chars().any(char::is_control) || reading.split(['/', '\\']).any(is_dots)
}

/// Returns whether the path differs from the path that axum routed, apart from the prefixes of
/// `nest`. The causes: `nest` dropped a slash or did not strip a prefix like `/v{n}`, or a
/// middleware changed the path.
#[cfg(feature = "axum")]
fn is_another(path: &str, extensions: &Extensions) -> bool {
    use axum::extract::{NestedPath, OriginalUri};

    let Some(OriginalUri(original)) = extensions.get() else { return false };
    let nested = extensions.get().map_or("", NestedPath::as_str);
    let prefixes = nested.split('/').filter(|segment| !segment.is_empty()).count();
    without_prefixes(original.path(), prefixes) != path
        || (original.path() != path && Readings::of(original.path()).is_none())
}

#[cfg(not(feature = "axum"))]
fn is_another(_: &str, _: &Extensions) -> bool {
    false
}

/// Returns the path without its first `prefixes` segments.
#[cfg(feature = "axum")]
fn without_prefixes(path: &str, prefixes: usize) -> &str {
    let mut left = path;
    for _ in 0..prefixes {
        let next_slash = left.get(1..).and_then(|rest| rest.find('/'));
        left = next_slash.map_or("/", |index| &left[index + 1..]);
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    fn others(path: &str) -> Option<Vec<String>> {
        let readings = Readings::of(path)?;
        assert_eq!(readings.path(), path);
        Some(readings.others().map(|(reading, _)| reading.to_owned()).collect())
    }

    #[test]
    fn a_malformed_path_has_no_readings() {
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
            "/%252e%252e",
            "/a/..%3Fx",
            "/a/..%20",
            "/a/..%253Bx%252Fb",
            "/a%00",
            "/a%09b",
            "/a%0D%0Ab",
            "/a%7F",
            "/a%C2%85",
            "/a%2500",
            "/a\u{7f}",
            "/a%FF",
            "/a%C0%AFb",
            "/a%E0%80%AFb",
            "/a%25C0%25AFb",
            "/a%25252Fb",
            "/%2F",
            "/%2Fpub/admin",
            "/%5C%5Cpub/admin",
        ] {
            assert_eq!(others(path), None, "{path}");
        }
    }

    #[test]
    fn a_plain_path_has_no_other_reading() {
        for path in ["/", "/a", "/a/b.c", "/a/b..", "/a:b/@c/(d)", "/{a}/{*b}", "/a.b/c~d!$&'()*+,=", "/.well-known/x"]
        {
            assert_eq!(others(path), Some(Vec::new()), "{path}");
        }
    }

    #[test]
    fn other_readings_are_the_results_of_all_sequences_of_steps() {
        for (path, expected) in [
            ("/a/", &["/a"][..]),
            ("/%61", &["/a"]),
            ("/a%20b", &["/a b"]),
            ("/caf%C3%A9", &["/caf\u{e9}"]),
            ("/100%25", &["/100%"]),
            ("/a%2Fb", &["/a/b"]),
            ("/a%2F%2fb", &["/a//b", "/a/b"]),
            ("/a%5Cb", &["/a\\b", "/a/b"]),
            ("/a%252Fb", &["/a%2Fb", "/a/b"]),
            ("/adm%2569n", &["/adm%69n", "/admin"]),
            ("/a%3Fx", &["/a?x", "/a"]),
            ("/a%23x", &["/a#x", "/a"]),
            ("/a%253Fx", &["/a%3Fx", "/a?x", "/a"]),
            ("/a%20", &["/a ", "/a"]),
            ("/a;x=1/b;", &["/a/b", "/a;x=1/b"]),
            // Parameters are cut before decoding, after it, or by a reader that leaves slashes
            // encoded.
            ("/a;x%2Fy", &["/a;x/y", "/a", "/a/y"]),
            ("/a%3Bx%2Fy", &["/a;x%2Fy", "/a;x/y", "/a", "/a/y"]),
            ("*", &["/*"]),
        ] {
            assert_eq!(
                others(path).as_deref(),
                Some(&expected.iter().map(|&path| path.to_owned()).collect::<Vec<_>>()[..]),
                "{path}"
            );
        }
    }

    #[test]
    fn readings_without_the_trailing_slash_come_last() {
        let readings = Readings::of("/a%2Fb/").unwrap();
        let others: Vec<_> = readings.others().collect();
        assert_eq!(others, [("/a/b/", false), ("/a%2Fb", true), ("/a/b", true)]);
    }

    #[test]
    fn a_path_with_too_many_readings_or_bytes_has_none() {
        let all_at_once = "/a%3Bb%253Bc%23d%2523e%3Ff%253Fg%2Fh%252Fi%5Cj%255Ck;l%2F%2Fm%20/";
        assert_eq!(others(all_at_once), None);
        assert_eq!(others(&format!("/{}%20a", "a".repeat(MAX_BYTES))), None);
        assert_eq!(others(&format!("/{}%20a", "a".repeat(8192))).unwrap().len(), 1);
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
}
