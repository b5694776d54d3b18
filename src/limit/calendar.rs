//! Calendar periods in UTC: which day ends the period of a day. Days are counted from 1970-01-01.

use jiff::civil::Date;

/// A period of the calendar, in UTC: its length, and the day on which it begins.
///
/// ```
/// use tower_api_key::limit::Period;
///
/// let tuesday = 20_788; // days since 1970-01-01: 2026-12-01
/// assert_eq!(Period::Day.end(tuesday), tuesday + 1);
/// assert_eq!(Period::Week(1).end(tuesday), tuesday + 6);
/// assert_eq!(Period::Month(31).end(tuesday), tuesday + 30);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Period {
    /// From midnight to midnight.
    Day,
    /// Begins on a day of the week: 1 is Monday, 7 is Sunday (ISO 8601).
    Week(u8),
    /// Begins on a day of the month, or on the last day of a month that is shorter.
    Month(u8),
}

pub(super) const DAY: u64 = 86_400;

/// The last day that this module computes with: 9999-12-30. Every later day counts as this one.
const LAST: u32 = 2_932_895;

impl Period {
    /// Returns the first day of the next period, in days since 1970-01-01, as `today` is.
    pub fn end(self, today: u32) -> u32 {
        let today = today.min(LAST);
        match self {
            Self::Day => today + 1,
            // 1970-01-01 was a Thursday.
            Self::Week(first) => {
                let weekday = (today + 3) % 7;
                today + 7 - (weekday + 8 - u32::from(first)) % 7
            }
            Self::Month(first) => {
                let date = date(today);
                let begin = |date: Date| i64::from(first.cast_signed().min(date.days_in_month()));
                let from_today = if i64::from(date.day()) < begin(date) {
                    begin(date) - i64::from(date.day())
                } else {
                    let rest = i64::from(date.days_in_month() - date.day());
                    let next = date.last_of_month().tomorrow().unwrap_or(date);
                    rest + begin(next)
                };
                today + u32::try_from(from_today).unwrap_or(1)
            }
        }
    }

    /// Returns the length of the period with this end, in seconds.
    pub(super) fn length(self, end: u32) -> u64 {
        let days = match self {
            Self::Day => 1,
            Self::Week(_) => 7,
            // The only period that may begin less than 32 days before this end.
            Self::Month(_) => end - self.end(end.saturating_sub(32)),
        };
        DAY * u64::from(days)
    }

    /// Returns the length of the longest period, in days.
    pub(super) fn longest(self) -> u32 {
        match self {
            Self::Day => 1,
            Self::Week(_) => 7,
            Self::Month(_) => 31,
        }
    }
}

fn date(day: u32) -> Date {
    let epoch = jiff::civil::date(1970, 1, 1);
    epoch.checked_add(jiff::Span::new().days(i64::from(day))).unwrap_or(Date::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(year: i16, month: i8, day: i8) -> u32 {
        let days = jiff::civil::date(1970, 1, 1).until(jiff::civil::date(year, month, day)).unwrap().get_days();
        days.cast_unsigned()
    }

    #[test]
    fn a_month_that_begins_on_the_31st_begins_on_the_last_day_of_a_shorter_one() {
        let month = Period::Month(31);
        assert_eq!(month.end(day(2025, 1, 30)), day(2025, 1, 31));
        assert_eq!(month.end(day(2025, 1, 31)), day(2025, 2, 28));
        assert_eq!(month.end(day(2025, 2, 27)), day(2025, 2, 28));
        assert_eq!(month.end(day(2025, 2, 28)), day(2025, 3, 31));
        assert_eq!(month.end(day(2024, 2, 29)), day(2024, 3, 31));
        assert_eq!(month.end(day(2025, 12, 31)), day(2026, 1, 31));
    }

    /// Each day of a period has the same end, and the next period begins there.
    #[test]
    fn periods_follow_each_other_without_a_gap_on_every_day_from_2024_to_2028() {
        let firsts = (1..=31).map(Period::Month).chain((1..=7).map(Period::Week)).chain([Period::Day]);
        for period in firsts {
            let mut end = period.end(day(2024, 1, 1));
            let mut began = None;
            for today in day(2024, 1, 1)..=day(2028, 12, 31) {
                if today == end {
                    end = period.end(today);
                    if let Some(began) = began.replace(today) {
                        assert_eq!(period.length(today), DAY * u64::from(today - began), "{period:?} {today}");
                    }
                    assert!(end > today, "{period:?} {today}");
                    let begins = date(today);
                    match period {
                        Period::Day => assert_eq!(end, today + 1),
                        Period::Week(first) => {
                            assert_eq!(begins.weekday().to_monday_one_offset(), first.cast_signed());
                            assert_eq!(end, today + 7);
                        }
                        Period::Month(first) => {
                            assert_eq!(begins.day(), first.cast_signed().min(begins.days_in_month()));
                            let next = date(end);
                            assert_eq!(next.month(), begins.month() % 12 + 1);
                        }
                    }
                }
                assert_eq!(period.end(today), end, "{period:?} {today}");
            }
        }
    }

    #[test]
    fn no_day_overflows() {
        for period in [Period::Day, Period::Week(1), Period::Week(7), Period::Month(1), Period::Month(31)] {
            for today in [0, LAST, u32::MAX] {
                assert!(period.end(today) > 0);
            }
        }
    }
}
