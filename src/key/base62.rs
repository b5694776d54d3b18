//! Base62: digits, upper case, lower case.

use rand::{TryRng, rngs::SysRng};
use zeroize::Zeroizing;

use super::FormatError;

/// The order of digits in the tokens of GitHub and npm.
pub(super) const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Returns the last `DIGITS` base62 digits of a number. Texts of equal length have the same order
/// as their numbers.
pub(crate) fn base62_number<const DIGITS: usize>(number: u64) -> [u8; DIGITS] {
    let mut rest = number;
    let mut digits = [b'0'; DIGITS];
    for digit in digits.iter_mut().rev() {
        *digit = BASE62[usize::try_from(rest % 62).unwrap_or(0)];
        rest /= 62;
    }
    digits
}

/// Returns a random number: for an id that no other node has, or to spread work in time.
#[cfg(any(feature = "cache", feature = "limits"))]
pub(crate) fn random_bytes() -> Result<[u8; 8], FormatError> {
    let mut random = [0; 8];
    SysRng.try_fill_bytes(&mut random).map_err(|_| FormatError::Generator)?;
    Ok(random)
}

/// Returns uniformly random base62 digits. Each comes from six random bits. Two of the 64 values
/// have no digit, and are skipped.
pub(crate) fn random_base62(digits: usize) -> Result<Zeroizing<Vec<u8>>, FormatError> {
    let mut body = Zeroizing::new(Vec::with_capacity(digits));
    let mut random = Zeroizing::new([0; 64]);
    while body.len() < digits {
        SysRng.try_fill_bytes(&mut *random).map_err(|_| FormatError::Generator)?;
        let missing = digits - body.len();
        let drawn = random.iter().filter_map(|byte| BASE62.get(usize::from(byte >> 2)));
        body.extend(drawn.take(missing));
    }
    Ok(body)
}
