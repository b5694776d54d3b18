//! A layer over a store, a settable clock, and an inner service that counts: the API that all tests
//! use.

use std::{
    convert::Infallible,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use tower::{Layer, ServiceExt, service_fn, util::BoxCloneSyncService};
use tower_api_key::{
    ApiKeyLayer, Decision, KeyHasher, KeyRecord, KeyRegistry, KeyStore, Outcome, Principal, Reason, Require, Scheme,
    layer::ApiKeyLayerBuilder, store::MemoryStore,
};

use super::clock::TestClock;
use super::fault::{Fault, FaultyStore};
use super::logs;
use super::requests::{LIVE, UNKNOWN};

pub type Body = Full<Bytes>;

pub type App = BoxCloneSyncService<Request<Body>, Response<Full<Bytes>>, Infallible>;

pub struct Api {
    pub store: FaultyStore,
    pub clock: TestClock,
    pub(super) builder: ApiKeyLayerBuilder,
    guards: Vec<Require>,
}

/// A running [`Api`].
#[derive(Clone)]
pub struct TestApi {
    pub app: App,
    pub store: FaultyStore,
    pub clock: TestClock,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    calls: AtomicUsize,
    principals: Mutex<Vec<Principal>>,
    decisions: Mutex<Vec<Decision>>,
    secrets: Mutex<Vec<String>>,
}

/// The result of a call, with the observations.
#[derive(Debug, PartialEq)]
pub struct Observed {
    pub outcome: Outcome,
    pub status: u16,
}

/// A response, with the observations.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub decision: Decision,
    pub principal: Option<Principal>,
}

pub fn accepted() -> Observed {
    Observed { outcome: Outcome::Accepted, status: 200 }
}

pub fn passed(outcome: Outcome) -> Observed {
    Observed { outcome, status: 200 }
}

pub fn refused(reason: Reason, status: u16) -> Observed {
    Observed { outcome: Outcome::Refused(reason), status }
}

// === requests ===

impl Api {
    /// Returns an API without keys.
    pub fn new() -> Self {
        let store = FaultyStore::new();
        let clock = TestClock::new();
        let now = clock.clone();
        let builder = ApiKeyLayer::builder(store.clone()).clock(move || now.get());
        Self { store, clock, builder, guards: Vec::new() }
    }

    /// Returns an API over a custom store.
    pub fn over(store: impl KeyStore) -> Self {
        let api = Self::new();
        let builder = ApiKeyLayer::builder(store);
        Self { builder, ..api }
    }

    /// Returns an API with the key [`LIVE`] under the id `live`.
    pub fn live() -> Self {
        Self::new().key("live", LIVE, |record| record)
    }

    pub fn key(self, id: &str, text: &str, edit: impl FnOnce(KeyRecord) -> KeyRecord) -> Self {
        self.store.add(id, text, &KeyHasher::sha256(), edit);
        self
    }

    pub fn layer(mut self, edit: impl FnOnce(ApiKeyLayerBuilder) -> ApiKeyLayerBuilder) -> Self {
        self.builder = edit(self.builder);
        self
    }

    /// Adds a guard around the current service.
    pub fn guard(mut self, guard: Require) -> Self {
        self.guards.push(guard);
        self
    }

    pub fn fault(self, fault: Fault) -> Self {
        self.store.set(fault);
        self
    }

    pub fn run(self) -> TestApi {
        let inner = BoxCloneSyncService::new(service_fn(async |_| Ok(Response::new(Body::from("inner")))));
        self.run_over(inner)
    }

    pub fn run_over(self, inner: App) -> TestApi {
        let seen = Arc::new(Seen::default());
        let told = Arc::clone(&seen);
        let layer = self.builder.observe(move |decision| told.decisions.lock().unwrap().push(decision.clone()));
        let layer = layer.build().unwrap();
        let counting = Arc::clone(&seen);
        let mut app = boxed(service_fn(move |request: Request<Body>| {
            counting.calls.fetch_add(1, Ordering::Relaxed);
            counting.principals.lock().unwrap().extend(request.extensions().get::<Principal>().cloned());
            inner.clone().oneshot(request)
        }));
        for guard in &self.guards {
            app = boxed(guard.layer(app));
        }
        TestApi { app: boxed(layer.layer(app)), store: self.store, clock: self.clock, seen }
    }

