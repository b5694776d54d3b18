//! Times in the form of HTTP headers.

use std::time::SystemTime;

use http::HeaderValue;

/// 10000-01-01, in seconds since 1970.
const YEAR_10000: u64 = 253_402_300_800;

/// Returns the time as an IMF-fixdate (RFC 9110 §5.6.7), rounded down to seconds. Times before 1970
/// and after 9999 have no such form here: `httpdate` would panic.
pub(crate) fn imf_fixdate(instant: SystemTime) -> Option<HeaderValue> {
    let since = instant.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    if since.as_secs() >= YEAR_10000 {
        return None;
    }
    HeaderValue::try_from(httpdate::fmt_http_date(instant)).ok()
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
        assert_eq!(imf_fixdate(SystemTime::UNIX_EPOCH - Duration::from_micros(1)), None);
    }
}
