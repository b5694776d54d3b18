//! Times and durations in arguments and in the configuration.

use std::time::{Duration, SystemTime};

use jiff::{Timestamp, civil::Date, tz::TimeZone};

/// A time, or none.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Moment {
    At(SystemTime),
    Never,
}

// === impl Moment ===

impl Moment {
    pub(crate) fn time(self) -> Option<SystemTime> {
        match self {
            Self::At(time) => Some(time),
            Self::Never => None,
        }
    }
}

/// Returns the current time. The other code takes it from here.
#[expect(clippy::disallowed_methods, reason = "the only place of the command that reads the clock")]
pub(crate) fn now() -> SystemTime {
    SystemTime::now()
}

/// Parses a duration, such as `90d` or `1h 30m`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| format!("write a duration as 90d, 12h or 30m: {error}"))
}

/// Parses a time: RFC 3339, a date (its start in UTC), or a duration from now.
pub(crate) fn time(text: &str) -> Result<SystemTime, String> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time.into());
    }
    if let Ok(date) = text.parse::<Date>() {
        return date.to_zoned(TimeZone::UTC).map(|zoned| zoned.timestamp().into()).map_err(|error| error.to_string());
    }
    let later = humantime::parse_duration(text).ok().and_then(|duration| now().checked_add(duration));
    later.ok_or_else(|| "write a time as 2027-01-31T12:00:00Z, 2027-01-31, or 90d from now".to_owned())
}

/// Parses a time, or `never`.
pub(crate) fn moment(text: &str) -> Result<Moment, String> {
    if text == "never" { Ok(Moment::Never) } else { time(text).map(Moment::At) }
}

/// Returns a time in the past: RFC 3339, a date, or a duration before now.
pub(crate) fn past(text: &str) -> Result<SystemTime, String> {
    match humantime::parse_duration(text) {
        Ok(ago) => now().checked_sub(ago).ok_or_else(|| "too long ago".to_owned()),
        Err(_) => time(text),
    }
}

/// Writes a time for people: in UTC, to the second.
pub(crate) fn shown(time: SystemTime) -> String {
    match Timestamp::try_from(time) {
        Ok(time) => time.strftime("%Y-%m-%d %H:%M:%SZ").to_string(),
        Err(_) => "out of range".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 86_400;

    #[test]
    fn a_time_is_rfc_3339_or_a_date_or_a_duration_from_now() {
        let day = SystemTime::UNIX_EPOCH + Duration::from_secs(DAY * 20_833);
        assert_eq!(time("2027-01-15"), Ok(day));
        assert_eq!(time("2027-01-15T00:00:00Z"), Ok(day));
        assert!(time("90d").unwrap() > now() + Duration::from_secs(89 * DAY));
        assert!(past("90d").unwrap() < now() - Duration::from_secs(89 * DAY));
        assert!(matches!(moment("never"), Ok(Moment::Never)));
        for wrong in ["", "tomorrow", "2027-13-01", "-1d", "999999999999y"] {
            assert!(time(wrong).is_err(), "{wrong}");
        }
    }
}
