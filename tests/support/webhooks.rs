//! What every store of webhooks must do, over a receiver that can fail.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, Request, Response, StatusCode};
use serde_json::Value;
use sha2::Sha256;
use tower_api_key::{
    KeyFormat, KeyManager, KeyRegistry,
    manage::{Issued, NewKey},
    store::BoxError,
    webhook::{DeliveryReport, Webhook, WebhookDeliverer, WebhookSecret, WebhookSender, WebhookStore},
};

use super::{
    TestClock,
    registry::{admin, id, user},
    t0,
};

pub const SECRET: &str = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// An endpoint that answers as it is set, and keeps what it has received.
#[derive(Clone)]
pub struct Endpoint(Arc<Mutex<State>>);

struct State {
    status: Option<StatusCode>,
    headers: HeaderMap,
    received: Vec<(HeaderMap, Value)>,
    /// Method, URL and text of the last request.
    last: String,
}

impl Endpoint {
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(State {
            status: Some(StatusCode::NO_CONTENT),
            headers: HeaderMap::new(),
            received: Vec::new(),
            last: String::new(),
        })))
    }

    /// `None`: the endpoint never answers.
    pub fn answer(&self, status: Option<u16>) {
        self.0.lock().unwrap().status = status.map(|status| StatusCode::from_u16(status).unwrap());
    }

    /// The kinds of the received events, with how often each was received.
    fn kinds(&self) -> BTreeMap<String, usize> {
        let mut kinds = BTreeMap::new();
        for (_, body) in &self.0.lock().unwrap().received {
            *kinds.entry(body["type"].as_str().unwrap().to_owned()).or_default() += 1;
        }
        kinds
    }

    fn count(&self) -> usize {
        self.0.lock().unwrap().received.len()
    }
}

impl WebhookSender for Endpoint {
    async fn send(&self, request: Request<Bytes>) -> Result<Response<()>, BoxError> {
        let (status, headers) = {
            let mut state = self.0.lock().unwrap();
            let signed = |name: &str| request.headers()[name].to_str().unwrap().to_owned();
            let mut mac = Hmac::<Sha256>::new_from_slice(&STANDARD.decode(SECRET)?)?;
            mac.update(format!("{}.{}.", signed("webhook-id"), signed("webhook-timestamp")).as_bytes());
            mac.update(request.body());
            let expected = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
            assert!(signed("webhook-signature").split(' ').any(|signature| signature == expected));
            state.last = format!("{} {} {}", request.method(), request.uri(), std::str::from_utf8(request.body())?);
            let body = serde_json::from_slice(request.body())?;
            state.received.push((request.headers().clone(), body));
            (state.status, state.headers.clone())
        };
        let Some(status) = status else { std::future::pending().await };
        let mut response = Response::new(());
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        Ok(response)
    }
}

/// A manager and a deliverer over one store, with one clock.
struct Delivery {
    manager: KeyManager,
    deliverer: WebhookDeliverer,
    endpoint: Endpoint,
    clock: TestClock,
}

impl Delivery {
    fn over<S: KeyRegistry + WebhookStore + Clone>(store: &S, endpoint: &Endpoint, webhook: Webhook) -> Self {
        let clock = TestClock::at_t0();
        let now = [clock.clone(), clock.clone()];
        let [of_manager, of_deliverer] = now;
        let manager = KeyManager::builder(store.clone()).format(KeyFormat::new("acme").unwrap());
        let manager = manager.clock(move || of_manager.get()).build().unwrap();
        let deliverer = WebhookDeliverer::builder(store.clone(), endpoint.clone())
            .endpoint(webhook)
            .timeout(Duration::from_millis(200))
            .clock(move || of_deliverer.get())
            .build();
        Self { manager, deliverer, endpoint: endpoint.clone(), clock }
    }

    async fn issue(&self, name: &str) -> Issued {
        self.manager.issue(&user("alice"), NewKey::user(name)).await.unwrap()
    }

    async fn pass(&self) -> DeliveryReport {
        self.deliverer.deliver_due().await.unwrap()
    }

    fn wait(&self, time: Duration) {
        self.clock.set(self.clock.get() + time);
    }
}

pub fn webhook(id: &str) -> Webhook {
    Webhook::new(id, "https://audit.example/events".parse().unwrap(), secret(SECRET))
}

pub fn secret(base64: &str) -> WebhookSecret {
    format!("whsec_{base64}").parse().unwrap()
}