    /// Sends the only request of a test.
    pub async fn call(self, request: Request<Body>) -> Observed {
        self.run().call(request).await
    }
}

impl TestApi {
    pub async fn call(&self, request: Request<Body>) -> Observed {
        let answer = self.answer(request).await;
        Observed { outcome: answer.decision.outcome(), status: answer.status.as_u16() }
    }

    /// Sends a request beside others, and returns its status.
    pub async fn app_call(&self, request: Request<Body>) -> u16 {
        let Ok(response) = self.app.clone().oneshot(request).await;
        response.status().as_u16()
    }

    /// Sends a request and checks the rules of every response.
    #[track_caller]
    pub fn answer(&self, request: Request<Body>) -> impl Future<Output = Answer> {
        let caller = std::panic::Location::caller();
        let app = self.app.clone();
        let seen = Arc::clone(&self.seen);
        async move {
            seen.remember(&request);
            seen.decisions.lock().unwrap().clear();
            seen.principals.lock().unwrap().clear();
            let calls = seen.calls.load(Ordering::Relaxed);
            let is_head = request.method() == Method::HEAD;
            let place = format!("{} {} of {caller}", request.method(), request.uri().path());
            let Ok(response) = app.oneshot(request).await;
            let (parts, body) = response.into_parts();
            let body = body.collect().await.unwrap().to_bytes();

            let decisions = std::mem::take(&mut *seen.decisions.lock().unwrap());
            assert_eq!(decisions.len(), 1, "decisions, at {place}");
            let decision = decisions[0].clone();
            let principal = seen.principals.lock().unwrap().pop();
            seen.assert_no_secret(&format!("{parts:?} {body:?} {decision:?} {principal:?}"), &place);
            logs::assert_clean();
            if let Outcome::Refused(_) = decision.outcome() {
                assert_eq!(seen.calls.load(Ordering::Relaxed), calls, "inner was called, at {place}");
                assert_eq!(parts.headers.get("cache-control").unwrap(), "no-store", "at {place}");
                let challenged = parts.headers.contains_key("www-authenticate");
                assert!(challenged || parts.status != 401, "a 401 without a challenge, at {place}");
                let is_grpc = parts.headers.contains_key("grpc-status");
                assert!(is_grpc != (parts.status != 200), "a rejection that is {}, at {place}", parts.status);
                assert_eq!(body.is_empty(), is_head || is_grpc, "the body of a rejection, at {place}");
            } else {
                assert_eq!(seen.calls.load(Ordering::Relaxed), calls + 1, "calls of inner, at {place}");
            }
            Answer { status: parts.status, headers: parts.headers, body, decision, principal }
        }
    }

    /// Returns how often the inner service was called.
    pub fn calls(&self) -> usize {
        self.seen.calls.load(Ordering::Relaxed)
    }

    /// Returns the schemes of the decisions since the last call began.
    pub fn schemes(&self) -> Vec<Option<Scheme>> {
        self.seen.decisions.lock().unwrap().iter().map(|decision| decision.scheme().cloned()).collect()
    }

    /// Returns the outcomes of the decisions since the last call began.
    pub fn outcomes(&self) -> Vec<Outcome> {
        self.seen.decisions.lock().unwrap().iter().map(Decision::outcome).collect()
    }
}

impl Seen {
    /// Returns all texts in this request that may be keys, to search for them.
    fn remember(&self, request: &Request<Body>) {
        let keys = [logs::keys_in(request), [LIVE, UNKNOWN].map(str::to_owned).into()].concat();
        logs::watch_for(keys.clone());
        self.secrets.lock().unwrap().extend(keys);
    }

    fn assert_no_secret(&self, shown: &str, place: &str) {
        for secret in self.secrets.lock().unwrap().iter() {
            assert!(!shown.contains(secret.as_str()), "key text in {shown}, at {place}");
        }
    }
}

/// Any service as an [`App`], its body collected.
pub fn boxed<S, B>(service: S) -> App
where
    S: tower::Service<Request<Body>, Response = Response<B>, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Future: Send,
    B: http_body::Body<Data = Bytes, Error = Infallible> + Send + 'static,
{
    BoxCloneSyncService::new(service.and_then(async |response: Response<B>| {
        let (parts, body) = response.into_parts();
        let body = body.collect().await?.to_bytes();
        Ok(Response::from_parts(parts, Full::new(body)))
    }))
}
