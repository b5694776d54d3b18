//! Limits how many calls wait for the registry at a time.
//!
//! A limit per actor keeps one busy actor from blocking others. A limit for all reads and all
//! additions keeps many actors from blocking revocations, which have a separate limit. A call waits
//! for its turn before its work is spawned, so a caller who gives up leaves no work behind.

use std::{
    array,
    hash::{BuildHasher, RandomState},
    pin::pin,
    sync::Arc,
};

use tokio::{
    sync::{AcquireError, OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use super::{Actor, CALL_TIMEOUT, ManageError};

/// Selects the limits of a call.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum WorkKind {
    Read,
    /// Issues keys, or adds permissions or credits.
    Add,
    /// Revokes, disables or removes keys.
    Revoke,
    /// An import of many keys, each of which waits for a turn of its own.
    Import,
    /// A change of many keys, each batch of which waits for a turn of its own.
    Bulk,
}

pub(super) struct ActorQueues {
    hasher: RandomState,
    queues: [[Arc<Semaphore>; QUEUES]; KINDS],
    /// The limits over all actors.
    all: [Arc<Semaphore>; KINDS],
}

/// The permits of one call.
pub(super) struct Turn {
    own: OwnedSemaphorePermit,
    among_all: OwnedSemaphorePermit,
}

/// The number of queues. A hash with a random seed assigns each actor to a queue, so no actor can
/// choose its queue.
const QUEUES: usize = 128;

/// The limit of concurrent calls in one queue.
const AT_ONCE: usize = 8;

/// The number of kinds of work.
const KINDS: usize = 5;

/// The limits over all actors, for each kind of work. For revocations and bulk changes, it is the
/// sum of the limits of all queues, so only the queues limit them.
const OF_ALL: [usize; KINDS] = [64, 32, QUEUES * AT_ONCE, 32, QUEUES * AT_ONCE];

// === impl ActorQueues, Turn ===

impl ActorQueues {
    pub(super) fn new() -> Self {
        let queues = array::from_fn(|_| array::from_fn(|_| Arc::new(Semaphore::new(AT_ONCE))));
        Self { hasher: RandomState::new(), queues, all: OF_ALL.map(|most| Arc::new(Semaphore::new(most))) }
    }

    /// Waits for a turn of this actor.
    ///
    /// # Errors
    ///
    /// [`ManageError::Store`] after [`CALL_TIMEOUT`].
    pub(super) async fn take(&self, actor: &Actor, work: WorkKind) -> Result<Turn, ManageError> {
        let queue = self.hasher.hash_one((actor.organization(), actor.owner(), actor.key_id()));
        #[allow(clippy::cast_possible_truncation, reason = "any bits of the hash serve")]
        let queue = &self.queues[work as usize][queue as usize % QUEUES];
        let turn = async {
            let own = Arc::clone(queue).acquire_owned().await?;
            let among_all = Arc::clone(&self.all[work as usize]).acquire_owned().await?;
            Ok::<_, AcquireError>(Turn { own, among_all })
        };
        match timeout(CALL_TIMEOUT, turn).await {
            Ok(Ok(turn)) => Ok(turn),
            Ok(Err(_)) | Err(_) => Err(ManageError::Store("too many concurrent calls".into())),
        }
    }
}

impl Turn {
    /// Runs `work` in this turn. If the registry hangs, other actors wait for [`CALL_TIMEOUT`] at
    /// most; the queue stays occupied until the work ends.
    pub(super) async fn spend<T>(self, work: impl Future<Output = T>) -> T {
        let Self { own: _own, among_all } = self;
        let mut work = pin!(work);
        if let Ok(done) = timeout(CALL_TIMEOUT, &mut work).await {
            return done;
        }
        drop(among_all);
        work.await
    }
}
