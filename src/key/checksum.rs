//! The checksum at the end of a key: CRC-32 of the body, in six base62 digits.
//!
//! GitHub and npm use the same form for their tokens, so secret scanners recognize it. The checksum
//! detects typing errors without a lookup. It does not prove that a key was issued, since anyone
//! can compute it.

use super::base62_number;

/// 62^6 is more than 2^32.
pub(super) const LEN: usize = 6;

/// Returns the checksum of `body`.
pub(super) fn of(body: &[u8]) -> [u8; LEN] {
    base62_number(crc32fast::hash(body).into())
}

/// Returns whether `text` is a body followed by its checksum.
pub(super) fn matches(text: &[u8]) -> bool {
    text.split_last_chunk::<LEN>().is_some_and(|(body, digits)| !body.is_empty() && of(body) == *digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_the_published_tokens() {
        assert_eq!(&of(b"zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ"), b"0mLq17");
    }
}
