//! Estimates how hard a key is to guess, to reject keys that people made up.
//!
//! It reads a text from left to right. Each character has log2(n) bits, where n is the size of the
//! smallest usual alphabet that contains the whole text. The following parts of a text count less:
//!
//! | in the text                                                        | counts as              |
//! |--------------------------------------------------------------------|------------------------|
//! | four or more characters that appeared before: `abab`, `aaaa`       | one character          |
//! | four or more in a row: `1234`, `dcba`, `qwer`, `1qaz`, `!QAZ`      | two characters         |
//! | six or more that alternate between two such rows: `a1b2c3`         | four characters        |
//! | a common word, also as `p4ssw0rd`, or a hash that is on every list | 8 bits                 |
//! | five or more lower-case letters, except hexadecimal digits         | 2.5 bits each          |
//! | three or more decimal digits, except hexadecimal digits            | 3.3 bits each          |
//! | a separator: `-`, `_`, `.`                                         | 1 bit                  |
//! | any character, if the text has n < 6 different characters          | log2(n) bits           |

use super::common_words::{HASHES, ROWS, WORDS};

const WORD_BITS: f64 = 8.0;
const LETTER_BITS: f64 = 2.5;
const SEPARATOR_BITS: f64 = 1.0;

/// Estimates how many bits of this key an attacker has to guess. The estimate assumes that the
/// attacker knows how people make up keys. Returns 0 for a text beyond ASCII.
pub(crate) fn estimated_bits(key: &str) -> f64 {
    let text = key.as_bytes();
    if !key.is_ascii() {
        return 0.0;
    }
    let alphabet = Alphabet::of(text);
    let lower = key.to_ascii_lowercase().into_bytes();
    let plain: Vec<u8> = lower.iter().map(|byte| without_leet(*byte)).collect();
    let unshifted: Vec<u8> = lower.iter().map(|byte| without_shift(*byte)).collect();
    let (mut bits, mut at) = (0.0, 0);
    while at < text.len() {
        let (cost, length) = alphabet.step([text, &lower, &plain, &unshifted], at);
        bits += cost;
        at += length;
    }
    bits
}

struct Alphabet {
    bits: f64,
    is_hexadecimal: bool,
}

impl Alphabet {
    fn of(text: &[u8]) -> Self {
        let has = |class: fn(&u8) -> bool| text.iter().any(class);
        let is_one_case = !has(u8::is_ascii_lowercase) || !has(u8::is_ascii_uppercase);
        let in_digits = |byte: &u8| byte.is_ascii_hexdigit() || is_separator(*byte);
        let is_hexadecimal = is_one_case && text.iter().all(in_digits) && has(u8::is_ascii_digit);
        let mut size = 0_u32;
        for (is_there, class) in [
            (has(u8::is_ascii_digit), 10),
            (has(u8::is_ascii_lowercase), if is_hexadecimal { 6 } else { 26 }),
            (has(u8::is_ascii_uppercase), if is_hexadecimal { 6 } else { 26 }),
            (text.iter().any(|byte| byte.is_ascii_punctuation() && !is_separator(*byte)), 32),
        ] {
            size += if is_there { class } else { 0 };
        }
        let mut seen = [false; 256];
        for byte in text {
            seen[usize::from(*byte)] = true;
        }
        let distinct = seen.into_iter().map(u32::from).sum();
        let size = if distinct < 6 { size.min(distinct) } else { size };
        Self { bits: f64::from(size.max(1)).log2(), is_hexadecimal }
    }

    /// Returns the bits of the next characters and their number, for the longest match at `at`.
    fn step(&self, [text, lower, plain, unshifted]: [&[u8]; 4], at: usize) -> (f64, usize) {
        let known = [
            (self.bits, repeated(lower, at)),
            (2.0 * self.bits, in_a_row(lower, at).max(in_a_row(unshifted, at))),
            (4.0 * self.bits, in_two_rows(lower, at)),
            (WORD_BITS, word(lower, at).max(word(plain, at))),
        ];
        let found = known.into_iter().filter(|(cost, length)| *length > 0 && *cost < self.plain(text, at, *length));
        found.max_by_key(|(_, length)| *length).unwrap_or_else(|| (self.single(text, at), 1))
    }

    /// Returns the bits of `length` characters that match no pattern.
    fn plain(&self, text: &[u8], at: usize, length: usize) -> f64 {
        (at..at + length).map(|place| self.single(text, place)).sum()
    }

    fn single(&self, text: &[u8], at: usize) -> f64 {
        let byte = text[at];
        if is_separator(byte) {
            SEPARATOR_BITS
        } else if self.is_hexadecimal {
            self.bits
        } else if byte.is_ascii_lowercase() && run(text, at, u8::is_ascii_lowercase) >= 5 {
            self.bits.min(LETTER_BITS)
        } else if byte.is_ascii_digit() && run(text, at, u8::is_ascii_digit) >= 3 {
            self.bits.min(10_f64.log2())
        } else {
            self.bits
        }
    }
}

