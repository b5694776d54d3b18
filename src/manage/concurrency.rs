//! Bounds how many calls of one actor wait for the registry at a time, so that a crowd of them holds up nobody else.
//!
//! A call takes its turn before its work is spawned: who gives up while it waits leaves nothing behind. Calls that take access away have
//! turns of their own, which no crowd of other calls uses up.

use std::{
    array,
    hash::{BuildHasher, RandomState},
    sync::Arc,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
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
}

/// Actors share a lane by chance alone: the seed of the hash is random.
const LANES: usize = 128;

/// The most calls of one lane that are with the registry at a time.
const AT_ONCE: usize = 8;

impl ActorQueues {
    pub(super) fn new() -> Self {
        let lanes = array::from_fn(|_| array::from_fn(|_| Arc::new(Semaphore::new(AT_ONCE))));
        Self { hasher: RandomState::new(), lanes }
    }

    /// Waits for a turn of this actor. It lasts until the permit is dropped.
    ///
    /// # Errors
    ///
    /// [`ManageError::Store`] after as long as the registry itself may take.
    pub(super) async fn take(&self, actor: &Actor, work: WorkKind) -> Result<OwnedSemaphorePermit, ManageError> {
        let lane = self.hasher.hash_one((actor.organization(), actor.owner(), actor.key_id()));
        #[allow(clippy::cast_possible_truncation, reason = "any of its bits will do")]
        let lane = &self.lanes[work as usize][lane as usize % LANES];
        if let Ok(turn) = Arc::clone(lane).try_acquire_owned() {
            return Ok(turn);
        }
        match timeout(PATIENCE, Arc::clone(lane).acquire_owned()).await {
            Ok(Ok(turn)) => Ok(turn),
            Ok(Err(_)) | Err(_) => Err(ManageError::Store("too many calls of one actor at a time".into())),
        }
    }
}
