//! Every way in which a path may be read further in. A table, a skipped path and an organization count only if they hold for each of them.

mod steps;

use http::Extensions;
use percent_encoding::percent_decode_str;

use steps::{STEPS, Step, decoded, without_last_slash};

/// A path, and the other paths that a service further in may take it for.
///
/// A reading is what any sequence of [`STEPS`] makes of the path: a proxy decodes it once, a file server once more, a framework cuts parameters off.
#[derive(Debug)]
pub(crate) struct Readings<'p> {
    path: &'p str,
    /// First those that keep the last slash, if there is one; then those that are found only without it.
    others: Vec<String>,
    keeping_last_slash: usize,
}

/// More readings than a path that is meant as it is written has.
const MOST: usize = 64;
/// The bytes of all readings of one path, so that a long path costs no more than some hundred microseconds.
const MOST_BYTES: usize = 128 * 1024;

impl<'p> Readings<'p> {
    /// Every reading of the path of a request. None, where the path is refused whatever is listed: see [`Readings::of`]. Under axum also where it
    /// has routed another path than this one with its prefixes before it.
    pub(crate) fn of_request(path: &'p str, extensions: &Extensions) -> Option<Self> {
        if is_another(path, extensions) { None } else { Self::of(path) }
    }

    /// Every reading of a path. None of a path that has an empty segment or a backslash as it is written, that has in any reading a dot segment
    /// (RFC 3986 §5.2.4) or a control character, whose decoded form is not UTF-8, that is encoded more than twice, or that has too many readings.
    ///
    /// A path of plain characters has itself alone, and allocates nothing.
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

    /// The path as it is written.
    pub(crate) fn path(&self) -> &'p str {
        self.path
    }

    /// Every other reading, and whether it is found only without the last slash.
    pub(crate) fn others(&self) -> impl Iterator<Item = (&str, bool)> {
        let others = self.others.iter().enumerate();
        others.map(|(number, reading)| (reading.as_str(), number >= self.keeping_last_slash))
    }
}

/// Adds whatever these steps make of what was found, until nothing new comes. None if one of them is refused.
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
        if found.len() > MOST || found.iter().map(String::len).sum::<usize>() > MOST_BYTES {
            return None;
        }
    }
    Some(())
}

/// Whether every reader takes the path as it is written, but perhaps for its last slash.
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

/// Whether the path has what nobody means: an empty segment, which is merged or lost on the way (under axum's `nest` `/api//health` becomes
/// `/health`, and has gone to `/{id}/health`); a backslash, which a browser's URL takes for a slash; bytes that are no UTF-8, overlong
/// forms among them, once it is decoded; or three encodings.
fn is_malformed(path: &str) -> bool {
    let is_utf8 = |path: &str| percent_decode_str(path).decode_utf8().is_ok();
    let once = decoded(path);
    let twice = once.as_deref().and_then(decoded);
    let is_encoded_further = twice.as_deref().and_then(decoded).is_some();
    let all_utf8 = [Some(path), once.as_deref(), twice.as_deref()].into_iter().flatten().all(is_utf8);
    path.contains("//") || path.contains('\\') || is_encoded_further || !all_utf8
}

/// Whether a reading has a control character, or a dot segment: also for a reader who takes backslashes for slashes, or cuts parameters.
fn is_refused(reading: &str) -> bool {
    let is_dots = |segment: &str| {
        let name = segment.split(';').next().unwrap_or_default();
        name == "." || name == ".."
    };
    // A reader that takes `//host/path` for a URL sees `/path` of another host.
    let is_url = reading.starts_with("//");
    is_url || reading.chars().any(char::is_control) || reading.split(['/', '\\']).any(is_dots)
}

/// Whether axum has routed another path than this one with its prefixes before it: `nest` has lost a slash, or has not cut a prefix
/// like `/v{n}`; or somebody has put another path into the request.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn others(path: &str) -> Option<Vec<String>> {
        let readings = Readings::of(path)?;
        assert_eq!(readings.path(), path);
        Some(readings.others().map(|(reading, _)| reading.to_owned()).collect())
    }

    #[test]
    fn a_path_that_nobody_means_has_no_readings() {
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
    fn a_plain_path_has_itself_alone() {
        for path in ["/", "/a", "/a/b.c", "/a/b..", "/a:b/@c/(d)", "/{a}/{*b}", "/a.b/c~d!$&'()*+,=", "/.well-known/x"]
        {
            assert_eq!(others(path), Some(Vec::new()), "{path}");
        }
    }

    #[test]
    fn other_readings_are_what_any_sequence_of_steps_makes_of_a_path() {
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
            // Cut before it is decoded, and after; and by a reader that leaves slashes encoded.
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
    fn readings_without_the_last_slash_come_last() {
        let readings = Readings::of("/a%2Fb/").unwrap();
        let others: Vec<_> = readings.others().collect();
        assert_eq!(others, [("/a/b/", false), ("/a%2Fb", true), ("/a/b", true)]);
    }

    #[test]
    fn a_path_with_too_many_readings_or_bytes_has_none() {
        let all_at_once = "/a%3Bb%253Bc%23d%2523e%3Ff%253Fg%2Fh%252Fi%5Cj%255Ck;l%2F%2Fm%20/";
        assert_eq!(others(all_at_once), None);
        assert_eq!(others(&format!("/{}%20a", "a".repeat(MOST_BYTES))), None);
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
