//! Tests the contract between a tower middleware and the services around it.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use crate::support::{Api, App, Body, Fault, LIVE, UNKNOWN, accepted, bare, bearer, boxed, refused, x_api_key};
use bytes::{Buf, Bytes};
use http::{Request, Response, StatusCode};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt;
use tower::{Layer, Service, ServiceExt, limit::ConcurrencyLimit, service_fn};
use tower_api_key::{
    ApiKey, ApiKeyLayer, KeyDigest, KeyRecord, KeyStore, Outcome, Principal, Reason, Rejection, Require, Scheme,
    guard::{GuardFuture, GuardedService},
    layer::{ApiKeyService, ResponseBody, ResponseFuture},
    store::{MemoryStore, StaticKeys},
};

fn layer() -> ApiKeyLayer {
    let keys = StaticKeys::new([("live", ApiKey::new(LIVE).unwrap())]).unwrap();
    ApiKeyLayer::builder(keys).build().unwrap()
}

#[test]
fn everything_may_cross_threads() {
    fn clone_send_sync<T: Clone + Send + Sync + 'static>() {}
    fn send<T: Send + 'static>() {}
    clone_send_sync::<ApiKeyLayer>();
    clone_send_sync::<ApiKeyService<App>>();
    clone_send_sync::<GuardedService<App>>();
    clone_send_sync::<Require>();
    clone_send_sync::<Principal>();
    clone_send_sync::<Rejection>();
    clone_send_sync::<MemoryStore>();
    send::<ResponseFuture<App, Body>>();
    send::<GuardFuture<App, Body>>();
}

/// A service that must be polled ready before each call and counts its permits.
#[derive(Default)]
struct Strict {
    ready: bool,
    clones: Arc<AtomicUsize>,
}

impl Clone for Strict {
    fn clone(&self) -> Self {
        self.clones.fetch_add(1, Ordering::Relaxed);
        Self { ready: false, clones: Arc::clone(&self.clones) }
    }
}

impl Service<Request<Body>> for Strict {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        assert!(std::mem::take(&mut self.ready), "called without being polled ready");
        std::future::ready(Ok(Response::default()))
    }
}

#[tokio::test]
async fn the_service_that_was_polled_ready_is_the_one_that_is_called() {
    let guard = Require::predicate(|_, _| true);
    let api = Api::live();
    let store = api.store.clone();
    let mut service = ApiKeyLayer::builder(api.store).build().unwrap().layer(guard.layer(Strict::default()));
    for fault in [Fault::None, Fault::Waits] {
        store.set(fault);
        for (request, status) in [(bearer(LIVE), 200), (bearer(UNKNOWN), 401), (bearer(LIVE), 200)] {
            let response = service.ready().await.unwrap().call(request).await.unwrap();
            assert_eq!(response.status(), status);
        }
    }
}

#[tokio::test]
async fn a_request_whose_key_is_found_at_once_clones_no_service() {
    let clones = Arc::new(AtomicUsize::new(0));
    let mut service = layer().layer(Strict { ready: false, clones: Arc::clone(&clones) });
    service.ready().await.unwrap().call(bearer(LIVE)).await.unwrap();
    assert_eq!(clones.load(Ordering::Relaxed), 0);
}

/// One permit: rejected, dropped and failed requests must release it.
#[tokio::test(start_paused = true)]
async fn a_concurrency_limit_below_loses_no_permit() {
    let inner = service_fn(async |_: Request<Body>| Ok::<_, Infallible>(Response::new(Body::default())));
    let guarded =
        Require::predicate(|_, parts| parts.uri.path() != "/forbidden").layer(ConcurrencyLimit::new(inner, 1));
    let api = Api::live();
    let store = api.store.clone();
    let mut service = ApiKeyLayer::builder(api.store).build().unwrap().layer(guarded);
    let limit = Duration::from_millis(1);
    for fault in [Fault::None, Fault::Waits, Fault::Fails, Fault::Panics, Fault::PanicsAtOnce, Fault::Hangs] {
        store.set(fault);
        for request in [bearer(LIVE), bearer(UNKNOWN), bare(), crate::support::path(bearer(LIVE), "/forbidden")] {
            let ready = tokio::time::timeout(limit, service.ready()).await;
            let response = ready.expect("the permit was not released").unwrap().call(request);
            if fault == Fault::Hangs {
                // The client disconnects during a lookup.
                let _ = tokio::time::timeout(limit, response).await;
            } else {
                response.await.unwrap();
            }
        }
    }
    // A future that is never polled holds the permit only until it is dropped.
    store.set(Fault::Hangs);
    drop(service.ready().await.unwrap().call(bearer(LIVE)));
    tokio::time::timeout(limit, service.ready()).await.expect("the permit was not released").unwrap();
}

