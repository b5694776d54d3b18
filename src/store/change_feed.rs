//! What a cache follows: the changes of the keys in a store, and the proof that none was missed.

use super::BoxError;
use crate::key::KeyDigest;

/// Which keys were changed, added or removed.
///
/// ```
/// use tower_api_key::store::Invalidation;
///
/// assert_ne!(Invalidation::Digest([7; 32].into()), Invalidation::DigestPrefix([7, 7]));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invalidation {
    /// The key stored under this digest.
    Digest(KeyDigest),
    /// Some key whose digest begins with these two bytes. So a channel that others can read says little about a digest.
    DigestPrefix([u8; 2]),
    /// Some key, or many.
    All,
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
/// | a `heartbeat` that returns before the changes before it   | **a revoked key works until they come**                   |
/// | an error, or silence                                     | every look-up goes to the store                           |
///
/// Where a table has a column that counts its versions, three queries are enough; a change is then told within the pause.
///
/// ```
/// use std::time::Duration;
/// use tower_api_key::store::{BoxError, ChangeFeed, Invalidation};
///
/// struct Versions { seen: i64 /* and a connection */ }
/// # impl Versions { async fn select_max_version(&self) -> Result<i64, BoxError> { Ok(0) } }
///
/// impl ChangeFeed for Versions {
///     type Error = BoxError;
///
///     async fn subscribe(&mut self) -> Result<(), BoxError> {
///         self.seen = self.select_max_version().await?;
///         Ok(())
///     }
///
///     async fn next(&mut self) -> Result<Invalidation, BoxError> {
///         loop {
///             tokio::time::sleep(Duration::from_millis(20)).await;
///             if let [change, ..] = self.heartbeat().await?[..] {
///                 return Ok(change);
///             }
///         }
///     }
///
///     async fn heartbeat(&mut self) -> Result<Vec<Invalidation>, BoxError> {
///         let now = self.select_max_version().await?; // in the database that the look-ups go to
///         let was_changed = std::mem::replace(&mut self.seen, now) != now;
///         Ok(if was_changed { vec![Invalidation::All] } else { Vec::new() })
///     }
/// }
/// ```
pub trait ChangeFeed: Send + 'static {
    /// Why nothing can be followed.
    type Error: Into<BoxError>;

    /// Begins anew: every change that is committed after this returns will be told.
    ///
    /// # Errors
    ///
    /// The channel cannot be reached. It is tried again.
    fn subscribe(&mut self) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// The next change. Dropping the future before it is done loses no change.
    ///
    /// # Errors
    ///
    /// The channel is lost.
    fn next(&mut self) -> impl Future<Output = Result<Invalidation, Self::Error>> + Send;

    /// Waits until every change that was committed before this call has been told, by `next` or in the answer.
    ///
    /// This is the heartbeat: it has to go the way that the changes go. A database that is merely reachable proves nothing.
    ///
    /// # Errors
    ///
    /// The channel is lost.
    fn heartbeat(&mut self) -> impl Future<Output = Result<Vec<Invalidation>, Self::Error>> + Send;
}
