//! No time that an endpoint or a setting names leads to a panic or to a lost delivery.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, header::RETRY_AFTER};
use tower_api_key::{
    KeyFormat, KeyManager, KeyRegistry,
    manage::NewKey,
    store::{BoxError, MemoryStore},
    webhook::{Webhook, WebhookDeliverer, WebhookSender, WebhookStore},
};

use crate::support::{Api, TestClock, registry::admin, t0};

/// An endpoint that is busy for as long as it can say.
struct Busy(&'static str);

impl WebhookSender for Busy {
    async fn send(&self, _: Request<Bytes>) -> Result<Response<()>, BoxError> {
        Ok(Response::builder().status(503).header(RETRY_AFTER, self.0).body(())?)
    }
}

fn endpoint() -> Webhook {
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".parse().unwrap();
    Webhook::new("e", "https://example.com/".parse().unwrap(), secret)
}

#[tokio::test]
async fn a_time_beyond_all_times_ends_no_delivery() {
    for (asked, timeout) in [
        ("18446744073709551615", Duration::from_secs(1)),
        ("9223372036854775807", Duration::from_secs(1)),
        ("1", Duration::MAX),
        ("1", Duration::from_secs(i64::MAX.unsigned_abs())),
    ] {
        let (api, manager) = Api::managed(|builder| builder);
        let deliverer = WebhookDeliverer::builder(api.store.keys.clone(), Busy(asked));
        let deliverer = deliverer.endpoint(endpoint()).timeout(timeout).build();
        deliverer.deliver_due().await.unwrap();
        manager.issue(&admin(), NewKey::service_account("x")).await.unwrap();
        let report = deliverer.deliver_due().await.unwrap();
        assert_eq!((report.failed, report.dead), (1, 0), "{asked} {timeout:?}");
    }
}

/// A receiver that is down for good fills no store: a delivery is kept for as long as its event.
async fn dead_letters_end_with_their_events(store: impl KeyRegistry + WebhookStore + Clone) {
    let clock = TestClock::new();
    let now = clock.clone();
    let manager = KeyManager::builder(store.clone()).format(KeyFormat::new("acme").unwrap()).clock(t0).build().unwrap();
    let deliverer = WebhookDeliverer::builder(store.clone(), Busy("1")).endpoint(endpoint());
    let deliverer = deliverer.clock(move || now.get()).build();
    deliverer.deliver_due().await.unwrap();
    manager.issue(&admin(), NewKey::service_account("x")).await.unwrap();
    for _ in 0..40 {
        deliverer.deliver_due().await.unwrap();
        clock.set(clock.get() + Duration::from_hours(2));
    }
    assert_eq!(deliverer.dead_letters("e", 10).await.unwrap().len(), 1);
    let pruned = store.prune_events(t0() + Duration::from_secs(1), 100).await.map_err(Into::<BoxError>::into);
    assert!(pruned.unwrap() > 0);
    deliverer.deliver_due().await.unwrap();
    assert!(deliverer.dead_letters("e", 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn dead_letters_end_with_their_events_in_memory() {
    dead_letters_end_with_their_events(MemoryStore::new()).await;
}

#[cfg(feature = "sqlite")]
#[tokio::test]
async fn dead_letters_end_with_their_events_in_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let store = tower_api_key::store::SqliteStore::open(folder.path().join("keys.db")).await.unwrap();
    dead_letters_end_with_their_events(store).await;
}
