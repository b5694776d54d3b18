//! The queue of deliveries, in the store of the keys.

use std::{
    pin::Pin,
    time::{Duration, SystemTime},
};

use crate::{
    event::KeyEvent,
    store::{BoxError, box_error},
};

/// A store that queues deliveries of events, one for each endpoint. `MemoryStore`, `SqliteStore`
/// and `PostgresStore` implement it.
///
/// Several nodes may deliver from one store: each claimed delivery belongs to one node for the time
/// of its lease.
///
/// ```
/// use tower_api_key::{store::MemoryStore, webhook::WebhookStore};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = MemoryStore::new();
/// let now = std::time::SystemTime::now();
/// assert_eq!(store.queue_webhooks("audit", now, 100).await?, 0); // from now on
/// # Ok(())
/// # }
/// ```
pub trait WebhookStore: Send + Sync + 'static {
    /// The error of a store that failed.
    type Error: Into<BoxError>;

    /// Queues a delivery of each event since the last call for this endpoint, up to `limit`, and
    /// returns their number. The first call for an endpoint queues none: it receives the events
    /// from then on. A disabled endpoint queues nothing.
    ///
    /// It is one transaction: several nodes queue each event once.
    ///
    /// # Errors
    ///
    /// The store failed.
    fn queue_webhooks(
        &self,
        endpoint: &str,
        now: SystemTime,
        limit: u32,
    ) -> impl Future<Output = Result<u32, Self::Error>> + Send;

    /// Claims up to `limit` deliveries whose next attempt is due, oldest first, and counts the
    /// attempt. No other call claims them before `lease` has passed. A disabled endpoint has none.
    ///
    /// # Errors
    ///
    /// The store failed.
    fn claim_webhooks(
        &self,
        endpoint: &str,
        now: SystemTime,
        lease: Duration,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<WebhookDelivery>, Self::Error>> + Send;

    /// Stores what came of a claimed delivery.
    ///
    /// # Errors
    ///
    /// The store failed; the delivery is claimed again after its lease.
    fn finish_webhook(
        &self,
        delivery: &WebhookDelivery,
        outcome: WebhookOutcome,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Returns up to `limit` dead letters of an endpoint, oldest first.
    ///
    /// # Errors
    ///
    /// The store failed.
    fn dead_webhooks(
        &self,
        endpoint: &str,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<WebhookDelivery>, Self::Error>> + Send;

    /// Makes all dead letters of an endpoint due at `now`, as new deliveries, and enables the
    /// endpoint. Returns the number of dead letters.
    ///
    /// # Errors
    ///
    /// The store failed.
    fn revive_webhooks(&self, endpoint: &str, now: SystemTime)
    -> impl Future<Output = Result<u32, Self::Error>> + Send;

    /// Returns whether an endpoint is enabled. An unknown one is.
    ///
    /// # Errors
    ///
    /// The store failed.
    fn is_webhook_enabled(&self, endpoint: &str) -> impl Future<Output = Result<bool, Self::Error>> + Send;
}

/// A delivery of one event to one endpoint.
///
/// ```
/// use tower_api_key::webhook::WebhookDelivery;
///
/// fn show(letter: &WebhookDelivery) {
///     println!("{} to {}: {} attempts", letter.event.key_id(), letter.endpoint, letter.attempts);
/// }
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct WebhookDelivery {
    /// The id of the endpoint.
    pub endpoint: String,
    /// The number of the event in the store; its id for receivers.
    pub event_number: i64,
    /// The event.
    pub event: KeyEvent,
    /// The number of attempts, including the one that was claimed.
    pub attempts: u32,
    /// When the delivery was queued.
    pub queued_at: SystemTime,
}

/// What came of an attempt. [`WebhookStore::finish_webhook`] stores it.
///
/// ```
/// use tower_api_key::webhook::WebhookOutcome;
///
/// assert_ne!(WebhookOutcome::Delivered, WebhookOutcome::Dead);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WebhookOutcome {
    /// The endpoint has accepted it: the delivery ends.
    Delivered,
    /// Try again at this time.
    Retry(SystemTime),
    /// All attempts have failed: keep it as a dead letter.
    Dead,
    /// The endpoint is gone: keep it as a dead letter, and disable the endpoint.
    Gone,
}

// === impl WebhookDelivery ===

impl WebhookDelivery {
    /// Returns a delivery that was claimed for the first time.
    pub fn new(endpoint: impl Into<String>, event_number: i64, event: KeyEvent, queued_at: SystemTime) -> Self {
        Self { endpoint: endpoint.into(), event_number, event, attempts: 1, queued_at }
    }

    /// Sets the number of attempts.
    #[must_use]
    pub fn with_attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts;
        self
    }
}

type Done<'s, T> = Pin<Box<dyn Future<Output = Result<T, BoxError>> + Send + 's>>;

/// A [`WebhookStore`] of any type.
pub(super) trait ErasedWebhookStore: Send + Sync {
    fn queue<'s>(&'s self, endpoint: &'s str, now: SystemTime, limit: u32) -> Done<'s, u32>;
    fn claim<'s>(
        &'s self,
        endpoint: &'s str,
        now: SystemTime,
        lease: Duration,
        limit: u32,
    ) -> Done<'s, Vec<WebhookDelivery>>;
    fn finish<'s>(&'s self, delivery: &'s WebhookDelivery, outcome: WebhookOutcome) -> Done<'s, ()>;
    fn dead<'s>(&'s self, endpoint: &'s str, limit: u32) -> Done<'s, Vec<WebhookDelivery>>;
    fn revive<'s>(&'s self, endpoint: &'s str, now: SystemTime) -> Done<'s, u32>;
    fn is_enabled<'s>(&'s self, endpoint: &'s str) -> Done<'s, bool>;
}

impl<S: WebhookStore> ErasedWebhookStore for S {
    fn queue<'s>(&'s self, endpoint: &'s str, now: SystemTime, limit: u32) -> Done<'s, u32> {
        Box::pin(async move { box_error(self.queue_webhooks(endpoint, now, limit).await) })
    }

    fn claim<'s>(
        &'s self,
        endpoint: &'s str,
        now: SystemTime,
        lease: Duration,
        limit: u32,
    ) -> Done<'s, Vec<WebhookDelivery>> {
        Box::pin(async move { box_error(self.claim_webhooks(endpoint, now, lease, limit).await) })
    }

    fn finish<'s>(&'s self, delivery: &'s WebhookDelivery, outcome: WebhookOutcome) -> Done<'s, ()> {
        Box::pin(async move { box_error(self.finish_webhook(delivery, outcome).await) })
    }

    fn dead<'s>(&'s self, endpoint: &'s str, limit: u32) -> Done<'s, Vec<WebhookDelivery>> {
        Box::pin(async move { box_error(self.dead_webhooks(endpoint, limit).await) })
    }

    fn revive<'s>(&'s self, endpoint: &'s str, now: SystemTime) -> Done<'s, u32> {
        Box::pin(async move { box_error(self.revive_webhooks(endpoint, now).await) })
    }

    fn is_enabled<'s>(&'s self, endpoint: &'s str) -> Done<'s, bool> {
        Box::pin(async move { box_error(self.is_webhook_enabled(endpoint).await) })
    }
}
