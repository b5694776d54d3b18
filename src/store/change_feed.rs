//! The change feed of a store: which keys changed, and the proof that no change was missed.

#[cfg(feature = "cache")]
use std::convert::Infallible;

use super::BoxError;
#[cfg(feature = "cache")]
use super::cached::FeedState;
use crate::key::KeyDigest;

/// Names the keys that were changed, added or removed.
///
/// ```
/// use tower_api_key::store::Invalidation;
///
/// assert_ne!(Invalidation::Digest([7; 32].into()), Invalidation::DigestPrefix([7, 7]));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invalidation {
    /// The key with this digest.
    Digest(KeyDigest),
    /// Keys with digests that begin with these two bytes. Use it on a channel that others can read:
    /// the channel then reveals only two bytes of a digest.
    DigestPrefix([u8; 2]),
    /// Any keys.
    All,
}

/// Reports the changes in a store to a `CachedStore`.
///
/// A cache calls `subscribe` first, then `next` and `heartbeat` in turn. When one of them fails or
/// times out, the cache subscribes again and invalidates all its entries. So an implementation need
/// not know which changes it has missed.
///
/// | a faulty feed                                | effect                                     |
/// |----------------------------------------------|--------------------------------------------|
/// | reports a change that did not happen         | one extra lookup                           |
/// | never reports a change                       | **a revoked key works until the TTL ends** |
/// | reports a change after a later `heartbeat`   | **a revoked key works until that report**  |
/// | returns an error, or does not return         | every lookup queries the store             |
///
/// If your table has a version column that grows with every change, a feed can poll the maximum of
/// that column. The example does so and reports a change within 20 ms:
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
///         let now = self.select_max_version().await?; // in the database that lookups read
///         let was_changed = std::mem::replace(&mut self.seen, now) != now;
///         Ok(if was_changed { vec![Invalidation::All] } else { Vec::new() })
///     }
/// }
/// ```
pub trait ChangeFeed: Send + 'static {
    /// The error of a feed that cannot be followed. The cache logs it and subscribes again.
    type Error: Into<BoxError>;

    /// Starts a new subscription: every change committed after this returns is reported.
    ///
    /// # Errors
    ///
    /// Returns an error if the channel cannot be reached. The cache retries with a growing pause.
    fn subscribe(&mut self) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Waits for the next change and returns it.
    ///
    /// The future must be cancel safe: dropping it loses no change.
    ///
    /// # Errors
    ///
    /// Returns an error if the channel is lost.
    fn next(&mut self) -> impl Future<Output = Result<Invalidation, Self::Error>> + Send;

    /// Waits until every change committed before this call has been reported, by `next` or in the
    /// result.
    ///
    /// The heartbeat must take the same path as the changes. A query that only shows that the
    /// database is reachable proves nothing.
    ///
    /// # Errors
    ///
    /// Returns an error if the channel is lost.
    fn heartbeat(&mut self) -> impl Future<Output = Result<Vec<Invalidation>, Self::Error>> + Send;

    /// Follows the feed for a cache until it is lost. This one calls `subscribe`, and then `next`
    /// and `heartbeat` in turn. A feed of this library may have another way to prove that no change
    /// was missed.
    #[cfg(feature = "cache")]
    #[doc(hidden)]
    fn follow(&mut self, cache: &FeedState) -> impl Future<Output = Result<Infallible, BoxError>> + Send
    where
        Self: Sized,
    {
        cache.follow_by_heartbeats(self)
    }
}
