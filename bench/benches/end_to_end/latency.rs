//! How long requests took, in microseconds: every one of them.

use std::collections::BTreeMap;

#[derive(Default)]
pub struct Latencies(BTreeMap<u64, u64>);

impl Latencies {
    pub fn add(&mut self, microseconds: u64, count: u64) {
        *self.0.entry(microseconds).or_default() += count;
    }

    pub fn merge(&mut self, other: &Self) {
        for (&microseconds, &count) in &other.0 {
            self.add(microseconds, count);
        }
    }

    /// The latency that `per_mille` of a thousand requests do not exceed.
    pub fn at(&self, per_mille: u64) -> u64 {
        let rank = (self.0.values().sum::<u64>() * per_mille).div_ceil(1000);
        let mut seen = 0;
        let mut exceeded = self.0.iter().skip_while(|&(_, count)| {
            seen += count;
            seen < rank
        });
        exceeded.next().map_or(0, |(&microseconds, _)| microseconds)
    }
}
