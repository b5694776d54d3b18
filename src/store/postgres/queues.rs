//! The queues for the connections of a pool.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

/// The permits for connections.
///
/// Management uses at most half of them, and lists at most an eighth, since each list keeps a
/// processor of the server busy. One of management's connections is reserved for edits, revocations
/// and reads of single keys. So lookups do not wait for management, and a revocation waits neither
/// for lists nor for new keys. With fewer than four connections the shares overlap.
///
/// Proofs have one more connection, which they share with nothing: a proof never waits for lookups
/// that hang, and no lookup waits for a proof.
pub(super) struct Queues {
    lookups: Arc<Semaphore>,
    changes: Arc<Semaphore>,
    additions: Arc<Semaphore>,
    lists: Arc<Semaphore>,
    proofs: Arc<Semaphore>,
}

/// The use of a connection. The queues form a chain: lists, additions, changes, lookups. Each use
/// waits in its own queue first, then in all later ones. Proofs wait in their own queue only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Purpose {
    /// The lookup of a key for a request.
    LookUp,
    /// An edit, a revocation, or a read of one key.
    Change,
    /// New keys, use counts, and the removal of a user: they may wait for a lock.
    Add,
    List,
    /// A statement of a change feed, by which nodes prove that they have missed nothing.
    Proof,
}

/// The permit for a connection: one permit of each queue that the use has waited in.
pub(super) struct Permit {
    _queues: [Option<OwnedSemaphorePermit>; 4],
}

// === impl Queues ===

impl Queues {
    pub(super) fn new(connections: u32) -> Self {
        let permits = usize::try_from(connections.max(1)).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        let of = |count: usize| Arc::new(Semaphore::new(count.max(1)));
        Self {
            lookups: of(permits),
            changes: of(permits / 2),
            additions: of((permits / 2).saturating_sub(1)),
            lists: of(permits / 8),
            proofs: of(1),
        }
    }

    /// Waits for a permit, at most for this time.
    pub(super) async fn permit(&self, purpose: Purpose, limit: Duration) -> Result<Permit, sqlx::Error> {
        let chain = [
            (&self.lists, Purpose::List),
            (&self.additions, Purpose::Add),
            (&self.changes, Purpose::Change),
            (&self.lookups, Purpose::LookUp),
        ];
        let queues = match purpose {
            Purpose::Proof => [Some(&self.proofs), None, None, None],
            _ => chain.map(|(queue, first)| (first <= purpose).then_some(queue)),
        };
        let queueing = async {
            let mut held = [const { None }; 4];
            for (turn, queue) in held.iter_mut().zip(queues) {
                if let Some(queue) = queue {
                    *turn = Some(Arc::clone(queue).acquire_owned().await.map_err(|_| sqlx::Error::PoolClosed)?);
                }
            }
            Ok(Permit { _queues: held })
        };
        timeout(limit, queueing).await.map_err(|_| sqlx::Error::PoolTimedOut)?
    }

    /// Ends the wait of each use with an error.
    pub(super) fn close(&self) {
        for queue in [&self.lists, &self.additions, &self.changes, &self.lookups, &self.proofs] {
            queue.close();
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.lookups.is_closed()
    }

    /// Returns how many lookups could have a connection now.
    pub(super) fn free(&self) -> usize {
        self.lookups.available_permits()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn a_proof_never_waits_for_lookups_and_no_lookup_for_a_proof() {
        let queues = Queues::new(2);
        let proof = queues.permit(Purpose::Proof, Duration::ZERO).await.unwrap();
        let mut lookups = Vec::new();
        for _ in 0..2 {
            lookups.push(queues.permit(Purpose::LookUp, Duration::ZERO).await.unwrap());
        }
        assert!(queues.permit(Purpose::LookUp, LIMIT).await.is_err(), "there are two connections");
        assert!(queues.permit(Purpose::Proof, LIMIT).await.is_err(), "there is one connection for proofs");
        drop(proof);
        queues.permit(Purpose::Proof, Duration::ZERO).await.unwrap();
        queues.close();
        assert!(matches!(queues.permit(Purpose::Proof, LIMIT).await, Err(sqlx::Error::PoolClosed)));
    }
}
