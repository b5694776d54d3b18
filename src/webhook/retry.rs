//! When to repeat a failed attempt.

use std::time::{Duration, SystemTime};

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;

/// The delays after the first, second, … attempt, in seconds. The last one repeats.
const DELAYS: [u64; 7] = [5, 30, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 4 * HOUR, 6 * HOUR];

/// How long attempts are repeated, after the first.
pub(super) const GIVE_UP_AFTER: Duration = Duration::from_secs(24 * HOUR);

/// Returns the time of the next attempt; `None` if there is none. `attempts` counts those that were
/// made. `seed` spreads deliveries that have failed at the same time.
pub(super) fn next_attempt(
    first_at: SystemTime,
    now: SystemTime,
    attempts: u32,
    retry_after: Option<Duration>,
    seed: u64,
) -> Option<SystemTime> {
    let index = (attempts.max(1) as usize - 1).min(DELAYS.len() - 1);
    let delay = Duration::from_secs(DELAYS[index]);
    let spread = delay * u32::try_from(seed % 20).unwrap_or(0) / 100;
    let delay = (delay + spread).max(retry_after.unwrap_or_default().min(GIVE_UP_AFTER));
    let next = now.checked_add(delay)?;
    let end = first_at.checked_add(GIVE_UP_AFTER)?;
    // One last attempt at the end.
    if next <= end { Some(next) } else { (now + Duration::from_secs(MINUTE) < end).then_some(end) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_grow_rarer_and_end_after_a_day() {
        let first = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        for seed in [0, 7, 19] {
            let (mut now, mut attempts, mut last) = (first, 1, Duration::ZERO);
            while let Some(next) = next_attempt(first, now, attempts, None, seed) {
                let delay = next.duration_since(now).unwrap();
                let is_last = next == first + GIVE_UP_AFTER;
                assert!(delay >= last || is_last, "{attempts}: {delay:?}");
                (now, attempts, last) = (next, attempts + 1, delay);
                assert!(attempts < 20);
            }
            assert_eq!(now, first + GIVE_UP_AFTER, "the last attempt is after 24 h");
            assert!(attempts > 8, "{attempts}");
        }
        let delay = |attempts, seed| next_attempt(first, first, attempts, None, seed).unwrap().duration_since(first);
        let delays = (1..=8).map(|attempts| delay(attempts, 0).unwrap().as_secs());
        assert_eq!(delays.collect::<Vec<_>>(), [5, 30, 300, 1_800, 7_200, 14_400, 21_600, 21_600]);
        assert_eq!(delay(3, 19).unwrap(), Duration::from_secs(357), "up to a fifth longer");
        let asked = next_attempt(first, first, 1, Some(Duration::from_secs(900)), 0);
        assert_eq!(asked, Some(first + Duration::from_secs(900)), "Retry-After");
    }
}
