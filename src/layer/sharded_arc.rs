//! One value with several reference counts, each on a cache line of its own.
//!
//! Threads that clone one `Arc` contend for the cache line of its count at every request. So there
//! is one count per shard, and a thread always uses the same shard.

use std::{array, ops::Deref, sync::Arc};

use crate::thread_index::{SHARDS, thread_index};

/// Held by a layer and its services.
pub(super) struct ShardedArc<T>(Arc<[ArcShard<T>; SHARDS]>);

/// Held by a request.
pub(super) struct ArcShard<T>(Arc<CachePadded<T>>);

/// Two cache lines wide, because some processors fetch two at once.
#[repr(align(128))]
struct CachePadded<T>(Arc<T>);

// === impl ShardedArc, ArcShard ===

impl<T> ShardedArc<T> {
    pub(super) fn new(value: T) -> Self {
        let value = Arc::new(value);
        Self(Arc::new(array::from_fn(|_| ArcShard(Arc::new(CachePadded(Arc::clone(&value)))))))
    }

    /// Returns a clone of this thread's shard. Only the reference count of that shard changes.
    pub(super) fn shard(&self) -> ArcShard<T> {
        let ArcShard(counted) = &self.0[thread_index()];
        ArcShard(Arc::clone(counted))
    }
}

impl<T> Clone for ShardedArc<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Clone for ArcShard<T> {
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
