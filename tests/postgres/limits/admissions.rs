//! When all nodes together have admitted a request, and whether that was more than the bound.

use std::{fs, path::Path};

/// The times, in nanoseconds, in order.
pub(super) struct Admissions(pub(super) Vec<u64>);

/// How many requests a time may have: `burst + (time + extra) / increment`.
#[derive(Clone, Copy)]
pub(super) struct Bound {
    pub(super) burst: u64,
    pub(super) increment: u64,
    pub(super) extra: u64,
}

impl Admissions {
    pub(super) fn of<'a>(folders: impl IntoIterator<Item = &'a Path>, name: &str) -> Self {
        let mut all: Vec<_> = folders.into_iter().flat_map(|folder| times(&folder.join(name))).collect();
        all.sort_unstable();
        Self(all)
    }

    /// Returns the most admissions in any time of this length.
    pub(super) fn most_in(&self, window: u64) -> usize {
        let mut first = 0;
        let lengths = self.0.iter().enumerate().map(|(last, time)| {
            while time - self.0[first] > window {
                first += 1;
            }
            last + 1 - first
        });
        lengths.max().unwrap_or(0)
    }

    /// Returns how many admissions end a time, of any length, that has more than its bound: those
    /// that a bucket with the size of the bound would not admit, if it counts them all.
    pub(super) fn violations(&self, bound: Bound) -> usize {
        let size = bound.burst * bound.increment + bound.extra;
        self.levels(bound.increment).filter(|level| *level > size).count()
    }

    /// Returns how full that bucket was at most, in percent.
    pub(super) fn fullest(&self, bound: Bound) -> u64 {
        let size = bound.burst * bound.increment + bound.extra;
        self.levels(bound.increment).max().unwrap_or(0) * 100 / size
    }

    fn levels(&self, increment: u64) -> impl Iterator<Item = u64> {
        let mut full_at = 0;
        self.0.iter().map(move |time| {
            full_at = u64::max(full_at, *time) + increment;
            full_at - time
        })
    }
}

impl Bound {
    pub(super) fn of(self, window: u64) -> u64 {
        self.burst + (window + self.extra) / self.increment
    }
}

/// Returns the times in a file.
pub(super) fn times(path: &Path) -> Vec<u64> {
    let bytes = fs::read(path).unwrap();
    bytes.as_chunks().0.iter().map(|time| u64::from_le_bytes(*time)).collect()
}

#[test]
fn a_bucket_finds_what_a_look_at_all_pairs_finds() {
    let mut random = super::process::Random(0x2545_f491_4f6c_dd1d);
    let mut next = |below| random.below(below);
    for _ in 0..200 {
        let mut times: Vec<_> = (0..60).map(|_| 1000 + next(400)).collect();
        times.sort_unstable();
        let bound = Bound { burst: 5 + next(10), increment: 1 + next(12), extra: next(30) };
        let above = (0..times.len())
            .filter(|last| (0..=*last).any(|first| (last + 1 - first) as u64 > bound.of(times[*last] - times[first])));
        assert_eq!(Admissions(times.clone()).violations(bound), above.count());
    }
}
