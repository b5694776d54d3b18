//! The productions of RFC 9110 that credentials consist of.

/// Removes the white space around a field value (RFC 9110 §5.5).
pub(super) fn trim_ows(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// Returns the text after `word` and its spaces (RFC 9110 §11.4: `auth-scheme 1*SP token68`). It is
/// empty if no space follows the word, and `None` if another word is there.
pub(super) fn after_word<'v>(value: &'v [u8], word: &str) -> Option<&'v [u8]> {
    let (head, rest) = value.split_at_checked(word.len())?;
    if head != word.as_bytes() && !head.eq_ignore_ascii_case(word.as_bytes()) {
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

/// Returns whether a byte may be in a token (RFC 9110 §5.6.2).
pub(super) fn is_tchar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Returns whether a text is token68 (RFC 9110 §11.2): `1*( ALPHA / DIGIT / "-" / "." / "_" / "~" /
/// "+" / "/" ) *"="`.
pub(super) fn is_token68(key: &[u8]) -> bool {
    let mut body = key;
    while let [rest @ .., b'='] = body {
        body = rest;
    }
    #[allow(clippy::needless_bitwise_bool, reason = "branches would test byte by byte")]
    let allowed = |byte: u8| {
        let is_letter = (byte | 0x20).wrapping_sub(b'a') < 26;
        let is_mark_or_digit = byte.wrapping_sub(b'-') <= b'9' - b'-'; // - . / and the digits
        let is_other_mark = (byte == b'_') | (byte == b'~') | (byte == b'+');
        is_letter | is_mark_or_digit | is_other_mark
    };
    !body.is_empty() && all_bytes(body, allowed)
}

/// Returns whether all bytes are allowed. It tests sixteen at a time, some of the last ones twice,
/// and never ends early.
pub(crate) fn all_bytes(text: &[u8], allowed: impl Fn(u8) -> bool) -> bool {
    let Some(last) = text.last_chunk::<16>() else {
        return text.iter().all(|byte| allowed(*byte));
    };
    let forbidden = |chunk: &[u8; 16]| chunk.map(|byte| u8::from(!allowed(byte))).iter().fold(0, |any, one| any | one);
    text.as_chunks().0.iter().fold(forbidden(last), |any, chunk| any | forbidden(chunk)) == 0
}
