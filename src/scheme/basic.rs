//! Decodes the user name or the password in `Authorization: Basic`.

use base64::{Engine, engine::general_purpose::STANDARD};
use zeroize::Zeroizing;

use crate::rejection::Cause;

/// The part of `user:password` that is the key.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum BasicPart {
    User,
    Password,
}

/// Returns the text before or after the first colon (RFC 7617 §2).
pub(super) fn decode(coded: &[u8], part: BasicPart, max_key_len: usize) -> Result<Zeroizing<Vec<u8>>, Cause> {
    if coded.len() > max_coded_len(max_key_len) {
        return Err(Cause::TooLong);
    }
    let user_pass = Zeroizing::new(STANDARD.decode(coded).map_err(|_| Cause::NotBase64)?);
    let colon = user_pass.iter().position(|byte| *byte == b':').ok_or(Cause::NoColon)?;
    let part = match part {
        BasicPart::User => &user_pass[..colon],
        BasicPart::Password => &user_pass[colon + 1..],
    };
    Ok(Zeroizing::new(part.to_vec()))
}

/// Returns the base64 length of a key, a colon, and another part as long as the key.
const fn max_coded_len(max_key_len: usize) -> usize {
    (2 * max_key_len + 1).div_ceil(3) * 4
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_colon_divides_user_name_and_password() {
        for (coded, expected) in [
            ("QWxhZGRpbjpvcGVuIHNlc2FtZQ==", Ok(("Aladdin", "open sesame"))), // RFC 7617 §2
            ("a2V5Og==", Ok(("key", ""))),
            ("a2V5OmE6Yg==", Ok(("key", "a:b"))),
            ("OnBhc3N3b3Jk", Ok(("", "password"))),
            ("a2V5", Err(Cause::NoColon)),
            ("a2V5Og", Err(Cause::NotBase64)),
            ("a2V5Oh==", Err(Cause::NotBase64)),
            ("a2V5Og== ", Err(Cause::NotBase64)),
            ("", Err(Cause::NoColon)),
        ] {
            for (part, expected) in [
                (BasicPart::User, expected.map(|(user, _)| user)),
                (BasicPart::Password, expected.map(|(_, password)| password)),
            ] {
                let decoded = decode(coded.as_bytes(), part, 512);
                assert_eq!(
                    decoded.as_ref().map(|part| &part[..]),
                    expected.as_ref().map(|part| part.as_bytes()),
                    "{coded}"
                );
            }
        }
        let longest = STANDARD.encode(format!("{}:{}", "k".repeat(512), "p".repeat(512)));
        assert_eq!(longest.len(), max_coded_len(512));
        for part in [BasicPart::User, BasicPart::Password] {
            assert_eq!(decode(longest.as_bytes(), part, 512).map(|part| part.len()), Ok(512));
            assert_eq!(decode(STANDARD.encode([b':'; 1027]).as_bytes(), part, 512), Err(Cause::TooLong));
        }
    }
}
