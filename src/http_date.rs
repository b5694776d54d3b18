//! Times in the form of HTTP headers.

use std::time::SystemTime;

use http::HeaderValue;

const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

const SECONDS_OF_A_DAY: u64 = 24 * 60 * 60;

/// Returns the time as an IMF-fixdate (RFC 9110 §5.6.7), rounded down to seconds. Times before 1970
/// and after 9999 have no such form here.
pub(crate) fn imf_fixdate(instant: SystemTime) -> Option<HeaderValue> {
    let seconds = instant.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs();
    let (days, time) = (seconds / SECONDS_OF_A_DAY, seconds % SECONDS_OF_A_DAY);
    let (year, month, day) = date(days)?;
    let weekday = DAYS[usize::try_from(days % 7).ok()?];
    let (hour, minute, second) = (time / 3600, time / 60 % 60, time % 60);
    let text = format!("{weekday}, {day:02} {} {year:04} {hour:02}:{minute:02}:{second:02} GMT", MONTHS[month]);
    HeaderValue::try_from(text).ok()
}

/// Returns the year, the index of the month and the day of the month, for days since 1970-01-01.
fn date(mut days: u64) -> Option<(u64, usize, u64)> {
    // 400 years of the calendar have always the same number of days.
    let cycles = days / 146_097;
    days %= 146_097;
    let mut year = 1970 + 400 * cycles;
    if year > 9999 {
        return None;
    }
    while days >= days_of(year) {
        days -= days_of(year);
        year += 1;
    }
    let mut month = 0;
    loop {
        let length = match month {
            1 => days_of(year) - 337,
            3 | 5 | 8 | 10 => 30,
            _ => 31,
        };
        if days < length {
            return (year <= 9999).then_some((year, month, days + 1));
        }
        days -= length;
        month += 1;
    }
}

fn days_of(year: u64) -> u64 {
    let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    365 + u64::from(is_leap)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_time_has_the_form_of_http() {
        for (seconds, expected) in [
            (0, Some("Thu, 01 Jan 1970 00:00:00 GMT")),
            (784_111_777, Some("Sun, 06 Nov 1994 08:49:37 GMT")),
            (951_782_400, Some("Tue, 29 Feb 2000 00:00:00 GMT")),
            (1_800_000_000, Some("Fri, 15 Jan 2027 08:00:00 GMT")),
            (4_107_542_400, Some("Mon, 01 Mar 2100 00:00:00 GMT")),
            (253_402_300_799, Some("Fri, 31 Dec 9999 23:59:59 GMT")),
            (253_402_300_800, None),
            (u64::from(u32::MAX) * 1_000, None),
        ] {
            let instant = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds) + Duration::from_millis(999);
            let written = imf_fixdate(instant);
            assert_eq!(written.as_ref().map(|value| value.to_str().unwrap()), expected, "{seconds}");
        }
        assert_eq!(imf_fixdate(SystemTime::UNIX_EPOCH - Duration::from_secs(1)), None);
    }
}
