//! Goal 14: what a change costs in a store of a million keys while it serves, and what it costs those who read.

use std::{
    hint::black_box,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tower_api_key::{KeyDigest, KeyId, KeyRegistry, KeyStore, Lookup, store::MemoryStore};

use super::{
    size::{self, Random},
    threads::pin,
};
use crate::{
    report::{Report, Row, Table},
    rig::at_once,
    spread::Spread,
};

const KEYS: u64 = 1_000_000;
const ROUNDS: usize = 61;

/// The changes that are timed as one.
const CHANGES: u64 = 128;

/// The keys that are read, and read again: so few that they stay in a core's own cache, whatever a neighbour does to the others.
const HOT: u64 = 64;

/// The look-ups that are timed as one.
const GROUP: usize = 8;

const SLICE: Duration = Duration::from_millis(20);

/// What the other thread does meanwhile.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Meanwhile {
    Nothing,
    /// Ten thousand changes in a second.
    Steady,
    /// As many changes as it can.
    FlatOut,
    /// The same in another store, which costs the readers what any busy neighbour does.
    Elsewhere,
}

/// The thread that makes the changes.
struct Changer<'s> {
    store: &'s MemoryStore,
    elsewhere: &'s MemoryStore,
    keys: u64,
    meanwhile: Mutex<Meanwhile>,
    is_over: AtomicBool,
    changes: AtomicU64,
}

pub fn measure(report: &mut Report) {
    let keys = size::many(KEYS).min(KEYS);
    let [store, elsewhere] = [(); 2].map(|()| filled(keys));
    pin(0);
    one_change(report, &store, keys);
    readers(report, &Changer::new(&store, &elsewhere, keys));
}

fn filled(keys: u64) -> MemoryStore {
    let store = MemoryStore::new();
    for number in 0..keys {
        store.add(size::record(number)).expect("a new key");
    }
    store
}

// === one change ===

/// Microseconds for a change, while another thread reads.
fn one_change(report: &mut Report, store: &MemoryStore, keys: u64) {
    let is_over = AtomicBool::new(false);
    let (updates, revocations) = thread::scope(|scope| {
        scope.spawn(|| {
            pin(1);
            let hot = hot(keys);
            while !is_over.load(Ordering::Relaxed) {
                hot.chunks(GROUP).for_each(|digests| look_up(store, digests));
            }
        });
        let mut random = Random::new(4);
        let times: Vec<_> =
            (0..ROUNDS as u64).map(|round| (update(store, &mut random, keys), revoke(store, round))).collect();
        is_over.store(true, Ordering::Relaxed);
        times.into_iter().unzip::<_, _, Vec<_>, Vec<_>>()
    });
    report.at_most(14, "one update, µs", 20.0, Spread::of(updates));
    report.at_most(14, "one revocation, µs", 20.0, Spread::of(revocations));
}

/// Microseconds for an update of any key; the record is read before.
fn update(store: &MemoryStore, random: &mut Random, keys: u64) -> f64 {
    let mut time = Duration::ZERO;
    for _ in 0..CHANGES {
        let read = at_once(store.get(&key(random.below(keys))));
        let Ok(Some(record)) = read else { panic!("no key") };
        let changed = record.with_name("another name");
        let begin = Instant::now();
        let updated = at_once(store.update(changed, None));
        time += begin.elapsed();
        // Of a revoked key it is refused, which is no change to be timed: there are few.
        let Ok(_) = updated;
    }
    microseconds(time)
}

/// Microseconds for the revocation of a key that is in use. Each round has keys of its own.
fn revoke(store: &MemoryStore, round: u64) -> f64 {
    let mut time = Duration::ZERO;
    for number in round * CHANGES..(round + 1) * CHANGES {
        let id = key(number);
        let begin = Instant::now();
        let revoked = at_once(store.revoke(&id, None));
        time += begin.elapsed();
        assert!(matches!(revoked, Ok(Ok(_))), "not revoked");
    }
    microseconds(time)
}

fn key(number: u64) -> KeyId {
    size::id(number).into()
}

#[allow(clippy::cast_precision_loss, reason = "a small count")]
fn microseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6 / CHANGES as f64
}

// === readers ===

