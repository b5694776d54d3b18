//! Times in requests: RFC 3339 and no other form.

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, de::Error};

use super::presence::Nullable;

/// Deserializes a time that is present; `null` is rejected.
pub(super) fn present_time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    parsed(&String::deserialize(deserializer)?).map(Some)
}

/// Deserializes a time that is present and can be `null`.
pub(super) fn nullable_time<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Nullable<Timestamp>>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    Ok(Some(Nullable(text.map(|text| parsed(&text)).transpose()?)))
}

fn parsed<E: Error>(text: &str) -> Result<Timestamp, E> {
    parse_time(text).ok_or_else(|| E::custom("not a time"))
}

/// Parses a time; `None` for another form.
pub(super) fn parse_time(text: &str) -> Option<Timestamp> {
    if is_rfc3339(text) { text.parse().ok().or_else(|| last_instant(text)) } else { None }
}

/// Returns [`Timestamp::MAX`] for the last two days of 9999, which clients send for "never". A
/// [`Timestamp`] ends on 30 December 9999.
fn last_instant(text: &str) -> Option<Timestamp> {
    let rest = text.strip_prefix("9999-12-3")?;
    format!("9998-12-3{rest}").parse::<Timestamp>().ok().map(|_| Timestamp::MAX)
}

/// Returns whether the text has the form `2027-01-15T08:00:00Z`, with an optional fraction, and `Z`
/// or an offset. It does not check the ranges of the numbers.
fn is_rfc3339(text: &str) -> bool {
    let has_form = |text: &str, form: &str| {
        let fits = |(letter, wanted): (u8, u8)| match wanted {
            b'0' => letter.is_ascii_digit(),
            b'T' => matches!(letter, b'T' | b't' | b' '),
            b'+' => matches!(letter, b'+' | b'-'),
            _ => letter == wanted,
        };
        text.len() == form.len() && text.bytes().zip(form.bytes()).all(fits)
    };
    let Some((begin, mut rest)) = text.split_at_checked(19) else { return false };
    if let Some(fraction) = rest.strip_prefix('.') {
        rest = fraction.trim_start_matches(|letter: char| letter.is_ascii_digit());
        if rest.len() == fraction.len() {
            return false;
        }
    }
    has_form(begin, "0000-00-00T00:00:00") && (matches!(rest, "Z" | "z") || has_form(rest, "+00:00"))
}
