//! Measures items in turn, many short rounds, so that whatever slows the machine slows them all; and compares them round by round.

use std::time::Instant;

use crate::{
    allocations, instructions,
    item::Item,
    report::{Row, Table},
    spread::Spread,
};

/// Items that are compared with each other.
pub struct Group<'a> {
    title: String,
    entries: Vec<Entry<'a>>,
    slice: f64,
}

struct Entry<'a> {
    name: String,
    item: Box<dyn Item + 'a>,
    /// The calls whose instructions are counted.
    counted: usize,
    /// The chunks of a slice.
    chunks: usize,
    /// Nanoseconds for a call, one for each round.
    nanos: Vec<f64>,
    instructions: Option<f64>,
    allocations: f64,
}

/// The calls between two readings of the clock.
const CHUNK: usize = 64;

/// How long an item runs before it is the next one's turn, in nanoseconds.
const SLICE: f64 = 500_000.0;

const ROUNDS: usize = 121;

/// The calls whose instructions are counted: each takes microseconds, one step at a time.
const COUNTED: usize = 4;

// === impl Group ===

impl<'a> Group<'a> {
    pub fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), entries: Vec::new(), slice: SLICE }
    }

    /// Lets each item run so many times as long before it is the next one's turn: where one pushes out of the caches what another needs
    /// at every call.
    pub fn in_long_slices(mut self, times: f64) -> Self {
        self.slice *= times;
        self
    }

    /// Adds an item and returns its number in a round.
    pub fn add(&mut self, name: impl Into<String>, item: impl Item + 'a) -> usize {
        self.entries.push(Entry {
            counted: COUNTED,
            name: name.into(),
            item: Box::new(item),
            chunks: 1,
            nanos: Vec::new(),
            instructions: None,
            allocations: 0.0,
        });
        self.entries.len() - 1
    }

    /// Counts the instructions of so many calls of an item, where not all are alike; of none, where a call may wait for another thread,
    /// which a child does not have.
    pub fn count(&mut self, item: usize, calls: usize) {
        self.entries[item].counted = calls;
    }

    /// Measures all items, in turn, in every round; the order is turned around each time.
    pub fn measure(&mut self) {
        for entry in &mut self.entries {
            entry.calibrate(self.slice);
        }
        for round in 0..ROUNDS {
            let count = self.entries.len();
            for place in 0..count {
                let place = if round % 2 == 0 { place } else { count - 1 - place };
                let nanos = self.entries[place].slice();
                self.entries[place].nanos.push(nanos);
            }
        }
        // Last: a fork leaves each page of memory to be copied at the next write to it.
        for entry in &mut self.entries {
            if entry.counted > 0 {
                entry.instructions = instructions::of(&mut *entry.item, entry.counted);
            }
        }
    }

    /// What `of` makes of each round: a ratio, or a difference. It is given nanoseconds for a call, by the items' numbers.
    pub fn compare(&self, of: impl Fn(&[f64]) -> f64) -> Spread {
        let rounds = self.entries.first().map_or(0, |entry| entry.nanos.len());
        Spread::of((0..rounds).map(|round| {
            let nanos: Vec<f64> = self.entries.iter().map(|entry| entry.nanos[round]).collect();
            of(&nanos)
        }))
    }

    pub fn nanos(&self, item: usize) -> f64 {
        self.compare(|nanos| nanos[item]).median
    }

    pub fn allocations(&self, item: usize) -> f64 {
        self.entries[item].allocations
    }

    pub fn instructions(&self, item: usize) -> Option<f64> {
        self.entries[item].instructions
    }

    /// Returns all items as a table.
    pub fn table(&self) -> Table {
        let row = |(place, entry): (usize, &Entry<'_>)| Row {
            name: entry.name.clone(),
            nanos: self.compare(|nanos| nanos[place]).into(),
            instructions: entry.instructions,
            allocations: Some(entry.allocations),
        };
        Table { title: self.title.clone(), rows: self.entries.iter().enumerate().map(row).collect() }
    }
}

impl Entry<'_> {
    /// Finds how many chunks make a slice, and counts allocations.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small count")]
    fn calibrate(&mut self, slice: f64) {
        for _ in 0..10 {
            self.chunk();
        }
        self.chunks = (slice / self.chunk()).clamp(5.0, 1000.0) as usize;
        self.item.prepare(CHUNK);
        let ((), account) = allocations::of(|| self.item.run(CHUNK));
        self.allocations = per_call(account.allocations);
    }

    /// Nanoseconds for a call: the median of some chunks, so that an interrupt counts for nothing. The first only warms up.
    fn slice(&mut self) -> f64 {
        self.chunk();
        Spread::of((0..self.chunks).map(|_| self.chunk())).median / per_call_divisor()
    }

    /// Nanoseconds for a chunk.
    fn chunk(&mut self) -> f64 {
        self.item.prepare(CHUNK);
        let begin = Instant::now();
        self.item.run(CHUNK);
        begin.elapsed().as_secs_f64() * 1e9
    }
}

#[allow(clippy::cast_precision_loss, reason = "a small count")]
fn per_call(count: u64) -> f64 {
    count as f64 / per_call_divisor()
}

#[allow(clippy::cast_precision_loss, reason = "a small count")]
fn per_call_divisor() -> f64 {
    CHUNK as f64
}
