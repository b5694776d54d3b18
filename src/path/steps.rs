//! The transformations that a reader may apply to a path.

use percent_encoding::percent_decode_str;

/// A transformation that a reader may apply to a path. Returns `None` if it changes nothing.
pub(super) type Step = fn(&str) -> Option<String>;

pub(super) const STEPS: [Step; 10] = [
    with_unreserved_decoded,
    with_all_but_slashes_decoded,
    decoded,
    |path| cut_at(path, '?'),
    |path| cut_at(path, '#'),
    without_parameters,
    without_last_parameters,
    |path| path.contains('\\').then(|| path.replace('\\', "/")),
    with_slashes_merged,
    |path| Some(path.trim_end()).filter(|trimmed| trimmed.len() < path.len()).map(str::to_owned),
];

/// Decodes everything (RFC 3986 §2.1).
pub(super) fn decoded(path: &str) -> Option<String> {
    let decoded = percent_decode_str(path).decode_utf8_lossy();
    (decoded != path).then(|| decoded.into_owned())
}

/// Decodes only unreserved characters (RFC 3986 §6.2.2.2).
fn with_unreserved_decoded(path: &str) -> Option<String> {
    decode_where(path, |byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte))
}

/// Decodes everything but slashes. Some proxies do this to keep the segments.
fn with_all_but_slashes_decoded(path: &str) -> Option<String> {
    decode_where(path, |byte| byte != b'/')
}

fn decode_where(path: &str, is_decoded: impl Fn(u8) -> bool) -> Option<String> {
    let mut parts = path.split('%');
    let mut decoded = parts.next().unwrap_or_default().as_bytes().to_vec();
    let mut is_another = false;
    for part in parts {
        let digits = part.get(..2).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        if let Some(byte) = byte.filter(|byte| is_decoded(*byte)) {
            is_another = true;
            decoded.push(byte);
            decoded.extend_from_slice(&part.as_bytes()[2..]);
        } else {
            decoded.push(b'%');
            decoded.extend_from_slice(part.as_bytes());
        }
    }
    is_another.then(|| String::from_utf8_lossy(&decoded).into_owned())
}

fn cut_at(path: &str, end: char) -> Option<String> {
    path.split_once(end).map(|(path, _)| path.to_owned())
}

/// Cuts every segment off at its semicolon (RFC 3986 §3.3).
fn without_parameters(path: &str) -> Option<String> {
    let name = |segment: &str| segment.split(';').next().unwrap_or_default().to_owned();
    path.contains(';').then(|| path.split('/').map(name).collect::<Vec<_>>().join("/"))
}

/// Cuts off the parameters of the last segment only, as RFC 2396 readers do.
fn without_last_parameters(path: &str) -> Option<String> {
    let last = path.rfind('/')?;
    let end = path[last..].find(';')?;
    Some(path[..last + end].to_owned())
}

fn with_slashes_merged(path: &str) -> Option<String> {
    path.contains("//").then(|| {
        let segments = path.split('/').filter(|segment| !segment.is_empty());
        let mut merged: String = segments.flat_map(|segment| ["/", segment]).collect();
        if path.ends_with('/') {
            merged.push('/');
        }
        merged
    })
}

pub(super) fn without_last_slash(path: &str) -> Option<String> {
    path.strip_suffix('/').filter(|path| !path.is_empty()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

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