/// The 99th percentile of small groups of look-ups, with changes and without, in turn.
fn readers(report: &mut Report, changer: &Changer<'_>) {
    use Meanwhile::{Elsewhere, FlatOut, Nothing, Steady};

    let hot = hot(changer.keys);
    let mut rounds: Vec<[f64; 4]> = Vec::new();
    let mut made: Vec<[f64; 4]> = Vec::new();
    thread::scope(|scope| {
        scope.spawn(|| changer.work());
        for _ in 0..ROUNDS {
            let slices = [Nothing, Steady, Elsewhere, FlatOut].map(|meanwhile| {
                changer.set(meanwhile);
                thread::sleep(Duration::from_millis(2));
                let before = changer.changes.load(Ordering::Relaxed);
                let begin = Instant::now();
                let percentile = percentile(changer.store, &hot);
                let made = changer.changes.load(Ordering::Relaxed) - before;
                (percentile, rate(made, begin.elapsed()))
            });
            rounds.push(slices.map(|(percentile, _)| percentile));
            made.push(slices.map(|(_, rate)| rate));
        }
        changer.is_over.store(true, Ordering::Relaxed);
    });
    let ratio = |of: usize, to: usize| Spread::of(rounds.iter().map(move |slices| slices[of] / slices[to]));
    report.at_most(14, "readers' p99, 10,000 changes/s / none", 1.1, ratio(1, 0));
    report.at_most(14, "readers' p99, changes flat out / none", 1.3, ratio(3, 0));

    let rows = [Nothing, Steady, Elsewhere, FlatOut].iter().enumerate().map(|(place, meanwhile)| {
        let rate = Spread::of(made.iter().map(|rates| rates[place])).median;
        let name = format!("{meanwhile:?}, {rate:.0} changes/s");
        Row::timed(&name, Spread::of(rounds.iter().map(|slices| slices[place])))
    });
    report.table(Table { title: format!("p99 of {GROUP} look-ups"), rows: rows.collect() });
}

/// The digests of keys all over the store.
fn hot(keys: u64) -> Vec<KeyDigest> {
    (0..HOT).map(|number| size::digest(number * keys / HOT)).collect()
}

fn look_up(store: &MemoryStore, digests: &[KeyDigest]) {
    for digest in digests {
        let found = store.try_find(black_box(digest));
        assert!(matches!(black_box(&found), Lookup::Found(_)), "no key");
    }
}

/// Nanoseconds for a group, in all but one of a hundred.
fn percentile(store: &MemoryStore, hot: &[KeyDigest]) -> f64 {
    let mut nanos: Vec<u64> = Vec::with_capacity(1 << 20);
    let begin = Instant::now();
    'slice: loop {
        for digests in hot.chunks(GROUP) {
            let start = Instant::now();
            look_up(store, digests);
            nanos.push(u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX));
            if begin.elapsed() >= SLICE {
                break 'slice;
            }
        }
    }
    let place = nanos.len() * 99 / 100;
    let (_, nanos, _) = nanos.select_nth_unstable(place);
    Duration::from_nanos(*nanos).as_secs_f64() * 1e9
}

#[allow(clippy::cast_precision_loss, reason = "a small count")]
fn rate(changes: u64, time: Duration) -> f64 {
    changes as f64 / time.as_secs_f64()
}

// === impl Changer ===

impl<'s> Changer<'s> {
    fn new(store: &'s MemoryStore, elsewhere: &'s MemoryStore, keys: u64) -> Self {
        let meanwhile = Mutex::new(Meanwhile::Nothing);
        Self { store, elsewhere, keys, meanwhile, is_over: AtomicBool::new(false), changes: AtomicU64::new(0) }
    }

    fn set(&self, meanwhile: Meanwhile) {
        *self.meanwhile.lock().unwrap_or_else(PoisonError::into_inner) = meanwhile;
    }

    fn work(&self) {
        pin(1);
        let mut random = Random::new(5);
        let mut due = Instant::now();
        while !self.is_over.load(Ordering::Relaxed) {
            let meanwhile = *self.meanwhile.lock().unwrap_or_else(PoisonError::into_inner);
            match meanwhile {
                Meanwhile::Nothing => {
                    thread::sleep(Duration::from_micros(500));
                    due = Instant::now();
                }
                Meanwhile::Steady => {
                    due += Duration::from_micros(100);
                    thread::sleep(due.saturating_duration_since(Instant::now()));
                    self.change(self.store, &mut random);
                }
                Meanwhile::FlatOut => self.change(self.store, &mut random),
                Meanwhile::Elsewhere => self.change(self.elsewhere, &mut random),
            }
        }
    }

    /// Reads a record, and gives it another name.
    fn change(&self, store: &MemoryStore, random: &mut Random) {
        let number = random.below(self.keys);
        let read = at_once(store.get(&key(number)));
        let Ok(Some(record)) = read else { panic!("no key") };
        let Ok(_) = at_once(store.update(record.with_name(format!("name {number}")), None));
        self.changes.fetch_add(1, Ordering::Relaxed);
    }
}
