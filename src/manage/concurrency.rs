//! Bounds how many calls wait for the registry at a time: those of one actor, so that a crowd of them holds up nobody else; and all those that
//! read or add, so that a crowd with many keys holds up nothing that takes access away.
//!
//! A call takes its turn before its work is spawned: who gives up while it waits leaves nothing behind. Calls that take access away have
//! turns of their own, which no crowd of other calls uses up.

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

use super::{Actor, ManageError, PATIENCE};

/// What a call does to access.
#[derive(Clone, Copy)]
pub(super) enum WorkKind {
    Reads,
    /// Makes keys, or gives them more.
    Adds,
    /// Revokes, disables, removes.
    TakesAway,
}

pub(super) struct ActorQueues {
    hasher: RandomState,
    lanes: [[Arc<Semaphore>; LANES]; 3],
    /// Of whatever actor.
    all: [Arc<Semaphore>; 3],
}

/// One call's turn.
pub(super) struct Turn {
    own: OwnedSemaphorePermit,
    among_all: OwnedSemaphorePermit,
}

/// Actors share a lane by chance alone: the seed of the hash is random.
const LANES: usize = 128;

/// The most calls of one lane that are with the registry at a time.
const AT_ONCE: usize = 8;

/// The most calls of all actors: reads, additions, and what takes away, which is bounded by its lanes.
const OF_ALL: [usize; 3] = [64, 32, LANES * AT_ONCE];

// === impl ActorQueues, Turn ===

impl ActorQueues {
    pub(super) fn new() -> Self {
        let lanes = array::from_fn(|_| array::from_fn(|_| Arc::new(Semaphore::new(AT_ONCE))));
        Self { hasher: RandomState::new(), lanes, all: OF_ALL.map(|most| Arc::new(Semaphore::new(most))) }
    }

    /// Waits for a turn of this actor.
    ///
    /// # Errors
    ///
    /// [`ManageError::Store`] after as long as the registry itself may take.
    pub(super) async fn take(&self, actor: &Actor, work: WorkKind) -> Result<Turn, ManageError> {
        let lane = self.hasher.hash_one((actor.organization(), actor.owner(), actor.key_id()));
        #[allow(clippy::cast_possible_truncation, reason = "any of its bits will do")]
        let lane = &self.lanes[work as usize][lane as usize % LANES];
        let turn = async {
            let own = Arc::clone(lane).acquire_owned().await?;
            let among_all = Arc::clone(&self.all[work as usize]).acquire_owned().await?;
            Ok::<_, AcquireError>(Turn { own, among_all })
        };
        match timeout(PATIENCE, turn).await {
            Ok(Ok(turn)) => Ok(turn),
            Ok(Err(_)) | Err(_) => Err(ManageError::Store("too many calls at a time".into())),
        }
    }
}

impl Turn {
    /// Does `work` in this turn. A registry that is stuck with it keeps others waiting no longer than a sound one would.
    pub(super) async fn spend<T>(self, work: impl Future<Output = T>) -> T {
        let Self { own: _own, among_all } = self;
        let mut work = pin!(work);
        if let Ok(done) = timeout(PATIENCE, &mut work).await {
            return done;
        }
        drop(among_all);
        work.await
    }
}
