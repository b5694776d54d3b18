//! A piece of work that is measured.

use std::hint::black_box;

/// Runs one piece of work many times.
pub trait Item {
    /// Prepares the inputs of `_calls` calls. This is not timed.
    fn prepare(&mut self, _calls: usize) {}

    /// Makes `calls` calls.
    fn run(&mut self, calls: usize);
}

/// Calls a closure that needs no preparation, with the number of the call.
pub struct Repeat<F>(pub F);

// === impl Repeat ===

impl<F: FnMut(usize) -> R, R> Item for Repeat<F> {
    fn run(&mut self, calls: usize) {
        for call in 0..calls {
            black_box((self.0)(black_box(call)));
        }
    }
}
