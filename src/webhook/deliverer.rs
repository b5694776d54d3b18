//! Takes events from a store and sends them to endpoints.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header::RETRY_AFTER};
use thiserror::Error;
use tokio::task::JoinSet;

use super::{
    Webhook, WebhookDelivererBuilder, WebhookDelivery, WebhookOutcome, WebhookSender, WebhookStore, body,
    retry::{GIVE_UP_AFTER, next_attempt},
    sender::ErasedSender,
    store::ErasedWebhookStore,
};
use crate::{clock::Clock, store::BoxError};

/// Sends the events of a store to endpoints. [`WebhookDeliverer::run`] works until it is dropped.
///
/// Every node may run one: a delivery is claimed by one node at a time. Its store is a clone of the
/// manager's store; if the manager has a `CachedStore`, the store in it.
///
/// ```
/// use bytes::Bytes;
/// use http::{Request, Response};
/// use tower_api_key::store::{BoxError, MemoryStore};
/// use tower_api_key::webhook::{Webhook, WebhookDeliverer, WebhookSender};
///
/// struct Client;
/// impl WebhookSender for Client {
///     async fn send(&self, request: Request<Bytes>) -> Result<Response<()>, BoxError> {
///         Ok(Response::new(())) // send it with your HTTP client
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".parse()?;
/// let endpoint = Webhook::new("audit", "https://audit.example/keys".parse()?, secret);
/// let store = MemoryStore::new(); // the manager has a clone
/// let deliverer = WebhookDeliverer::builder(store, Client).endpoint(endpoint).build();
/// let task = tokio::spawn(async move { deliverer.run().await });
/// # task.abort();
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct WebhookDeliverer(Arc<Inner>);

/// What one pass over all endpoints has done, from [`WebhookDeliverer::deliver_due`], which has an
/// example.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeliveryReport {
    /// The number of deliveries that were queued.
    pub queued: u32,
    /// The number of deliveries that an endpoint has accepted.
    pub delivered: u32,
    /// The number of attempts that have failed and will be repeated.
    pub failed: u32,
    /// The number of deliveries that have become dead letters.
    pub dead: u32,
}

