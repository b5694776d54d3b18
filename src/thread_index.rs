//! A small number for each thread, so that threads spread over shards.

use std::sync::atomic::{AtomicUsize, Ordering};

/// The number of shards that [`thread_index`] chooses from.
pub(crate) const SHARDS: usize = 16;

/// Returns the index of this thread's shard, below [`SHARDS`]. Returns 0 if the thread is ending.
pub(crate) fn thread_index() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static INDEX: usize = NEXT.fetch_add(1, Ordering::Relaxed) % SHARDS;
    }
    INDEX.try_with(|index| *index).unwrap_or_default()
}
