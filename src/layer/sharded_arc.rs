//! One value that many threads count references to, each on a cache line of its own.
//!
//! A count that two threads change is handed to and fro between their caches, at every request. So there are several counts, and a
//! thread takes always the same one.

use std::{
    array,
    ops::Deref,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

/// What a layer and its services hold.
pub(super) struct ShardedArc<T>(Arc<[ArcShard<T>; LANES]>);

/// What a request holds.
pub(super) struct ArcShard<T>(Arc<CachePadded<T>>);

/// As wide as two cache lines, which some processors fetch together.
#[repr(align(128))]
struct CachePadded<T>(Arc<T>);

const LANES: usize = 16;

thread_local! {
    static LANE: usize = {
        static THREADS: AtomicUsize = AtomicUsize::new(0);
        THREADS.fetch_add(1, Ordering::Relaxed) % LANES
    };
}

// === impl Lanes, Lane ===

impl<T> ShardedArc<T> {
    pub(super) fn new(value: T) -> Self {
        let value = Arc::new(value);
        Self(Arc::new(array::from_fn(|_| ArcShard(Arc::new(CachePadded(Arc::clone(&value)))))))
    }

    /// This thread's own.
    pub(super) fn shard(&self) -> ArcShard<T> {
        // A thread that is ending has lost its number.
        let ArcShard(counted) = &self.0[LANE.try_with(|lane| *lane).unwrap_or_default()];
        ArcShard(Arc::clone(counted))
    }
}

impl<T> Clone for ShardedArc<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Deref for ShardedArc<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0[0]
    }
}

impl<T> Deref for ArcShard<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0.0
    }
}
