//! Tests `authenticate`, without a service: the same result as through the layer, without effects
//! on the request.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
};

use crate::support::{Body, LIVE, UNKNOWN, bare, bearer, x_api_key};
use http::Request;
use tower_api_key::{
    ApiKey, ApiKeyLayer, Decision, KeyDigest, KeyHasher, KeyRecord, KeyStore, Outcome, Reason, Rejection, Scheme,
    Status, layer::ApiKeyLayerBuilder, store::MemoryStore,
};

const REVOKED: &str = "acme_revoked_8Q4hV0cLr2sXyT6m";

fn store() -> MemoryStore {
    let keys = MemoryStore::new();
    let record = |id, key| KeyRecord::for_key(id, &ApiKey::new(key).unwrap(), &KeyHasher::sha256());
    keys.add(record("live", LIVE)).unwrap();
    keys.add(record("revoked", REVOKED).with_status(Status::Revoked)).unwrap();
    keys
}

/// The same keys in a store that answers asynchronously.
struct Waits(MemoryStore);

impl KeyStore for Waits {
    type Error = Infallible;

    async fn find(&self, digest: &KeyDigest) -> Result<Option<KeyRecord>, Infallible> {
        tokio::task::yield_now().await;
        self.0.find(digest).await
    }
}

fn layers() -> [ApiKeyLayerBuilder; 2] {
    [ApiKeyLayer::builder(store()), ApiKeyLayer::builder(Waits(store()))]
}

fn requests() -> [(Request<Body>, Result<&'static str, Reason>); 6] {
    let mut twice = bearer(LIVE);
    crate::support::add(&mut twice, "x-api-key", LIVE);
    [
        (bearer(LIVE), Ok("live")),
        (x_api_key(LIVE), Ok("live")),
        (bearer(UNKNOWN), Err(Reason::Unknown)),
        (bearer(REVOKED), Err(Reason::Revoked)),
        (bare(), Err(Reason::Missing)),
        (twice, Err(Reason::Ambiguous)),
    ]
}

#[tokio::test]
async fn it_comes_to_what_the_layer_comes_to() {
    for layer in layers() {
        let layer = layer.build().unwrap();
        for (request, expected) in requests() {
            let answer = layer.authenticate(&request).await;
            let found = answer.as_ref().map(|principal| principal.id().as_str());
            assert_eq!(found.map_err(Rejection::reason), expected);
        }
    }
}

#[tokio::test]
async fn nobody_is_let_through_without_a_key() {
    for layer in layers() {
        let layer = layer.optional().skip(|_| true).pass_preflight().build().unwrap();
        assert_eq!(layer.authenticate(&bare()).await.unwrap_err().reason(), Reason::Missing);
    }
}

#[test]
fn what_cannot_be_told_at_once_is_not_told_without_waiting() {
    let [memory, waits] = layers().map(|layer| layer.build().unwrap());
    for (request, expected) in requests() {
        let answer = memory.try_authenticate(&request).expect("a memory store completes at once");
        assert_eq!(answer.map(|_| ()).map_err(|rejection| rejection.reason()), expected.map(|_| ()));
        let is_told = matches!(expected, Err(Reason::Missing | Reason::Ambiguous));
        assert_eq!(waits.try_authenticate(&request).is_some(), is_told);
    }
}

#[tokio::test(start_paused = true)]
async fn observers_are_told_once_and_how_long_the_store_was_waited_for() {
    for (waits, layer) in [false, true].into_iter().zip(layers()) {
        let told: Arc<Mutex<Vec<Decision>>> = Arc::default();
        let log = Arc::clone(&told);
        let layer = layer.observe(move |decision| log.lock().unwrap().push(decision.clone())).build().unwrap();
        layer.authenticate(&bearer(LIVE)).await.unwrap();
        layer.authenticate(&bearer(UNKNOWN)).await.unwrap_err();
        let told = told.lock().unwrap();
        let outcomes: Vec<Outcome> = told.iter().map(Decision::outcome).collect();
        assert_eq!(outcomes, [Outcome::Accepted, Outcome::Refused(Reason::Unknown)]);
        assert!(told.iter().all(|decision| decision.scheme() == Some(&Scheme::bearer())));
        assert!(told.iter().all(|decision| decision.store_time().is_some() == waits));
    }
}

#[tokio::test]
async fn a_key_under_an_older_pepper_is_known_to_be_outdated() {
    let hasher = KeyHasher::hmac_sha256(&[7; 32]).unwrap().with_previous(KeyHasher::sha256());
    for layer in layers() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&told);
        let layer = layer
            .hasher(hasher.clone())
            .observe(move |decision| log.lock().unwrap().push(decision.used_previous_pepper()));
        layer.build().unwrap().authenticate(&bearer(LIVE)).await.unwrap();
        assert_eq!(*told.lock().unwrap(), [true]);
    }
}

/// The future is `Send` for any request body, so a handler may await it.
#[test]
fn a_body_that_cannot_be_shared_is_no_hindrance() {
    fn is_sent(_: impl Send) {}
    let layer = ApiKeyLayer::builder(store()).build().unwrap();
    is_sent(layer.authenticate(&Request::new(std::cell::Cell::new(0))));
}
