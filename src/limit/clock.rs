//! The clocks of limits: a monotonic one for rates, and the wall clock for periods of the calendar.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::SystemTime,
};

use tokio::time::Instant;

use super::rule::Now;
use crate::clock::{Clock, Timeline, monotonic, nanos};

pub(super) enum LimitClock {
    System(SystemClock),
    /// A clock for tests, and the latest time that it has shown: rates need a time that never
    /// decreases.
    Own(Clock, AtomicU64),
}

/// Computes the wall clock from the monotonic one, because reading both costs as much as a limit.
pub(super) struct SystemClock {
    timeline: Timeline,
    /// The difference of the clocks, in nanoseconds.
    ahead: AtomicU64,
    /// When to read the difference again.
    read_again: AtomicU64,
}

/// How long a difference is used: the wall clock may be set meanwhile.
const VALID: u64 = 10_000_000;

const SECOND: u64 = 1_000_000_000;

impl LimitClock {
    pub(super) fn system() -> Self {
        Self::System(SystemClock { timeline: Timeline::start(), ahead: 0.into(), read_again: 0.into() })
    }

    pub(super) fn new(now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        Self::of(&Clock::new(now))
    }

    /// Returns the clock for the limits of a layer, whose clock this is.
    pub(super) fn of(clock: &Clock) -> Self {
        if clock.is_system() { Self::system() } else { Self::Own(clock.clone(), 0.into()) }
    }

    #[inline]
    pub(super) fn now(&self, reads_wall: bool) -> Now {
        self.at(None, reads_wall)
    }

    /// Returns the time, for a system clock at an instant that was just read.
    #[inline]
    pub(super) fn at(&self, read: Option<Instant>, reads_wall: bool) -> Now {
        match self {
            Self::System(clock) => {
                let monotonic = clock.timeline.at(read.unwrap_or_else(monotonic));
                Now { monotonic, wall: if reads_wall { clock.wall(monotonic) } else { 0 } }
            }
            Self::Own(clock, latest) => {
                let wall = since_epoch(clock);
                Now { monotonic: latest.fetch_max(wall, Ordering::Relaxed).max(wall), wall: wall / SECOND }
            }
        }
    }
}

impl Clone for LimitClock {
    /// A clone shows the same times.
    fn clone(&self) -> Self {
        match self {
            Self::System(clock) => {
                Self::System(SystemClock { timeline: clock.timeline, ahead: 0.into(), read_again: 0.into() })
            }
            Self::Own(clock, _) => Self::Own(clock.clone(), 0.into()),
        }
    }
}

impl SystemClock {
    /// Returns the seconds since 1970.
    fn wall(&self, monotonic: u64) -> u64 {
        if monotonic >= self.read_again.load(Ordering::Acquire) {
            self.ahead.store(since_epoch(&Clock::system()).wrapping_sub(monotonic), Ordering::Relaxed);
            // A thread that sees this also sees the difference.
            self.read_again.store(monotonic.saturating_add(VALID), Ordering::Release);
        }
        monotonic.wrapping_add(self.ahead.load(Ordering::Relaxed)) / SECOND
    }
}

fn since_epoch(clock: &Clock) -> u64 {
    nanos(clock.now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default())
}
