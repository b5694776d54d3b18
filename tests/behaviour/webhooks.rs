//! Tests webhooks over the stores of one process.

use std::time::Duration;

use tower_api_key::{
    KeyFormat, KeyManager,
    manage::NewKey,
    store::{MemoryStore, SqliteStore},
    webhook::{Webhook, WebhookDeliverer},
};

use crate::support::{
    TestClock,
    registry::user,
    webhooks::{Endpoint, check, secret, webhook},
};

#[tokio::test]
async fn events_reach_their_endpoints_from_memory() {
    Box::pin(check(MemoryStore::new())).await;
}

#[tokio::test]
async fn events_reach_their_endpoints_from_a_file() {
    let folder = tempfile::tempdir().unwrap();
    Box::pin(check(SqliteStore::open(folder.path().join("keys.db")).await.unwrap())).await;
}

/// By default an attempt takes 15 s at most, and a node that was killed keeps a delivery for 45 s.
#[tokio::test(start_paused = true)]
async fn an_attempt_and_a_claim_end() {
    let (store, endpoint, clock) = (MemoryStore::new(), Endpoint::new(), TestClock::at_t0());
    let node = || {
        let now = clock.clone();
        let builder = WebhookDeliverer::builder(store.clone(), endpoint.clone()).endpoint(webhook("default"));
        builder.clock(move || now.get()).build()
    };
    let (first, second) = (node(), node());
    first.deliver_due().await.unwrap();
    let manager = KeyManager::builder(store.clone()).format(KeyFormat::new("acme").unwrap()).build().unwrap();
    manager.issue(&user("alice"), NewKey::user("laptop")).await.unwrap();
    endpoint.answer(None);
    let killed = tokio::time::timeout(Duration::from_secs(14), first.deliver_due()).await;
    assert!(killed.is_err(), "it still waits for the endpoint");
    for (seconds, failed) in [(44, 0), (1, 1)] {
        clock.set(clock.get() + Duration::from_secs(seconds));
        let begin = tokio::time::Instant::now();
        assert_eq!(second.deliver_due().await.unwrap().failed, failed);
        assert_eq!(begin.elapsed().as_secs(), u64::from(failed) * 15);
    }
}

#[tokio::test]
async fn an_endpoint_replaces_one_with_the_same_id_and_is_shown_without_its_secrets() {
    let url = "https://robot:hunter2@audit.example/T0KEN".parse().unwrap();
    let audit = Webhook::new("audit", url, secret("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")).organization("acme");
    let builder = WebhookDeliverer::builder(MemoryStore::new(), Endpoint::new()).endpoint(webhook("audit"));
    let builder = builder.endpoint(audit.clone());
    let shown = r#"[Webhook { id: "audit", organization: Some("acme"), .. }]"#;
    assert_eq!(format!("{builder:?}"), format!("WebhookDelivererBuilder {{ endpoints: {shown}, .. }}"));
    assert_eq!(format!("{:?}", builder.build()), format!("WebhookDeliverer {{ endpoints: {shown}, .. }}"));
}
