//! A source of any type.

use std::pin::Pin;

use super::{OwnerRights, Rights};
use crate::{
    record::Owner,
    store::{BoxError, catch_panic},
};

/// The answer of a source, or why there is none.
pub(super) type Answer = Result<Rights, BoxError>;

/// An [`OwnerRights`] of any type.
pub(super) trait ErasedRights: Send + Sync {
    fn ask(&self, owner: Owner, organization: Option<String>) -> Pin<Box<dyn Future<Output = Answer> + Send + '_>>;
}

impl<R: OwnerRights> ErasedRights for R {
    fn ask(&self, owner: Owner, organization: Option<String>) -> Pin<Box<dyn Future<Output = Answer> + Send + '_>> {
        Box::pin(async move {
            // `rights` is called in this block, so that a panic before it returns its future is
            // caught too.
            let asked = async { self.rights(&owner, organization.as_deref()).await.map_err(Into::into) };
            let panicked = |_| Err("the source of the owners' rights panicked".into());
            catch_panic(asked).await.unwrap_or_else(panicked)
        })
    }
}
