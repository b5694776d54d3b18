//! Goals 11 and 12: ten million keys beside ten thousand, in instructions and in time; and what each key takes of memory.

use std::{hint::black_box, num::NonZero};

use http::Request;
use sha2::{Digest, Sha256};
use tower_api_key::{ApiKey, ApiKeyLayer, KeyDigest, KeyHasher, KeyRecord, KeyStore, Lookup, store::MemoryStore};

use crate::{
    allocations,
    item::{Item, Repeat},
    paired::Group,
    report::Report,
    rig::{self, Carries, PRESENTED},
    spread::Spread,
};

/// The environment variable with the number of keys, for machines with less memory or less time.
const VARIABLE: &str = "GOAL_KEYS";

/// The number of keys in the large store.
pub fn many(default: u64) -> u64 {
    std::env::var(VARIABLE).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

const FEW: u64 = 10_000;
const MANY: u64 = 10_000_000;
const LINE: usize = 64;

/// A line of memory that says which one comes next.
#[repr(align(64))]
struct Line {
    next: u32,
}

/// Look-ups of random keys that were not looked up before. Their digests are made outside of the timing.
struct Cold<'s> {
    store: &'s MemoryStore,
    keys: u64,
    random: Random,
    digests: Vec<KeyDigest>,
}

/// Hops from line to line, and reads as many digests as the look-ups do.
struct Chase {
    lines: Vec<Line>,
    place: u32,
    digests: Vec<KeyDigest>,
}

/// A sequence of numbers that no prefetcher guesses: xorshift64*.
pub struct Random(NonZero<u64>);

pub fn measure(report: &mut Report) {
    let many = many(MANY);
    let presented: Vec<ApiKey> = (0..PRESENTED).map(|_| rig::format().generate().expect("a key")).collect();
    let small = store(FEW, &presented);
    let (large, account) = allocations::of(|| store(many, &presented));
    let keys = many + PRESENTED as u64;
    let bytes = account.live - texts(many);

    look_up(report, &small, &large, &presented, many, account.live);
    report.at_most(12, format!("bytes for each of {many} keys"), 160.0, Spread::exact(divided(bytes, keys)));
}

fn look_up(report: &mut Report, small: &MemoryStore, large: &MemoryStore, presented: &[ApiKey], many: u64, taken: i64) {
    let layer = |store: &MemoryStore| rig::build(rig::one_scheme(ApiKeyLayer::builder(store.clone())));
    let (small_layer, large_layer) = (layer(small), layer(large));
    let requests: [Request<()>; PRESENTED] = Carries::Bearer(presented).some();
    for request in &requests {
        assert!(rig::verify(&small_layer, request).is_ok() && rig::verify(&large_layer, request).is_ok());
    }
    let lines = usize::try_from(taken).expect("bytes").min(available()) / LINE;

    // After the chase the store's own top, 50 kB, is in no cache. It is after some hundred look-ups.
    let mut group = Group::new(format!("memory store of {} MB", taken >> 20)).in_long_slices(10.0);
    let few_hot = group
        .add(format!("verify, hot, {FEW} keys"), Repeat(|call| rig::verify(&small_layer, &requests[call % PRESENTED])));
    let many_hot = group.add(
        format!("verify, hot, {many} keys"),
        Repeat(|call| rig::verify(&large_layer, &requests[call % PRESENTED])),
    );
    let few_cold = Cold { store: small, keys: FEW, random: Random::new(1), digests: Vec::new() };
    group.add(format!("try_find, any of {FEW} keys"), few_cold);
    let many_cold = Cold { store: large, keys: many, random: Random::new(2), digests: Vec::new() };
    let many_cold = group.add(format!("try_find, any of {many} keys"), many_cold);
    let chase = group.add(format!("pointer chase over {} MB", (lines * LINE) >> 20), Chase::new(lines));
    for hot in [few_hot, many_hot] {
        group.count(hot, PRESENTED);
    }
    group.measure();

    if let [Some(few), Some(many)] = [few_hot, many_hot].map(|item| group.instructions(item)) {
        // Two digits: a probe more or less for a few of the keys is none of the size's.
        report.at_most(11, "instructions, hot", 1.0, Spread::exact((many / few * 100.0).round() / 100.0));
    }
    report.at_most(11, "time, hot", 1.05, group.compare(|ns| ns[many_hot] / ns[few_hot]));
    report.at_most(11, "time, cold / pointer chase", 2.2, group.compare(|ns| ns[many_cold] / ns[chase]));
    report.table(group.table());
}

