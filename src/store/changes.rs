//! What a cache follows: the changes of the keys in a store, and the proof that none was missed.

use super::BoxError;
use crate::key::KeyDigest;

/// Which keys were changed, added or removed.
///
/// ```
/// use tower_api_key::{KeyDigest, store::Change};
///
/// let digest = KeyDigest::from([7; 32]);
/// assert!(Change::Key(digest).concerns(&digest));
/// assert!(Change::Beginning([7, 7]).concerns(&digest));
/// assert!(!Change::Beginning([7, 8]).concerns(&digest));
/// assert!(Change::Any.concerns(&digest));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The key stored under this digest.
    Key(KeyDigest),
    /// Some key whose digest begins with these two bytes. So a channel that others can read says little about a digest.
    Beginning([u8; 2]),
    /// Some key, or many.
    Any,
}

impl Change {
    /// Whether it may be the key stored under `digest` that was changed.
    pub fn concerns(&self, digest: &KeyDigest) -> bool {
        match self {
            Self::Key(changed) => changed == digest,
            Self::Beginning(bytes) => digest.as_bytes().starts_with(bytes),
            Self::Any => true,
        }
    }
}

/// The changes in a store, as they come, for a `CachedStore` to follow.
///
/// A cache calls `connect` first, then the other two in turn. When any of them fails, or takes too long, nothing is proven any more:
/// the cache connects again, and forgets all that it had. So an implementation need not know what it has missed.
///
/// | a wrong answer                                           | what it does                                              |
/// |----------------------------------------------------------|-----------------------------------------------------------|
/// | a change that was not one                                | one look-up more                                          |
/// | a change that is never told                              | **a revoked key works until its entry is too old**        |
/// | a `catch_up` that returns before the changes before it   | **a revoked key works until they come**                   |
/// | an error, or silence                                     | every look-up goes to the store                           |
pub trait KeyChanges: Send + 'static {
    /// Why nothing can be followed.
    type Error: Into<BoxError>;

    /// Begins anew: every change that is committed after this returns will be told.
    ///
    /// # Errors
    ///
    /// The channel cannot be reached. It is tried again.
    fn connect(&mut self) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// The next change. Dropping the future before it is done loses no change.
    ///
    /// # Errors
    ///
    /// The channel is lost.
    fn next(&mut self) -> impl Future<Output = Result<Change, Self::Error>> + Send;

    /// Waits until every change that was committed before this call has been told, by `next` or in the answer.
    ///
    /// This is the heartbeat: it has to go the way that the changes go. A database that is merely reachable proves nothing.
    ///
    /// # Errors
    ///
    /// The channel is lost.
    fn catch_up(&mut self) -> impl Future<Output = Result<Vec<Change>, Self::Error>> + Send;
}