/// Returns the length of the run of characters of this class around `at`.
fn run(text: &[u8], at: usize, class: fn(&u8) -> bool) -> usize {
    let before = text[..at].iter().rev().take_while(|byte| class(byte)).count();
    before + text[at..].iter().take_while(|byte| class(byte)).count()
}

/// Returns how many characters from `at` repeat earlier ones; 0 if fewer than four. The repetition
/// may overlap, as in `aaaaa`.
fn repeated(text: &[u8], at: usize) -> usize {
    let same = |from: usize| text[at..].iter().zip(&text[from..]).take_while(|(now, before)| now == before).count();
    (0..at).map(same).max().filter(|length| *length >= 4).unwrap_or(0)
}

/// Returns how many characters from `at` follow each other in the alphabet, among the digits or on
/// the keyboard, in either direction; 0 if fewer than four.
fn in_a_row(text: &[u8], at: usize) -> usize {
    let rest = &text[at..];
    let counted = |step: i16| {
        let follows = |pair: &&[u8]| {
            let is_one_class = pair[0].is_ascii_digit() == pair[1].is_ascii_digit();
            is_one_class && pair[0].is_ascii_alphanumeric() && i16::from(pair[1]) - i16::from(pair[0]) == step
        };
        1 + rest.windows(2).take_while(follows).count()
    };
    let on_the_row = |row: &[u8]| {
        let place = |byte: &u8| row.iter().position(|key| key == byte);
        let follows =
            |pair: &&[u8]| matches!((place(&pair[0]), place(&pair[1])), (Some(a), Some(b)) if a.abs_diff(b) == 1);
        1 + rest.windows(2).take_while(follows).count()
    };
    let rows = ROWS.into_iter().map(on_the_row);
    [counted(1), counted(-1)].into_iter().chain(rows).max().filter(|length| *length >= 4).unwrap_or(0)
}

/// Returns how many characters from `at` alternate between two rows, as in `a1b2c3`; 0 if fewer
/// than six.
fn in_two_rows(text: &[u8], at: usize) -> usize {
    let mut directions = [0; 2];
    let follows = |(number, three): &(usize, &[u8])| {
        let is_one_class = three[0].is_ascii_digit() == three[2].is_ascii_digit() && three[0].is_ascii_alphanumeric();
        let step = i16::from(three[2]) - i16::from(three[0]);
        let direction = &mut directions[number % 2];
        let continues = *direction == 0 || *direction == step;
        *direction = step;
        is_one_class && step.abs() == 1 && continues
    };
    let length = 2 + text[at..].windows(3).enumerate().take_while(follows).count();
    if length >= 6 { length } else { 0 }
}

/// Returns the length of the longest common word or hash that begins at `at`.
fn word(text: &[u8], at: usize) -> usize {
    let begins = |word: &&&str| text[at..].starts_with(word.as_bytes());
    WORDS.iter().chain(&HASHES).filter(begins).map(|word| word.len()).max().unwrap_or(0)
}

fn without_leet(byte: u8) -> u8 {
    match byte {
        b'0' => b'o',
        b'1' | b'!' => b'i',
        b'3' => b'e',
        b'4' | b'@' => b'a',
        b'5' | b'$' => b's',
        b'7' => b't',
        other => other,
    }
}

/// Returns the digit below a mark on the US keyboard.
fn without_shift(byte: u8) -> u8 {
    let place = b")!@#$%^&*(".iter().position(|mark| *mark == byte);
    place.and_then(|digit| u8::try_from(digit).ok()).map_or(byte, |digit| b'0' + digit)
}

fn is_separator(byte: u8) -> bool {
    matches!(byte, b'-' | b'_' | b'.')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::{KeyFormat, random_base62};

    #[test]
    fn random_keys_count_in_full() {
        for _ in 0..2_000 {
            let base62 = random_base62(22).unwrap();
            assert!(estimated_bits(str::from_utf8(&base62).unwrap()) >= 64.0, "22 base62 digits");
            let hexadecimal: String =
                random_base62(32).unwrap().iter().map(|byte| format!("{:x}", byte % 16)).collect();
            assert!(estimated_bits(&hexadecimal) >= 64.0, "{hexadecimal}");
            let key = KeyFormat::new("sk-live").unwrap().generate().unwrap();
            assert!(estimated_bits(key.expose()) >= 128.0);
        }
        assert!(estimated_bits("550e8400-e29b-41d4-a716-446655440000") >= 64.0, "a UUID");
    }
}