/// Checks everything over one store.
pub async fn check<S: KeyRegistry + WebhookStore + Clone>(store: S) {
    Box::pin(each_event_is_sent_once_and_signed(&store)).await;
    Box::pin(an_endpoint_that_fails_is_tried_for_a_day(&store)).await;
    Box::pin(an_endpoint_that_is_gone_is_disabled(&store)).await;
    Box::pin(a_claim_that_is_lost_is_repeated_after_its_lease(&store)).await;
    Box::pin(many_nodes_send_each_event_once(&store)).await;
    Box::pin(an_endpoint_of_an_organization_receives_no_other_events(&store)).await;
    Box::pin(a_request_is_what_the_guide_says(&store)).await;
    Box::pin(two_secrets_sign_while_a_receiver_changes_its_secret(&store)).await;
    Box::pin(an_endpoint_can_ask_for_a_pause(&store)).await;
    Box::pin(a_dead_letter_is_kept_as_long_as_its_event(&store)).await;
}

async fn each_event_is_sent_once_and_signed<S: KeyRegistry + WebhookStore + Clone>(store: &S) {
    let delivery = Delivery::over(store, &Endpoint::new(), webhook("once"));
    delivery.issue("before the endpoint exists").await;
    assert_eq!(delivery.pass().await.queued, 0, "it receives the events from now on");
    let issued = delivery.issue("laptop").await;
    delivery.manager.revoke(&admin().because("lost"), id(&issued)).await.unwrap();
    assert_eq!(delivery.pass().await.delivered, 2);
    assert_eq!(delivery.pass().await, DeliveryReport::default());
    let state = delivery.endpoint.0.lock().unwrap();
    let ids: Vec<_> = state.received.iter().map(|(headers, _)| headers["webhook-id"].clone()).collect();
    assert!(ids.len() == 2 && ids[0] != ids[1]);
    for (headers, body) in &state.received {
        let seconds = t0().duration_since(std::time::SystemTime::UNIX_EPOCH).unwrap().as_secs();
        assert_eq!(headers["webhook-timestamp"], seconds.to_string());
        assert_eq!(body["data"]["key_id"], id(&issued));
        assert!(!body.to_string().contains(issued.key().expose()));
    }
    let revoked = state.received.iter().find(|(_, body)| body["type"] == "api_key.revoked").unwrap();
    assert_eq!(
        (&revoked.1["data"]["reason"], &revoked.1["data"]["author"]["type"]),
        (&"lost".into(), &"system".into())
    );
}

async fn an_endpoint_that_fails_is_tried_for_a_day<S: KeyRegistry + WebhookStore + Clone>(store: &S) {
    let delivery = Delivery::over(store, &Endpoint::new(), webhook("down"));
    delivery.pass().await;
    delivery.endpoint.answer(Some(503));
    let issued = delivery.issue("laptop").await;
    assert_eq!(delivery.pass().await.failed, 1);
    assert_eq!(delivery.pass().await.failed, 0, "it is not repeated at once");
    delivery.wait(Duration::from_secs(7));
    assert_eq!(delivery.pass().await.failed, 1, "the first repetition is after 5 to 6 s");
    // A redirect is no success, and no answer is none either.
    for status in [Some(302), None, Some(500)] {
        delivery.endpoint.answer(status);
        delivery.wait(Duration::from_hours(2));
        assert_eq!(delivery.pass().await.failed, 1, "{status:?}");
    }
    let mut dead = 0;
    for _ in 0..30 {
        delivery.wait(Duration::from_hours(1));
        dead += delivery.pass().await.dead;
    }
    assert_eq!(dead, 1, "after a day it is a dead letter");
    let attempts = delivery.endpoint.count();
    assert!(attempts > 7, "{attempts}");
    let ids = |endpoint: &Endpoint| {
        let state = endpoint.0.lock().unwrap();
        let mut ids: Vec<_> = state.received.iter().map(|(headers, _)| headers["webhook-id"].clone()).collect();
        ids.dedup();
        ids.len()
    };
    assert_eq!(ids(&delivery.endpoint), 1, "each attempt has the same id");
    let letters = delivery.deliverer.dead_letters("down", 10).await.unwrap();
    assert_eq!((letters.len(), letters[0].event.key_id()), (1, issued.record().id()));
    assert_eq!(letters[0].attempts as usize, attempts);

    delivery.endpoint.answer(Some(200));
    assert_eq!(delivery.deliverer.revive("down").await.unwrap(), 1);
    assert_eq!(delivery.pass().await.delivered, 1);
    assert!(delivery.deliverer.dead_letters("down", 10).await.unwrap().is_empty());
}

