//! Reads the time. No other module does.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::time::Instant;

/// The wall clock. The library reads it only for records that contain a time.
#[derive(Clone)]
pub(crate) struct Clock(Option<Arc<dyn Fn() -> SystemTime + Send + Sync>>);

/// Measures durations.
pub(crate) struct Stopwatch(Instant);

/// Converts monotonic instants to nanoseconds since a start, so that they fit into an atomic.
#[cfg(any(feature = "cache", feature = "limits"))]
#[derive(Clone, Copy)]
pub(crate) struct Timeline(Instant);

/// Rounds down to whole microseconds, the precision of every store.
pub(crate) fn to_micros(instant: SystemTime) -> SystemTime {
    let since = instant.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    instant - Duration::from_nanos(u64::from(since.subsec_nanos() % 1000))
}

/// Returns the microseconds since 1970, rounded down, so that no key works longer than its expiry.
pub(crate) fn micros_of(instant: SystemTime) -> i64 {
    match instant.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_micros()).unwrap_or(i64::MAX),
        Err(before) => -i64::try_from(before.duration().as_nanos().div_ceil(1000)).unwrap_or(i64::MAX),
    }
}

/// Returns the time of these microseconds; `None` if the clock cannot express it.
pub(crate) fn from_micros(micros: i64) -> Option<SystemTime> {
    let distance = Duration::from_micros(micros.unsigned_abs());
    let epoch = SystemTime::UNIX_EPOCH;
    if micros < 0 { epoch.checked_sub(distance) } else { epoch.checked_add(distance) }
}

impl Clock {
    /// Returns the system clock.
    pub(crate) fn system() -> Self {
        Self(None)
    }

    pub(crate) fn new(now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(now)))
    }

    #[cfg(feature = "limits")]
    pub(crate) fn is_system(&self) -> bool {
        self.0.is_none()
    }

    #[allow(clippy::disallowed_methods, reason = "this is the clock")]
    pub(crate) fn now(&self) -> SystemTime {
        match &self.0 {
            Some(now) => now(),
            None => SystemTime::now(),
        }
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

impl Stopwatch {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

#[cfg(any(feature = "cache", feature = "limits"))]
impl Timeline {
    pub(crate) fn start() -> Self {
        Self(monotonic())
    }

    pub(crate) fn at(&self, instant: Instant) -> u64 {
        nanos(instant.duration_since(self.0))
    }

    #[cfg(feature = "cache")]
    pub(crate) fn instant(&self, now: u64) -> Instant {
        self.0 + Duration::from_nanos(now)
    }
}

/// Returns the monotonic time as an instant: comparing two instants is cheaper than converting one
/// to nanoseconds.
pub(crate) fn monotonic() -> Instant {
    Instant::now()
}

thread_local! {
    static NOTED: std::cell::Cell<Option<Instant>> = const { std::cell::Cell::new(None) };
}

/// Notes a time that this thread has just read, so that another step of the same request need not
/// read it again.
#[inline]
pub(crate) fn note(now: Instant) {
    // A thread that is ending reads the clock again.
    let _ = NOTED.try_with(|noted| noted.set(Some(now)));
}

/// Returns the time that this thread has noted, or reads the clock. Call [`take_noted`] before the
/// request, since what an earlier one has noted is over.
#[inline]
pub(crate) fn noted_or_now() -> Instant {
    let noted = NOTED.try_with(std::cell::Cell::get).ok().flatten();
    noted.unwrap_or_else(|| {
        let now = monotonic();
        note(now);
        now
    })
}

/// Returns the time that this thread has noted, and forgets it. Call it before a lookup too: what
/// an earlier request has noted is over.
#[inline]
pub(crate) fn take_noted() -> Option<Instant> {
    NOTED.try_with(std::cell::Cell::take).ok().flatten()
}

/// Returns the instant after this time. A time that no instant can express is as good as forever.
pub(crate) fn after(instant: Instant, time: Duration) -> Instant {
    const FAR: Duration = Duration::from_secs(30 * 365 * 24 * 3600);
    instant.checked_add(time).unwrap_or(instant + FAR)
}

/// Returns the duration in whole seconds, rounded up, so that a client does not come too early.
pub(crate) fn whole_seconds(time: Duration) -> u64 {
    time.as_secs().saturating_add(u64::from(time.subsec_nanos() > 0))
}

/// Returns the duration in nanoseconds. A `u64` holds 584 years.
#[cfg(any(feature = "cache", feature = "limits"))]
pub(crate) fn nanos(time: Duration) -> u64 {
    time.as_secs().saturating_mul(1_000_000_000).saturating_add(time.subsec_nanos().into())
}
