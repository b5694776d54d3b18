//! The user name out of `Authorization: Basic`.

use base64::{Engine, engine::general_purpose::STANDARD};
use zeroize::Zeroizing;

/// Room for a key, a colon, and a password as long as a key.
const MAX_CODED_LEN: usize = 1368;

/// What stands before the colon (RFC 7617 §2); none of what is not base64, too long, or has no colon.
pub(super) fn user_name(coded: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    if coded.len() > MAX_CODED_LEN {
        return None;
    }
    let user_pass = Zeroizing::new(STANDARD.decode(coded).ok()?);
    let colon = user_pass.iter().position(|byte| *byte == b':')?;
    Some(Zeroizing::new(user_pass[..colon].to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_user_name_ends_before_the_first_colon() {
        for (coded, expected) in [
            ("QWxhZGRpbjpvcGVuIHNlc2FtZQ==", Some("Aladdin")), // RFC 7617 §2
            ("a2V5Og==", Some("key")),
            ("a2V5OmE6Yg==", Some("key")),
            ("OnBhc3N3b3Jk", Some("")),
            ("a2V5", None),
            ("a2V5Og", None),
            ("a2V5Oh==", None),
            ("a2V5Og== ", None),
            ("", None),
        ] {
            let name = user_name(coded.as_bytes());
            assert_eq!(name.as_ref().map(|name| &name[..]), expected.map(str::as_bytes), "{coded}");
        }
        let longest = STANDARD.encode(format!("{}:{}", "k".repeat(512), "p".repeat(512)));
        assert_eq!(longest.len(), MAX_CODED_LEN);
        assert_eq!(user_name(longest.as_bytes()).map(|name| name.len()), Some(512));
        assert_eq!(user_name(STANDARD.encode([b':'; 1027]).as_bytes()), None);
    }
}