async fn an_endpoint_that_is_gone_is_disabled<S: KeyRegistry + WebhookStore + Clone>(store: &S) {
    let delivery = Delivery::over(store, &Endpoint::new(), webhook("gone"));
    delivery.pass().await;
    delivery.endpoint.answer(Some(410));
    delivery.issue("laptop").await;
    assert_eq!(delivery.pass().await.dead, 1);
    let node = Delivery::over(store, &delivery.endpoint, webhook("gone"));
    for node in [&node, &delivery] {
        assert!(!node.deliverer.is_enabled("gone").await.unwrap());
        assert_eq!(node.pass().await, DeliveryReport::default());
    }
    delivery.issue("phone").await;
    assert_eq!(delivery.pass().await, DeliveryReport::default(), "nothing is sent to it");
    delivery.endpoint.answer(Some(200));
    delivery.deliverer.revive("gone").await.unwrap();
    assert!(delivery.deliverer.is_enabled("gone").await.unwrap());
    assert_eq!(delivery.pass().await.delivered, 2, "what happened meanwhile arrives too");
}

async fn a_claim_that_is_lost_is_repeated_after_its_lease<S: KeyRegistry + WebhookStore + Clone>(store: &S) {
    let delivery = Delivery::over(store, &Endpoint::new(), webhook("lost"));
    delivery.pass().await;
    delivery.issue("laptop").await;
    let now = delivery.clock.get();
    // A node claims it and is killed.
    assert_eq!(store.queue_webhooks("lost", now, 10).await.map_err(Into::into).unwrap(), 1);
    let minute = Duration::from_mins(1);
    let claimed = store.claim_webhooks("lost", now, minute, 10).await.map_err(Into::into).unwrap();
    assert_eq!((claimed.len(), claimed[0].attempts), (1, 1));
    assert_eq!(delivery.pass().await.delivered, 0, "another node waits for the end of the lease");
    delivery.wait(minute);
    assert_eq!(delivery.pass().await.delivered, 1);
    // The first node was only slow. Its result does not bring the delivery back.
    let late = tower_api_key::webhook::WebhookOutcome::Retry(now);
    store.finish_webhook(&claimed[0], late).await.map_err(Into::into).unwrap();
    assert_eq!(delivery.pass().await, DeliveryReport::default());
}