/// A store of `count` keys, and those that will be presented: added among the others, since the last ones may lie otherwise in a map.
fn store(count: u64, presented: &[ApiKey]) -> MemoryStore {
    let store = MemoryStore::new();
    let (mut rest, pause) = (presented.iter().enumerate(), count / PRESENTED as u64);
    for number in 0..count {
        store.add(record(number)).expect("a new key");
        if number % pause == pause / 2
            && let Some((place, key)) = rest.next()
        {
            let record = KeyRecord::for_key(id(u64::MAX - place as u64), key, &KeyHasher::sha256());
            store.add(rig::two_grants(record)).expect("a new key");
        }
    }
    store
}

/// A record with an organization that a hundred others have, and two grants.
pub fn record(number: u64) -> KeyRecord {
    let record = KeyRecord::new(id(number), digest(number)).with_organization(organization(number));
    record.grant("links", "read").grant("stats", "create")
}

pub fn digest(number: u64) -> KeyDigest {
    let digest: [u8; 32] = Sha256::digest(number.to_be_bytes()).into();
    digest.into()
}

/// As long as the ids that a manager makes: `key_`, and 20 digits.
pub fn id(number: u64) -> String {
    format!("key_{number:020}")
}

fn organization(number: u64) -> String {
    format!("org_{:010}", number / 100)
}

/// The characters of a record's own texts.
fn own_texts(number: u64) -> i64 {
    let texts = [id(number).as_str(), organization(number).as_str(), "links", "stats"].map(str::len);
    i64::try_from(texts.iter().sum::<usize>()).expect("a few")
}

fn texts(count: u64) -> i64 {
    (0..count).map(own_texts).sum()
}

/// The memory that may be filled without harm, in bytes.
fn available() -> usize {
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = memory.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")).and_then(|text| text.parse::<usize>().ok());
    kilobytes.map_or(1 << 30, |kilobytes| kilobytes * 1024 / 2)
}

#[allow(clippy::cast_precision_loss, reason = "far below 2^52")]
fn divided(bytes: i64, keys: u64) -> f64 {
    bytes as f64 / keys as f64
}

// === impl Cold ===

impl Item for Cold<'_> {
    fn prepare(&mut self, calls: usize) {
        self.digests.clear();
        self.digests.extend((0..calls).map(|_| digest(self.random.below(self.keys))));
    }

    fn run(&mut self, calls: usize) {
        for digest in &self.digests[..calls] {
            let found = self.store.try_find(black_box(digest));
            assert!(matches!(black_box(&found), Lookup::Found(_)), "no key");
        }
    }
}

// === impl Chase ===

impl Chase {
    /// One cycle through all lines, in random order (Sattolo's shuffle).
    fn new(lines: usize) -> Self {
        let count = u32::try_from(lines).expect("fewer than 256 GB");
        let mut lines: Vec<Line> = (0..count).map(|next| Line { next }).collect();
        let mut random = Random::new(3);
        for last in (1..lines.len()).rev() {
            let other = usize::try_from(random.below(last as u64)).expect("an index");
            let next = lines[last].next;
            lines[last].next = std::mem::replace(&mut lines[other].next, next);
        }
        Self { lines, place: 0, digests: (0..1024).map(digest).collect() }
    }
}

impl Item for Chase {
    fn run(&mut self, calls: usize) {
        for digest in self.digests.iter().take(calls) {
            black_box(digest.as_bytes()[0]);
            self.place = black_box(self.lines[self.place as usize].next);
        }
    }
}

// === impl Random ===

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(NonZero::new(seed).unwrap_or(NonZero::<u64>::MIN))
    }

    /// The next number, below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        let mut state = self.0.get();
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        self.0 = NonZero::new(state).unwrap_or(NonZero::<u64>::MIN);
        let number = state.wrapping_mul(0x2545_F491_4F6C_DD1D);
        u64::try_from((u128::from(number) * u128::from(bound)) >> 64).expect("below a bound")
    }
}
