//! The few productions of RFC 9110 that a credential is made of.

/// RFC 9110 §5.5: white space around a field value is not part of it.
pub(super) fn trim_ows(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// What follows `word` and its spaces (RFC 9110 §11.4: `auth-scheme 1*SP token68`): nothing, where the word is ours but
/// no space follows; `None` where another word stands.
pub(super) fn after_word<'v>(value: &'v [u8], word: &str) -> Option<&'v [u8]> {
    let (head, rest) = value.split_at_checked(word.len())?;
    if !head.eq_ignore_ascii_case(word.as_bytes()) {
        return None;
    }
    match rest {
        [b' ', ..] => {
            let spaces = rest.iter().take_while(|byte| **byte == b' ').count();
            Some(&rest[spaces..])
        }
        [other, ..] if is_tchar(*other) => None,
        _ => Some(&[]),
    }
}

/// RFC 9110 §5.6.2.
pub(super) fn is_tchar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// RFC 9110 §11.2: `1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" ) *"="`.
pub(super) fn is_token68(key: &[u8]) -> bool {
    let mut body = key;
    while let [rest @ .., b'='] = body {
        body = rest;
    }
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~+/".contains(byte);
    !body.is_empty() && body.iter().all(allowed)
}
