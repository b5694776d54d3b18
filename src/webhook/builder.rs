//! The builder of a deliverer.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{
    Webhook, WebhookDeliverer, WebhookSender, WebhookStore, deliverer::Inner, sender::ErasedSender,
    store::ErasedWebhookStore,
};
use crate::clock::Clock;

/// Configures a [`WebhookDeliverer`], which has an example.
#[must_use = "a builder does nothing until it is built"]
pub struct WebhookDelivererBuilder {
    store: Arc<dyn ErasedWebhookStore>,
    sender: Arc<dyn ErasedSender>,
    endpoints: Vec<Webhook>,
    interval: Duration,
    timeout: Duration,
    clock: Clock,
}

// === impl WebhookDelivererBuilder ===

impl WebhookDelivererBuilder {
    pub(super) fn new(store: impl WebhookStore, sender: impl WebhookSender) -> Self {
        Self {
            store: Arc::new(store),
            sender: Arc::new(sender),
            endpoints: Vec::new(),
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(15),
            clock: Clock::system(),
        }
    }

    /// Adds an endpoint. It replaces one with the same id.
    pub fn endpoint(mut self, endpoint: Webhook) -> Self {
        self.endpoints.retain(|other| other.id != endpoint.id);
        self.endpoints.push(endpoint);
        self
    }

    /// Sets how often the store is asked for new events (default 1 s).
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// Sets the timeout of an attempt (default 15 s).
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets the clock, for tests.
    pub fn clock(mut self, now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        self.clock = Clock::new(now);
        self
    }

    /// Builds the deliverer. It does nothing until [`WebhookDeliverer::run`] is called.
    pub fn build(self) -> WebhookDeliverer {
        let Self { store, sender, endpoints, interval, timeout, clock } = self;
        WebhookDeliverer::new(Inner { store, sender, endpoints, interval, timeout, clock })
    }
}

impl fmt::Debug for WebhookDelivererBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebhookDelivererBuilder").field("endpoints", &self.endpoints).finish_non_exhaustive()
    }
}
