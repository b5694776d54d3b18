//! The lock of changes.

use std::sync::{Condvar, Mutex, PoisonError};

/// A mutex with a guard that may move between threads, as a transaction that is held across an
/// `await` does.
#[derive(Default)]
pub(super) struct WriteLock {
    is_held: Mutex<bool>,
    released: Condvar,
}

pub(super) struct WriteGuard<'l>(&'l WriteLock);

// === impl WriteLock, WriteGuard ===

impl WriteLock {
    /// Blocks until no other change is being made.
    pub(super) fn acquire(&self) -> WriteGuard<'_> {
        let is_held = self.is_held.lock().unwrap_or_else(PoisonError::into_inner);
        let mut is_held = self.released.wait_while(is_held, |is_held| *is_held).unwrap_or_else(PoisonError::into_inner);
        *is_held = true;
        WriteGuard(self)
    }
}

impl Drop for WriteGuard<'_> {
    fn drop(&mut self) {
        *self.0.is_held.lock().unwrap_or_else(PoisonError::into_inner) = false;
        self.0.released.notify_one();
    }
}
