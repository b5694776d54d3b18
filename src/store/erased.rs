//! Type-erased stores. Errors, timeouts and panics of a store become a [`Fault`].

use std::{
    any::Any,
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use super::{BoxError, KeyStore, Lookup, box_error};
use crate::{
    key::{Digests, KeyDigest},
    record::KeyRecord,
};

/// The reason why a store did not answer.
#[derive(Debug)]
pub(crate) enum Fault {
    Failed(BoxError),
    Slow,
    /// The record was found, but not what its owner may do now.
    OwnerRights(BoxError),
    /// The record was found, but not what its roles grant now.
    Roles(BoxError),
}

impl Fault {
    pub(crate) fn into_error(self) -> BoxError {
        match self {
            Self::Failed(error) | Self::OwnerRights(error) | Self::Roles(error) => error,
            Self::Slow => "the key store did not answer in time".into(),
        }
    }
}

pub(crate) type Answer = Result<Option<KeyRecord>, Fault>;

/// The future of an answer. It is the only future that is boxed for a request.
pub(crate) type PendingAnswer = Pin<Box<dyn Future<Output = Answer> + Send>>;

/// A [`KeyStore`] of any type.
pub(crate) trait ErasedStore: Send + Sync {
    fn try_find(&self, digest: &KeyDigest) -> Result<Lookup, Fault>;

    /// Returns whether the record is found without waiting, although something about it is not.
    fn knows(&self, _digest: &KeyDigest) -> bool {
        false
    }

    /// Returns the first record that is stored under one of these digests.
    fn find(self: Arc<Self>, digests: Digests, deadline: Duration) -> PendingAnswer;
}

impl<S: KeyStore> ErasedStore for S {
    fn try_find(&self, digest: &KeyDigest) -> Result<Lookup, Fault> {
        catch_unwind(AssertUnwindSafe(|| KeyStore::try_find(self, digest))).map_err(panicked)
    }

    fn find(self: Arc<Self>, digests: Digests, deadline: Duration) -> PendingAnswer {
        Box::pin(async move {
            // `find` is called in this block, so that a panic before it returns its future is
            // caught too.
            let lookup = catch_panic(async {
                for digest in digests.iter() {
                    let found = box_error(KeyStore::find(&*self, digest).await).map_err(Fault::Failed)?;
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

/// Returns the output of `future`, or a fault if it panics. It is not polled again after a panic.
pub(crate) async fn catch_panic<F: Future>(future: F) -> Result<F::Output, Fault> {
    let mut future = pin!(future);
    poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
        Ok(poll) => poll.map(Ok),
        Err(panic) => Err(panicked(panic)).into(),
    })
    .await
}

/// The panic hook has already printed the message.
fn panicked(_: Box<dyn Any + Send>) -> Fault {
    Fault::Failed("the key store panicked".into())
}
