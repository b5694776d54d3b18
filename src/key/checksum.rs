//! The checksum at the end of a key: CRC-32 of the body, in six base62 digits.
//!
//! The form that GitHub's and npm's tokens have, so that secret scanners know what to do with it. It tells a typo from
//! a key, without a lookup. It is no protection: anybody can compute it.

/// Digits, upper case, lower case: the order that the known tokens use.
pub(super) const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// 62^6 is more than 2^32.
pub(super) const LEN: usize = 6;

/// The checksum of `body`.
pub(super) fn of(body: &[u8]) -> [u8; LEN] {
    base62_number(crc32fast::hash(body).into())
}

/// The last digits of a number, as many as asked for. Numbers with equally many digits are in the order of their texts.
pub(crate) fn base62_number<const DIGITS: usize>(number: u64) -> [u8; DIGITS] {
    let mut rest = number;
    let mut digits = [b'0'; DIGITS];
    for digit in digits.iter_mut().rev() {
        *digit = BASE62[usize::try_from(rest % 62).unwrap_or(0)];
        rest /= 62;
    }
    digits
}

/// Whether `text` is a body and its checksum.
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
