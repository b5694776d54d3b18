//! Replaces what the caches of a core hold: data and code, as the work of other requests does.

use std::hint::black_box;

/// More than a cache of the second level holds. A processor with an inclusive one then has no code left in the first level either.
const BYTES: usize = 4 << 20;
const LINE: usize = 64;

type Filler = fn(u64) -> u64;

/// More code than a cache of the first level holds.
static FILLERS: [[Filler; 16]; 16] = rows!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);

pub struct Caches {
    data: Vec<u8>,
}

impl Caches {
    pub fn new() -> Self {
        Self { data: vec![1; BYTES] }
    }

    pub fn evict(&mut self) {
        for line in self.data.iter_mut().step_by(LINE) {
            *line = black_box(line.wrapping_add(1));
        }
        let mixed = FILLERS.as_flattened().iter().fold(7, |mixed, filler| filler(mixed));
        black_box(mixed);
    }
}

/// About 300 bytes of code, different for each number.
#[inline(never)]
fn filler<const N: u64>(mut mixed: u64) -> u64 {
    for step in 0..16 {
        mixed = black_box(mixed.rotate_left(7) ^ (N + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15 + step));
    }
    mixed
}

macro_rules! rows {
    ($($row:literal)*) => { [$(row!($row)),*] };
}

macro_rules! row {
    ($row:literal) => { row!($row: 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15) };
    ($row:literal: $($place:literal)*) => { [$(filler::<{ $row * 16 + $place }>),*] };
}

use {row, rows};