/// A service keeps no permit for a rejected request.
#[tokio::test(start_paused = true)]
async fn a_refused_request_leaves_its_permit_to_others() {
    let inner = service_fn(async |_: Request<Body>| Ok::<_, Infallible>(Response::new(Body::default())));
    let guarded =
        Require::predicate(|_, parts| parts.uri.path() != "/forbidden").layer(ConcurrencyLimit::new(inner, 1));
    let mut service = ApiKeyLayer::builder(Api::live().store).build().unwrap().layer(guarded);
    let mut other = service.clone();
    for (request, status) in [(bearer(UNKNOWN), 401), (crate::support::path(bearer(LIVE), "/forbidden"), 403)] {
        let response = service.ready().await.unwrap().call(request).await.unwrap();
        assert_eq!(response.status(), status);
        let ready = tokio::time::timeout(Duration::from_millis(1), other.ready()).await;
        let response = ready.expect("the permit was not released").unwrap().call(bearer(LIVE)).await.unwrap();
        assert_eq!(response.status(), 200);
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_errs_or_panics_lets_nobody_in() {
    for optional in [false, true] {
        let api = Api::live()
            .layer(|layer| if optional { layer.optional() } else { layer })
            .layer(|layer| layer.deadline(Duration::from_secs(2)))
            .run();
        for (fault, reason) in [
            (Fault::Hangs, Reason::StoreTimeout),
            (Fault::Fails, Reason::StoreFailed),
            (Fault::Panics, Reason::StoreFailed),
            (Fault::PanicsAtOnce, Reason::StoreFailed),
        ] {
            api.store.set(fault);
            for key in [LIVE, UNKNOWN] {
                assert_eq!(api.call(bearer(key)).await, refused(reason, 503), "{fault:?}");
            }
        }
        assert_eq!(api.calls(), 0);
        api.store.set(Fault::Waits);
        assert_eq!(api.call(bearer(LIVE)).await, accepted(), "the store has come back");
    }
}

/// A store that panics before it returns its future.
struct Eager;

impl KeyStore for Eager {
    type Error = Infallible;

    fn find(&self, _: &KeyDigest) -> impl Future<Output = Result<Option<KeyRecord>, Infallible>> + Send {
        assert!(UNKNOWN.is_empty(), "the store panics before its future, intentionally");
        std::future::ready(Ok(None))
    }
}

#[tokio::test]
async fn a_store_that_panics_before_it_waits_lets_nobody_in() {
    let service = ApiKeyLayer::builder(Eager).build().unwrap().layer(Strict::default());
    assert_eq!(service.oneshot(bearer(LIVE)).await.unwrap().status(), StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test(start_paused = true)]
async fn the_deadline_is_five_seconds_by_default() {
    let api = Api::live().fault(Fault::Hangs).run();
    let call = api.call(bearer(LIVE));
    tokio::pin!(call);
    tokio::time::timeout(Duration::from_millis(4_999), &mut call).await.expect_err("too early");
    let answer = tokio::time::timeout(Duration::from_millis(2), call).await.expect("too late");
    assert_eq!(answer, refused(Reason::StoreTimeout, 503));
}

#[tokio::test]
async fn an_error_of_the_inner_service_passes_through() {
    let inner = service_fn(async |_: Request<Body>| Err::<Response<Body>, _>("broken"));
    assert_eq!(layer().layer(inner).oneshot(bearer(LIVE)).await.unwrap_err(), "broken");
}

#[tokio::test]
async fn a_refusal_of_the_inner_services_own_is_left_alone() {
    let inner = service_fn(async |_: Request<Body>| {
        let builder = Response::builder().status(401).header("www-authenticate", "Basic realm=\"inner\"");
        Ok::<_, Infallible>(builder.body(Body::from("inner")).unwrap())
    });
    let response = layer().layer(inner).oneshot(bearer(LIVE)).await.unwrap();
    assert_eq!(response.headers().get_all("www-authenticate").iter().count(), 1);
    assert!(!response.headers().contains_key("cache-control"));
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "inner");
}

/// A body of three frames, the last of them trailers. Its data is not `Bytes`.
struct Stream(u8);

struct Chunk(Bytes);

impl From<Bytes> for Chunk {
    fn from(bytes: Bytes) -> Self {
        Self(bytes)
    }
}

impl Buf for Chunk {
    fn remaining(&self) -> usize {
        self.0.remaining()
    }
    fn chunk(&self) -> &[u8] {
        self.0.chunk()
    }
    fn advance(&mut self, count: usize) {
        self.0.advance(count);
    }
}

impl http_body::Body for Stream {
    type Data = Chunk;
    type Error = &'static str;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Chunk>, &'static str>>> {
        self.0 += 1;
        Poll::Ready(match self.0 {
            1 => Some(Ok(Frame::data(Chunk(Bytes::from_static(b"one"))))),
            2 => Some(Ok(Frame::trailers(http::HeaderMap::new()))),
            3 => Some(Err("cut off")),
            _ => None,
        })
    }
    fn is_end_stream(&self) -> bool {
        self.0 >= 3
    }
    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(7)
    }
}

#[tokio::test]
async fn a_response_body_streams_through_untouched() {
    let inner = service_fn(async |_: Request<Body>| Ok::<_, Infallible>(Response::new(Stream(0))));
    let service = layer().layer(Require::predicate(|_, _| true).layer(inner));
    let mut body = service.clone().oneshot(bearer(LIVE)).await.unwrap().into_body();
    assert_eq!((body.size_hint().exact(), body.is_end_stream()), (Some(7), false));
    let data = body.frame().await.unwrap().unwrap().into_data();
    assert_eq!(data.unwrap_or_else(|_| panic!("no data")).0, "one");
    assert!(body.frame().await.unwrap().unwrap().is_trailers());
    assert_eq!(body.frame().await.unwrap().map(drop).unwrap_err(), "cut off");
    assert!(body.is_end_stream());

    let mut body = service.oneshot(bare()).await.unwrap().into_body();
    let length = body.size_hint().exact().unwrap();
    let frame = body.frame().await.unwrap().unwrap().into_data();
    assert_eq!(frame.unwrap_or_else(|_| panic!("no data")).remaining() as u64, length);
    assert!(body.is_end_stream() && body.frame().await.is_none());
}

/// A service that is generic over request and response bodies.
#[tokio::test]
async fn any_body_type_fits() {
    #[derive(Debug)]
    struct NoBody;
    let inner = service_fn(async |_: Request<NoBody>| Ok::<_, Infallible>(Response::new(NoBody)));
    let request = Request::get("/").header("x-api-key", LIVE).body(NoBody).unwrap();
    let response: Response<ResponseBody<NoBody>> = layer().layer(inner).oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
}

/// A layer with one key, around a service that returns the caller's identity.
fn nested(id: &'static str, key: &str, scheme: Scheme, inner: App) -> App {
    let keys = StaticKeys::new([(id, ApiKey::new(key).unwrap())]).unwrap();
    boxed(ApiKeyLayer::builder(keys).schemes([scheme]).optional().realm(id).build().unwrap().layer(inner))
}

#[tokio::test]
async fn a_nested_layer_that_accepts_a_key_replaces_the_outer_principal() {
    let says_who = boxed(service_fn(async |request: Request<Body>| {
        let who = request.extensions().get::<Principal>().map(|key| key.id().to_string());
        Ok::<_, Infallible>(Response::new(Body::from(who.unwrap_or("nobody".into()))))
    }));
    let app = nested("outer", LIVE, Scheme::bearer(), nested("inner", UNKNOWN, Scheme::x_api_key(), says_who));
    let who = async |request| {
        let response = app.clone().oneshot(request).await.unwrap();
        response.into_body().collect().await.unwrap().to_bytes()
    };
    let mut both = bearer(LIVE);
    crate::support::add(&mut both, "x-api-key", UNKNOWN);
    assert_eq!(who(both).await, "inner");
    assert_eq!(who(x_api_key(UNKNOWN)).await, "inner");
    assert_eq!(who(bearer(LIVE)).await, "outer", "the inner layer found no key");
}

#[tokio::test]
async fn a_nested_layer_renders_its_own_refusals() {
    let guarded = boxed(
        Require::permission("x", "y")
            .layer(service_fn(async |_: Request<Body>| Ok::<_, Infallible>(Response::new(Body::default())))),
    );
    let app = nested("outer", LIVE, Scheme::bearer(), nested("inner", UNKNOWN, Scheme::x_api_key(), guarded));
    let response = app.oneshot(bare()).await.unwrap();
    let challenges: Vec<_> = response.headers().get_all("www-authenticate").iter().collect();
    assert_eq!(challenges, ["ApiKey realm=\"inner\", in=\"header\", name=\"X-API-Key\""]);
    assert!(response.extensions().get::<Rejection>().is_none());
}

#[tokio::test]
async fn credentials_are_marked_as_sensitive_and_can_be_hidden() {
    let policy = [Scheme::bearer(), Scheme::x_api_key(), Scheme::query("key")];
    let inner = || {
        boxed(service_fn(async |request: Request<Body>| {
            let shown = format!("{} {:?}", request.uri(), request.headers());
            Ok::<_, Infallible>(Response::new(Body::from(shown)))
        }))
    };
    let shown = async |hide: bool, request| {
        let api = Api::live().layer(|layer| {
            let layer = layer.schemes(policy.clone());
            if hide { layer.hide_credentials() } else { layer }
        });
        let body = api.run_over(inner()).app.oneshot(request).await.unwrap().into_body();
        String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap()
    };
    let basic = || {
        let mut request = x_api_key(LIVE);
        crate::support::add(&mut request, "authorization", "Basic eDp5");
        request
    };
    assert_eq!(shown(false, bearer(LIVE)).await, r#"/ {"authorization": Sensitive}"#);
    assert_eq!(shown(true, bearer(LIVE)).await, "/ {}");
    assert_eq!(shown(true, basic()).await, r#"/ {"authorization": Sensitive}"#, "Basic belongs to another layer");
    let target = format!("/a?x=1&k%65y={LIVE}&y=%20");
    assert_eq!(shown(true, crate::support::path(bare(), &target)).await, "/a?x=1&y=%20 {}");
    let target = format!("/a?key={LIVE}");
    assert_eq!(shown(true, crate::support::path(bare(), &target)).await, "/a {}");
}

#[tokio::test]
async fn a_skipped_request_is_marked_too_in_every_line_and_not_hidden() {
    let inner = boxed(service_fn(async |request: Request<Body>| {
        let keys = request.headers().get_all("x-api-key").iter();
        assert_eq!(keys.map(http::HeaderValue::is_sensitive).collect::<Vec<_>>(), [true, true]);
        Ok::<_, Infallible>(Response::new(Body::default()))
    }));
    let mut request = x_api_key(LIVE);
    crate::support::add(&mut request, "x-api-key", UNKNOWN);
    let api = Api::live().layer(|layer| layer.skip(|_| true).hide_credentials()).run_over(inner);
    assert_eq!(api.call(request).await, crate::support::passed(Outcome::Skipped));
}

#[tokio::test]
async fn every_credential_is_hidden_wherever_it_stood() {
    let policy = tower_api_key::SchemePolicy::new([Scheme::x_api_key(), Scheme::bearer(), Scheme::query("key")])
        .on_conflict(tower_api_key::ConflictPolicy::FirstWins);
    let inner = boxed(service_fn(async |request: Request<Body>| {
        assert_eq!((request.uri().to_string(), request.headers().len()), ("/".to_owned(), 0));
        Ok::<_, Infallible>(Response::new(Body::default()))
    }));
    let mut request = crate::support::path(bearer(UNKNOWN), &format!("/?key={UNKNOWN}"));
    crate::support::add(&mut request, "x-api-key", LIVE);
    let api = Api::live().layer(|layer| layer.schemes(policy).hide_credentials()).run_over(inner);
    assert_eq!(api.call(request).await, accepted());
}

#[tokio::test]
async fn a_skipped_path_is_compared_whole_and_asks_no_store() {
    let api = Api::live().layer(|layer| layer.skip(|path| path == "/health")).fault(Fault::Fails).run();
    let skipped = crate::support::path(bearer(UNKNOWN), "/health?deep=1");
    assert_eq!(api.call(skipped).await, crate::support::passed(Outcome::Skipped));
    let sneaky = crate::support::path(bare(), "/health/../admin");
    assert_eq!(api.call(sneaky).await, refused(Reason::Missing, 401));
}
