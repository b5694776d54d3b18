//! Any store behind one type, with its faults caught: it fails, it is too slow, it panics.

use std::{
    any::Any,
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use super::{BoxError, KeyStore, Lookup};
use crate::{
    key::{Digests, KeyDigest},
    record::KeyRecord,
};

/// Why a store gave no answer.
#[derive(Debug)]
pub(crate) enum Fault {
    Failed(BoxError),
    Slow,
}

pub(crate) type Answer = Result<Option<KeyRecord>, Fault>;

/// An answer that has to be waited for: the one box of a request.
pub(crate) type PendingAnswer = Pin<Box<dyn Future<Output = Answer> + Send>>;

/// A [`KeyStore`] of whatever type.
pub(crate) trait ErasedStore: Send + Sync {
    fn try_find(&self, digest: &KeyDigest) -> Result<Lookup, Fault>;

    /// The first record that is stored under one of these.
    fn find(self: Arc<Self>, digests: Digests, deadline: Duration) -> PendingAnswer;
}

impl<S: KeyStore> ErasedStore for S {
    fn try_find(&self, digest: &KeyDigest) -> Result<Lookup, Fault> {
        catch_unwind(AssertUnwindSafe(|| KeyStore::try_find(self, digest))).map_err(panicked)
    }

    fn find(self: Arc<Self>, digests: Digests, deadline: Duration) -> PendingAnswer {
        Box::pin(async move {
            // Inside the block, so that a store that panics before it has made its future is caught too.
            let lookup = catch_panic(async {
                for digest in digests.iter() {
                    let found = KeyStore::find(&*self, digest).await.map_err(|error| Fault::Failed(error.into()))?;
                    if found.is_some() {
                        return Ok(found);
                    }
                }
                Ok(None)
            });
            let answer = tokio::time::timeout(deadline, lookup).await;
            answer.unwrap_or(Err(Fault::Slow))?
        })
    }
}

/// The output of `future`, or the fault that it panicked. It is not polled again after a panic.
pub(super) async fn catch_panic<F: Future>(future: F) -> Result<F::Output, Fault> {
    let mut future = pin!(future);
    poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
        Ok(poll) => poll.map(Ok),
        Err(panic) => Err(panicked(panic)).into(),
    })
    .await
}

/// The panic's message has been printed by the panic hook already.
fn panicked(_: Box<dyn Any + Send>) -> Fault {
    Fault::Failed("the key store panicked".into())
}
