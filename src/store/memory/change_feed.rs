//! The change feed of a memory store.

use std::{convert::Infallible, future::pending};

use tokio::sync::broadcast::{
    Receiver, Sender,
    error::{RecvError, TryRecvError},
};

use super::MemoryStore;
use crate::store::{ChangeFeed, Invalidation};

/// A feed of the changes in a [`MemoryStore`]. Create it with [`MemoryStore::change_feed`].
///
/// ```
/// use tower_api_key::{KeyRecord, store::{ChangeFeed, Invalidation, MemoryStore}};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let keys = MemoryStore::new();
/// let mut changes = keys.change_feed();
/// changes.subscribe().await?;
/// keys.add(KeyRecord::new("k1", [7; 32]))?;
/// assert_eq!(changes.next().await?, Invalidation::Digest([7; 32].into()));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct MemoryChangeFeed {
    store: MemoryStore,
    receiver: Option<Receiver<Invalidation>>,
}

/// The number of changes that are buffered. A receiver that is further behind gets
/// [`Invalidation::All`].
const CAPACITY: usize = 256;

impl MemoryChangeFeed {
    pub(super) fn new(store: MemoryStore) -> Self {
        Self { store, receiver: None }
    }
}

impl ChangeFeed for MemoryChangeFeed {
    type Error = Infallible;

    async fn subscribe(&mut self) -> Result<(), Infallible> {
        let changes = self.store.0.changes.get_or_init(|| Sender::new(CAPACITY));
        self.receiver = Some(changes.subscribe());
        Ok(())
    }

    async fn next(&mut self) -> Result<Invalidation, Infallible> {
        match self.receiver.as_mut() {
            Some(receiver) => match receiver.recv().await {
                Ok(change) => Ok(change),
                Err(RecvError::Lagged(_) | RecvError::Closed) => Ok(Invalidation::All),
            },
            None => pending().await,
        }
    }

    async fn heartbeat(&mut self) -> Result<Vec<Invalidation>, Infallible> {
        // Wait for a change in progress: it sends its notifications before its transaction ends.
        drop(self.store.0.writer.acquire());
        let mut changes = Vec::new();
        while let Some(receiver) = self.receiver.as_mut() {
            match receiver.try_recv() {
                Ok(change) => changes.push(change),
                Err(TryRecvError::Lagged(_)) => changes.push(Invalidation::All),
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
            }
        }
        Ok(changes)
    }
}