async fn many_nodes_send_each_event_once<S: KeyRegistry + WebhookStore + Clone>(store: &S) {
    let endpoint = Endpoint::new();
    let nodes: Vec<_> = (0..4).map(|_| Delivery::over(store, &endpoint, webhook("nodes"))).collect();
    nodes[0].pass().await;
    for number in 0..40 {
        nodes[number % 4].issue(&number.to_string()).await;
    }
    let tasks = nodes.iter().map(|node| {
        let deliverer = node.deliverer.clone();
        tokio::spawn(async move {
            for _ in 0..20 {
                deliverer.deliver_due().await.unwrap();
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    assert_eq!(endpoint.kinds(), BTreeMap::from([("api_key.issued".to_owned(), 40)]));
    let state = endpoint.0.lock().unwrap();
    let ids: std::collections::BTreeSet<_> =
        state.received.iter().map(|(headers, _)| headers["webhook-id"].to_str().unwrap().to_owned()).collect();
    assert_eq!(ids.len(), 40);
}

async fn an_endpoint_of_an_organization_receives_no_other_events<S: KeyRegistry + WebhookStore + Clone>(store: &S) {
    let delivery = Delivery::over(store, &Endpoint::new(), webhook("globex").organization("globex"));
    delivery.pass().await;
    delivery.issue("of acme").await;
    let globex = admin().in_organization("globex");
    let issued = delivery.manager.issue(&globex, NewKey::service_account("of globex")).await.unwrap();
    delivery.pass().await;
    let state = delivery.endpoint.0.lock().unwrap();
    let keys: Vec<_> = state.received.iter().map(|(_, body)| body["data"]["key_id"].clone()).collect();
    assert_eq!(keys, [id(&issued)]);
}

async fn a_request_is_what_the_guide_says<S: KeyRegistry + WebhookStore + Clone>(store: &S) {
    let delivery = Delivery::over(store, &Endpoint::new(), webhook("exact"));
    let issued = delivery.issue("laptop").await;
    delivery.pass().await;
    let actor = admin().because("lost").with_request_id("req-1").with_address([192, 0, 2, 7].into());
    delivery.manager.revoke(&actor, id(&issued)).await.unwrap();
    delivery.pass().await;
    let state = delivery.endpoint.0.lock().unwrap();
    let (headers, body) = state.received.last().unwrap();
    let mut names: Vec<_> = headers.keys().map(http::HeaderName::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["content-type", "webhook-id", "webhook-signature", "webhook-timestamp"]);
    assert_eq!(headers["content-type"], "application/json");
    let event = body["data"]["id"].as_str().unwrap();
    assert_eq!(headers["webhook-id"], format!("msg_{event}"));
    let text = r#"POST https://audit.example/events {"type":"api_key.revoked","timestamp":"2027-01-15T08:00:00Z","data":{
        "id":"EVENT","kind":"revoked","at":"2027-01-15T08:00:00Z","key_id":"KEY","version":1,"organization":"acme",
        "environment":null,"author":{"type":"system"},"replacement":null,"reason":"lost","request_id":"req-1",
        "address":"192.0.2.7","leak":null,"before":{"status":"active"},"after":{"status":"revoked"}}}"#;
    let text: String = text.lines().map(str::trim_start).collect();
    assert_eq!(state.last, text.replace("EVENT", event).replace("KEY", id(&issued)));
}

async fn two_secrets_sign_while_a_receiver_changes_its_secret<S: KeyRegistry + WebhookStore + Clone>(store: &S) {
    let new = secret("bmV3IHNlY3JldCBuZXcgc2VjcmV0IG5ldyBzZWNyZXQ=");
    let delivery = Delivery::over(store, &Endpoint::new(), webhook("two").also_sign_with(new.clone()));
    delivery.pass().await;
    delivery.issue("laptop").await;
    assert_eq!(delivery.pass().await.delivered, 1);
    let state = delivery.endpoint.0.lock().unwrap();
    let text = |name: &str| state.received[0].0[name].to_str().unwrap();
    let (message, signatures) = (text("webhook-id"), text("webhook-signature"));
    let (timestamp, body) = (text("webhook-timestamp").parse().unwrap(), state.last.split_once('{').unwrap().1);
    let body = format!("{{{body}");
    assert_eq!(signatures.split(' ').count(), 2);
    for (secret, verifies) in
        [(secret(SECRET), true), (new, true), (secret("b3RoZXIgc2VjcmV0IG90aGVyIHNlY3JldCBvdGhlcg=="), false)]
    {
        assert_eq!(secret.verifies(message, timestamp, body.as_bytes(), signatures), verifies);
        assert!(!secret.verifies(message, timestamp, b"{}", signatures));
    }
}

async fn an_endpoint_can_ask_for_a_pause<S: KeyRegistry + WebhookStore + Clone>(store: &S) {
    let delivery = Delivery::over(store, &Endpoint::new(), webhook("pause"));
    delivery.pass().await;
    delivery.endpoint.answer(Some(429));
    delivery.endpoint.0.lock().unwrap().headers.insert("retry-after", "600".parse().unwrap());
    delivery.issue("laptop").await;
    assert_eq!(delivery.pass().await.failed, 1);
    delivery.wait(Duration::from_secs(599));
    assert_eq!(delivery.pass().await.failed, 0);
    delivery.wait(Duration::from_secs(1));
    assert_eq!(delivery.pass().await.failed, 1);
}

async fn a_dead_letter_is_kept_as_long_as_its_event<S: KeyRegistry + WebhookStore + Clone>(store: &S) {
    let delivery = Delivery::over(store, &Endpoint::new(), webhook("old"));
    delivery.pass().await;
    delivery.endpoint.answer(Some(410));
    delivery.issue("laptop").await;
    assert_eq!(delivery.pass().await.dead, 1);
    assert_eq!(delivery.deliverer.dead_letters("old", 10).await.unwrap().len(), 1);
    let later = t0() + Duration::from_hours(1);
    while store.prune_events(later, 500).await.map_err(Into::into).unwrap() > 0 {}
    assert!(delivery.deliverer.dead_letters("old", 10).await.unwrap().is_empty());
    assert_eq!(delivery.deliverer.revive("old").await.unwrap(), 0);
}
