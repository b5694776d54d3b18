//! A calendar day in UTC, the unit in which usage is kept.

use std::{
    fmt,
    str::FromStr,
    time::{Duration, SystemTime},
};

use thiserror::Error;

/// A calendar day in UTC, from 1970-01-01 on. Its text is `YYYY-MM-DD`.
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use tower_api_key::store::UtcDay;
///
/// let day = UtcDay::from(SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000));
/// assert_eq!(day.to_string(), "2027-01-15");
/// assert_eq!("2027-01-15".parse(), Ok(day));
/// assert_eq!(day.minus(15).to_string(), "2026-12-31");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UtcDay(u32);

/// The error of parsing a text that names no [`UtcDay`].
///
/// ```
/// use tower_api_key::store::{InvalidDay, UtcDay};
///
/// let error: InvalidDay = "2027-02-29".parse::<UtcDay>().unwrap_err();
/// assert_eq!(error.to_string(), "a day is a date from 1970-01-01 to 9999-12-31");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("a day is a date from 1970-01-01 to 9999-12-31")]
#[non_exhaustive]
pub struct InvalidDay;

const DAY: u64 = 24 * 60 * 60;

/// The days before 1970-01-01, counted from 0000-03-01: a year that begins in March ends with the
/// leap day.
const BEFORE_1970: u64 = 719_468;

/// The days of 400 years, after which the calendar repeats.
const CYCLE: u64 = 146_097;

// === impl UtcDay ===

impl UtcDay {
    /// Returns the day with this number; 1970-01-01 is 0.
    pub const fn from_number(days: u32) -> Self {
        Self(days)
    }

    /// Returns the number of days since 1970-01-01.
    pub const fn number(self) -> u32 {
        self.0
    }

    /// Returns the day that is this many days earlier, 1970-01-01 at the earliest.
    #[must_use]
    pub const fn minus(self, days: u32) -> Self {
        Self(self.0.saturating_sub(days))
    }

    /// Returns its first instant.
    pub fn start(self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(u64::from(self.0) * DAY)
    }

    /// Returns the year, the month and the day of the month.
    fn date(self) -> (u64, u64, u64) {
        let days = u64::from(self.0) + BEFORE_1970;
        let (cycle, day) = (days / CYCLE, days % CYCLE);
        // Corrects for the leap days, so that all years have 365 days.
        let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
        let day = day - (365 * year + year / 4 - year / 100);
        // The lengths of five months from March on, and again from August on, sum up to 153 days.
        let month = (5 * day + 2) / 153;
        let day = day - (153 * month + 2) / 5 + 1;
        let is_next_year = month >= 10;
        let month = if is_next_year { month - 9 } else { month + 3 };
        (cycle * 400 + year + u64::from(is_next_year), month, day)
    }
}

/// Returns the day of this instant, or 1970-01-01 for an earlier one.
impl From<SystemTime> for UtcDay {
    fn from(instant: SystemTime) -> Self {
        let since = instant.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self(u32::try_from(since.as_secs() / DAY).unwrap_or(u32::MAX))
    }
}

impl fmt::Display for UtcDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = self.date();
        write!(f, "{year:04}-{month:02}-{day:02}")
    }
}

impl FromStr for UtcDay {
    type Err = InvalidDay;

    fn from_str(text: &str) -> Result<Self, InvalidDay> {
        let has_form = text.len() == 10
            && text
                .bytes()
                .enumerate()
                .all(|(at, byte)| if matches!(at, 4 | 7) { byte == b'-' } else { byte.is_ascii_digit() });
        let number = |range| text.get(range).and_then(|digits: &str| digits.parse::<u64>().ok());
        let (Some(year), Some(month), Some(day)) = (number(0..4), number(5..7), number(8..10)) else {
            return Err(InvalidDay);
        };
        if !has_form || year < 1970 || !(1..=12).contains(&month) || day == 0 {
            return Err(InvalidDay);
        }
        let (year_from_march, month_from_march) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
        let leap_days = year_from_march / 4 - year_from_march / 100 + year_from_march / 400;
        let days = 365 * year_from_march + leap_days + (153 * month_from_march + 2) / 5 + day - 1;
        let parsed = days.checked_sub(BEFORE_1970).and_then(|days| u32::try_from(days).ok()).map(Self);
        // A day that the month does not have is a date of the next month.
        parsed.filter(|parsed| parsed.date() == (year, month, day)).ok_or(InvalidDay)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_counted_by_the_calendar() {
        let mut number = 0_u32;
        for year in 1970_u64..=9999 {
            let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let february: u32 = if is_leap { 29 } else { 28 };
            for (month, length) in (1_u64..).zip([31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]) {
                for day in 1..=length {
                    assert_eq!(UtcDay(number).date(), (year, month, u64::from(day)));
                    number += 1;
                }
                // The first and the last day, and the day after it.
                for (day, expected) in [(1, Ok(UtcDay(number - length))), (length, Ok(UtcDay(number - 1)))] {
                    assert_eq!(format!("{year}-{month:02}-{day:02}").parse(), expected);
                }
                assert_eq!(format!("{year}-{month:02}-{:02}", length + 1).parse::<UtcDay>(), Err(InvalidDay));
            }
        }
    }

    #[test]
    fn a_day_has_one_form() {
        for text in [
            "",
            "2027-1-15",
            "2027-01-5",
            "20270115",
            "+027-01-15",
            "2027-01-15 ",
            "2027-13-01",
            "2027-00-10",
            "2027-01-00",
            "1969-12-31",
            "10000-01-01",
            "2027/01/15",
            "２0-01-15",
        ] {
            assert_eq!(text.parse::<UtcDay>(), Err(InvalidDay), "{text}");
        }
    }

    #[test]
    fn a_day_is_that_of_utc() {
        let midnight = UtcDay(20_000).start();
        assert_eq!(UtcDay::from(midnight), UtcDay(20_000));
        assert_eq!(UtcDay::from(midnight - Duration::from_nanos(1)), UtcDay(19_999));
        assert_eq!(UtcDay::from(SystemTime::UNIX_EPOCH - Duration::from_secs(1)), UtcDay(0));
        assert_eq!((UtcDay(3).minus(2), UtcDay(3).minus(9)), (UtcDay(1), UtcDay(0)));
    }
}
