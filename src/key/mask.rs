//! The part of a key that may be shown after it was issued.

use std::{fmt, str::FromStr};

use thiserror::Error;

use super::checksum;

/// Shows a part of a key, so that people can recognize it in a list.
///
/// At least 80 random bits stay hidden ([`Mask::UNSEEN_BITS`]; [`Mask::apply_leaving`] takes
/// another number). If that is impossible, the mask is `...`. The public prefix ends with the last
/// character that is neither a letter nor a digit. The characters after it count as random. Each
/// has log2(n) bits, where n is the size of the smallest usual alphabet that contains all random
/// characters. The bits of shown checksum digits are subtracted, since they reveal something about
/// the body.
///
/// A mask cannot know whether a text was chosen at random. Do not show a mask of keys that people
/// made up, or that begin with their secret part.
///
/// ```
/// use tower_api_key::Mask;
///
/// let key = "a1b2c3d4e5f6g7h8i9j0klmnopqrstuvwxyz789";
/// assert_eq!(Mask::FirstAndLast.apply(key), "a1b2c3d4...xyz789");
/// assert_eq!(Mask::LastFour.apply(key), "...z789");
/// assert_eq!(Mask::LastFour.apply("tak_live_9fQ2mZq8Rw1XyB6cT4"), "...6cT4");
/// assert_eq!(Mask::LastFour.apply("hunter2"), "...");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Mask {
    /// The first eight and the last six characters: `hopx_liv...0mLq17`.
    #[default]
    FirstAndLast,
    /// The last four characters: `...Lq17`.
    LastFour,
}

/// The error of parsing a text that names no [`Mask`].
///
/// ```
/// use tower_api_key::{Mask, key::InvalidMask};
///
/// let error: InvalidMask = "first".parse::<Mask>().unwrap_err();
/// assert_eq!(error.to_string(), "a mask is first-and-last or last-four");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("a mask is first-and-last or last-four")]
#[non_exhaustive]
pub struct InvalidMask;

const CHECKSUM_BITS: f64 = 32.0;

impl Mask {
    /// The number of random bits that stay hidden by default. An attacker who has to ask the
    /// service cannot try 2^80 keys.
    pub const UNSEEN_BITS: u32 = 80;

    /// Returns the name: `first-and-last` or `last-four`.
    ///
    /// ```
    /// use tower_api_key::Mask;
    ///
    /// assert_eq!("last-four".parse(), Ok(Mask::LastFour)); // in a configuration file
    /// assert_eq!(Mask::LastFour.to_string(), "last-four");
    /// ```
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::FirstAndLast => "first-and-last",
            Self::LastFour => "last-four",
        }
    }

    /// Returns the mask of a key, which may be any text.
    pub fn apply(self, key: &str) -> String {
        self.apply_leaving(key, Self::UNSEEN_BITS)
    }

    /// Returns a mask that leaves at least `unseen` random bits of the key hidden, or `...`.
    ///
    /// ```
    /// use tower_api_key::Mask;
    ///
    /// let key = "tak_live_9fQ2mZq8Rw1XyB6cT4"; // 18 random characters; 14 of them are 83 bits
    /// assert_eq!(Mask::LastFour.apply_leaving(key, 83), "...6cT4");
    /// assert_eq!(Mask::LastFour.apply_leaving(key, 128), "...");
    /// ```
    pub fn apply_leaving(self, key: &str, unseen: u32) -> String {
        let (head, tail) = match self {
            Self::FirstAndLast => (8, 6),
            Self::LastFour => (0, 4),
        };
        let shown = (key.is_ascii() && unseen_bits(key.as_bytes(), head, tail) >= f64::from(unseen))
            .then(|| (key.get(..head), key.get(key.len().saturating_sub(tail)..)));
        match shown {
            Some((Some(head), Some(tail))) => format!("{head}...{tail}"),
            _ => "...".to_owned(),
        }
    }
}

impl fmt::Display for Mask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Parses the name that [`Mask::as_str`] returns.
impl FromStr for Mask {
    type Err = InvalidMask;

    fn from_str(name: &str) -> Result<Self, InvalidMask> {
        [Self::FirstAndLast, Self::LastFour].into_iter().find(|mask| mask.as_str() == name).ok_or(InvalidMask)
    }
}

/// Returns the random bits of `key` that stay hidden when its first `head` and last `tail`
/// characters are shown.
fn unseen_bits(key: &[u8], head: usize, tail: usize) -> f64 {
    let prefix = key.iter().rposition(|b| !b.is_ascii_alphanumeric()).map_or(0, |last| last + 1);
    let random = &key[prefix..];
    let (body, checksum, bits) = match random.split_last_chunk::<{ checksum::LEN }>() {
        Some((body, checksum)) if checksum::matches(random) => (body, &checksum[..], 62_f64.log2()),
        _ => (random, &[][..], bits_per_character(random)),
    };
    let seen_head = head.saturating_sub(prefix);
    let seen_tail = tail.saturating_sub(checksum.len());
    let unseen = body.len().saturating_sub(seen_head + seen_tail);
    let seen_checksum = tail.min(checksum.len());
    let given_away = CHECKSUM_BITS.min(as_f64(seen_checksum) * 62_f64.log2());
    as_f64(unseen) * bits - given_away
}

/// Returns the bits of one character. They come from the smallest usual alphabet that contains all
/// characters of the body, or of its second half if that alphabet is smaller. A public word at the
/// start (`SK`, `live`) may enlarge the alphabet of the whole body.
fn bits_per_character(body: &[u8]) -> f64 {
    let second_half = &body[body.len() / 2..];
    let letters = body.iter().all(u8::is_ascii_alphabetic);
    let both_cases = if letters { 52 } else { 62 };
    let size = |text| alphabet_of_one_case(text).unwrap_or(both_cases);
    as_f64(size(body).min(size(second_half))).log2()
}

/// Returns the size of the smallest alphabet with one case of letters that contains all of `text`:
/// decimal, hexadecimal, letters, base32 (RFC 4648 and Crockford), base36.
fn alphabet_of_one_case(text: &[u8]) -> Option<usize> {
    let all = |has: fn(&u8) -> bool| text.iter().all(has);
    let one_case = all(|b| !b.is_ascii_uppercase()) || all(|b| !b.is_ascii_lowercase());
    let rfc_4648 = all(|b| !b"0189".contains(b));
    let crockford = all(|b| !b"iloILOuU".contains(b));
    one_case.then(|| {
        if all(u8::is_ascii_digit) {
            10
        } else if all(u8::is_ascii_hexdigit) {
            16
        } else if all(u8::is_ascii_alphabetic) {
            26
        } else if rfc_4648 || crockford {
            32
        } else {
            36
        }
    })
}

/// Converts without loss, since a key has at most a few thousand characters.
#[allow(clippy::cast_precision_loss)]
fn as_f64(count: usize) -> f64 {
    count as f64
}