/// The error of a deliverer.
///
/// ```
/// use tower_api_key::webhook::WebhookError;
///
/// let error = WebhookError::from(Box::<dyn std::error::Error + Send + Sync>::from("the disk is full"));
/// assert_eq!(error.to_string(), "the store of the webhooks failed");
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WebhookError {
    /// The store failed. Claimed deliveries are attempted again after their lease.
    #[error("the store of the webhooks failed")]
    Store(#[from] BoxError),
}

pub(super) struct Inner {
    pub(super) store: Arc<dyn ErasedWebhookStore>,
    pub(super) sender: Arc<dyn ErasedSender>,
    pub(super) endpoints: Vec<Webhook>,
    pub(super) interval: Duration,
    pub(super) timeout: Duration,
    pub(super) clock: Clock,
}

/// The number of deliveries that are queued, or sent at the same time, for one endpoint.
const BATCH: u32 = 16;

/// What a lease is longer than the timeout of an attempt.
const MARGIN: Duration = Duration::from_secs(30);

/// The longest pause after errors of the store.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

// === impl WebhookDeliverer ===

impl WebhookDeliverer {
    pub(super) fn new(inner: Inner) -> Self {
        Self(Arc::new(inner))
    }

    /// Configures a deliverer of the events in `store`.
    pub fn builder(store: impl WebhookStore, sender: impl WebhookSender) -> WebhookDelivererBuilder {
        WebhookDelivererBuilder::new(store, sender)
    }

    /// Delivers events until the future is dropped. If the store fails, it tries again, with pauses
    /// of up to a minute.
    pub async fn run(&self) {
        let mut pause = self.0.interval;
        loop {
            match self.deliver_due().await {
                // Ask again at once while there is work.
                Ok(report) if report.queued > 0 || report.delivered > 0 => {
                    pause = self.0.interval;
                    tokio::task::yield_now().await;
                }
                Ok(_) => {
                    pause = self.0.interval;
                    tokio::time::sleep(pause).await;
                }
                Err(_) => {
                    tokio::time::sleep(pause).await;
                    pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    /// Queues new events and makes one attempt for each delivery that is due, at most 16 for each
    /// endpoint. For tests, and for callers with a loop of their own.
    ///
    /// ```
    /// # use tower_api_key::webhook::WebhookDeliverer;
    /// # async fn example(deliverer: WebhookDeliverer) -> Result<(), tower_api_key::webhook::WebhookError> {
    /// let report = deliverer.deliver_due().await?;
    /// println!("{} delivered, {} failed", report.delivered, report.failed);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`WebhookError::Store`].
    pub async fn deliver_due(&self) -> Result<DeliveryReport, WebhookError> {
        let mut report = DeliveryReport::default();
        let mut error = None;
        for endpoint in &self.0.endpoints {
            // A failure for one endpoint does not keep the others waiting.
            match self.deliver_to(endpoint).await {
                Ok(done) => {
                    report.queued += done.queued;
                    report.delivered += done.delivered;
                    report.failed += done.failed;
                    report.dead += done.dead;
                }
                Err(failed) => error = Some(failed),
            }
        }
        error.map_or(Ok(report), Err)
    }

    /// Returns up to `limit` dead letters of an endpoint, oldest first.
    ///
    /// # Errors
    ///
    /// [`WebhookError::Store`].
    pub async fn dead_letters(&self, endpoint: &str, limit: u32) -> Result<Vec<WebhookDelivery>, WebhookError> {
        Ok(self.0.store.dead(endpoint, limit).await?)
    }

    /// Sends all dead letters of an endpoint again, and enables the endpoint if a 410 has disabled
    /// it. Returns the number of dead letters.
    ///
    /// # Errors
    ///
    /// [`WebhookError::Store`].
    pub async fn revive(&self, endpoint: &str) -> Result<u32, WebhookError> {
        Ok(self.0.store.revive(endpoint, self.0.clock.now()).await?)
    }

    /// Returns whether an endpoint is enabled. A 410 disables it: then it queues no events until
    /// [`WebhookDeliverer::revive`] enables it.
    ///
    /// # Errors
    ///
    /// [`WebhookError::Store`].
    pub async fn is_enabled(&self, endpoint: &str) -> Result<bool, WebhookError> {
        Ok(self.0.store.is_enabled(endpoint).await?)
    }

    /// Returns the ids of the endpoints.
    pub(crate) fn endpoint_ids(&self) -> impl Iterator<Item = &str> {
        self.0.endpoints.iter().map(|endpoint| &*endpoint.id)
    }

    async fn deliver_to(&self, endpoint: &Webhook) -> Result<DeliveryReport, WebhookError> {
        let now = self.0.clock.now();
        let lease = self.0.timeout.saturating_add(MARGIN).min(GIVE_UP_AFTER);
        let mut report =
            DeliveryReport { queued: self.0.store.queue(&endpoint.id, now, BATCH).await?, ..DeliveryReport::default() };
        let due = self.0.store.claim(&endpoint.id, now, lease, BATCH).await?;
        let mut attempts = JoinSet::new();
        for delivery in due {
            let (inner, endpoint) = (Arc::clone(&self.0), endpoint.clone());
            attempts.spawn(async move {
                let outcome = inner.attempt(&endpoint, &delivery).await;
                let stored = inner.store.finish(&delivery, outcome).await;
                stored.map(|()| outcome)
            });
        }
        while let Some(done) = attempts.join_next().await {
            match done.map_err(|panicked| WebhookError::Store(panicked.into()))?? {
                WebhookOutcome::Delivered => report.delivered += 1,
                WebhookOutcome::Retry(_) => report.failed += 1,
                WebhookOutcome::Dead | WebhookOutcome::Gone => report.dead += 1,
            }
        }
        Ok(report)
    }
}

impl Inner {
    async fn attempt(&self, endpoint: &Webhook, delivery: &WebhookDelivery) -> WebhookOutcome {
        if !endpoint.receives(&delivery.event) {
            return WebhookOutcome::Delivered;
        }
        let sent = match self.request(endpoint, delivery) {
            Ok(request) => {
                tokio::time::timeout(self.timeout, self.sender.send(request)).await.ok().and_then(Result::ok)
            }
            Err(_) => None,
        };
        if sent.as_ref().is_some_and(|response| response.status().is_success()) {
            return WebhookOutcome::Delivered;
        }
        if sent.as_ref().is_some_and(|response| response.status() == StatusCode::GONE) {
            return WebhookOutcome::Gone;
        }
        let (asked, seed) = (sent.as_ref().and_then(retry_after), delivery.event_number.unsigned_abs());
        let next = next_attempt(delivery.queued_at, self.clock.now(), delivery.attempts, asked, seed);
        next.map_or(WebhookOutcome::Dead, WebhookOutcome::Retry)
    }

    fn request(&self, endpoint: &Webhook, delivery: &WebhookDelivery) -> Result<Request<Bytes>, BoxError> {
        // The id of the event is random. Its number would disclose the number of all events.
        let id = delivery.event.id().map_or_else(|| delivery.event_number.to_string(), str::to_owned);
        let id = format!("msg_{id}");
        let since = self.clock.now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let timestamp = since.as_secs();
        let body = body::of(&delivery.event)?;
        let signatures: Vec<String> =
            endpoint.secrets.iter().map(|secret| secret.sign(&id, timestamp, &body)).collect();
        let request = Request::builder()
            .method(Method::POST)
            .uri(endpoint.url.clone())
            .header("content-type", "application/json")
            .header("webhook-id", id)
            .header("webhook-timestamp", timestamp.to_string())
            .header("webhook-signature", signatures.join(" "));
        Ok(request.body(body.into())?)
    }
}

fn retry_after(response: &Response<()>) -> Option<Duration> {
    let seconds = response.headers().get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

impl fmt::Debug for WebhookDeliverer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebhookDeliverer").field("endpoints", &self.0.endpoints).finish_non_exhaustive()
    }
}
