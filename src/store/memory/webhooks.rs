//! The queue of webhooks in memory, for tests.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use super::MemoryStore;
use crate::{
    event::EventCursor,
    webhook::{WebhookDelivery, WebhookOutcome, WebhookStore},
};

#[derive(Default)]
pub(super) struct WebhookQueue(Mutex<BTreeMap<String, Endpoint>>);

struct Endpoint {
    position: EventCursor,
    is_enabled: bool,
    deliveries: BTreeMap<i64, Queued>,
}

struct Queued {
    delivery: WebhookDelivery,
    /// `None` for a dead letter.
    next_at: Option<SystemTime>,
}

// === impl WebhookQueue ===

impl WebhookQueue {
    /// Removes the deliveries of events before this one; of all events, if there is none.
    pub(super) fn keep_from(&self, oldest: Option<EventCursor>) {
        for endpoint in self.lock().values_mut() {
            endpoint.deliveries.retain(|number, _| oldest.is_some_and(|oldest| *number >= oldest.number()));
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Endpoint>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl WebhookStore for MemoryStore {
    type Error = Infallible;

    async fn queue_webhooks(&self, endpoint: &str, now: SystemTime, limit: u32) -> Result<u32, Infallible> {
        let mut endpoints = self.0.webhooks.lock();
        let entry = endpoints.entry(endpoint.to_owned()).or_insert_with(|| Endpoint {
            position: self.0.events.newest(),
            is_enabled: true,
            deliveries: BTreeMap::new(),
        });
        // A delivery is kept for as long as its event: the log drops events when it is full.
        if let Some(oldest) = self.0.events.oldest() {
            entry.deliveries = entry.deliveries.split_off(&oldest.number());
        }
        if !entry.is_enabled {
            return Ok(0);
        }
        let events = self.0.events.since(entry.position, limit as usize);
        for event in &events {
            let Some(cursor) = event.cursor() else { continue };
            let delivery = WebhookDelivery::new(endpoint, cursor.number(), event.clone(), now).with_attempts(0);
            entry.deliveries.insert(cursor.number(), Queued { delivery, next_at: Some(now) });
            entry.position = cursor;
        }
        Ok(u32::try_from(events.len()).unwrap_or(limit))
    }

    async fn claim_webhooks(
        &self,
        endpoint: &str,
        now: SystemTime,
        lease: Duration,
        limit: u32,
    ) -> Result<Vec<WebhookDelivery>, Infallible> {
        let mut endpoints = self.0.webhooks.lock();
        let Some(entry) = endpoints.get_mut(endpoint).filter(|entry| entry.is_enabled) else { return Ok(Vec::new()) };
        let due = entry.deliveries.values_mut().filter(|queued| queued.next_at.is_some_and(|at| at <= now));
        let claim = |queued: &mut Queued| {
            queued.next_at = Some(now + lease);
            queued.delivery.attempts += 1;
            queued.delivery.clone()
        };
        Ok(due.take(limit as usize).map(claim).collect())
    }

    async fn finish_webhook(&self, delivery: &WebhookDelivery, outcome: WebhookOutcome) -> Result<(), Infallible> {
        let mut endpoints = self.0.webhooks.lock();
        let Some(entry) = endpoints.get_mut(&delivery.endpoint) else { return Ok(()) };
        if outcome == WebhookOutcome::Gone {
            entry.is_enabled = false;
        }
        if outcome == WebhookOutcome::Delivered {
            entry.deliveries.remove(&delivery.event_number);
        } else if let Some(queued) = entry.deliveries.get_mut(&delivery.event_number)
            && queued.delivery.attempts == delivery.attempts
        {
            queued.next_at = if let WebhookOutcome::Retry(at) = outcome { Some(at) } else { None };
        }
        Ok(())
    }

    async fn dead_webhooks(&self, endpoint: &str, limit: u32) -> Result<Vec<WebhookDelivery>, Infallible> {
        let endpoints = self.0.webhooks.lock();
        let dead = endpoints.get(endpoint).into_iter().flat_map(|entry| entry.deliveries.values());
        let dead = dead.filter(|queued| queued.next_at.is_none()).map(|queued| queued.delivery.clone());
        Ok(dead.take(limit as usize).collect())
    }

    async fn revive_webhooks(&self, endpoint: &str, now: SystemTime) -> Result<u32, Infallible> {
        let mut endpoints = self.0.webhooks.lock();
        let Some(entry) = endpoints.get_mut(endpoint) else { return Ok(0) };
        entry.is_enabled = true;
        let mut count = 0;
        for queued in entry.deliveries.values_mut().filter(|queued| queued.next_at.is_none()) {
            queued.next_at = Some(now);
            (queued.delivery.attempts, queued.delivery.queued_at) = (0, now);
            count += 1;
        }
        Ok(count)
    }

    async fn is_webhook_enabled(&self, endpoint: &str) -> Result<bool, Infallible> {
        Ok(self.0.webhooks.lock().get(endpoint).is_none_or(|entry| entry.is_enabled))
    }
}
