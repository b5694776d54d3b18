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

use super::{Actor, ManageError, PATIENCE};

/// Selects the limits of a call.
#[derive(Clone, Copy)]
pub(super) enum WorkKind {
    Read,
    /// Issues keys, or adds permissions.
    Add,
    /// Revokes, disables or removes keys.
    Revoke,
}

pub(super) struct ActorQueues {
    hasher: RandomState,
    lanes: [[Arc<Semaphore>; LANES]; 3],
    /// The limits over all actors.
    all: [Arc<Semaphore>; 3],
}

/// One call's turn.
pub(super) struct Turn {
    own: OwnedSemaphorePermit,
    among_all: OwnedSemaphorePermit,
}

/// The number of lanes. A hash with a random seed assigns each actor to a lane, so no actor can
/// choose its lane.
const LANES: usize = 128;

/// The limit of concurrent calls in one lane.
const AT_ONCE: usize = 8;

/// The limits over all actors, for reads, additions and revocations. That of revocations is the sum
/// of their lanes, so only the lanes limit them.
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
    /// [`ManageError::Store`] after [`PATIENCE`].
    pub(super) async fn take(&self, actor: &Actor, work: WorkKind) -> Result<Turn, ManageError> {
        let lane = self.hasher.hash_one((actor.organization(), actor.owner(), actor.key_id()));
        #[allow(clippy::cast_possible_truncation, reason = "any bits of the hash serve")]
        let lane = &self.lanes[work as usize][lane as usize % LANES];
        let turn = async {
            let own = Arc::clone(lane).acquire_owned().await?;
            let among_all = Arc::clone(&self.all[work as usize]).acquire_owned().await?;
            Ok::<_, AcquireError>(Turn { own, among_all })
        };
        match timeout(PATIENCE, turn).await {
            Ok(Ok(turn)) => Ok(turn),
            Ok(Err(_)) | Err(_) => Err(ManageError::Store("too many concurrent calls".into())),
        }
    }
}

impl Turn {
    /// Runs `work` in this turn. If the registry hangs, other actors wait for [`PATIENCE`] at most;
    /// the lane stays occupied until the work ends.
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
