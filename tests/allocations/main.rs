//! Counts allocations. Verifying a key allocates nothing. An accepted request allocates what
//! `http::Extensions` needs for one insert: three times if they are empty, once if they are in use.
//! A guard adds nothing. The inner response already has a header, as nearly every response has, so
//! its map has space for the cache headers.
#![allow(clippy::incompatible_msrv, reason = "tests run on the current toolchain")]

use std::{
    cell::Cell,
    convert::Infallible,
    future::{Ready, ready},
    pin::pin,
    task::{Context, Poll, Waker},
};

mod bounds;
#[cfg(feature = "limits")]
mod limits;
#[path = "../support/mod.rs"]
mod support;
// Run here, because tokio's paused clock does not support threads that end.
#[cfg(feature = "cache")]
mod threads;

use allocation_counter::measure;
use http::{Request, Response, StatusCode};
use support::{Body, LIVE, bearer, x_api_key};
use tower::{Layer, Service, service_fn};
use tower_api_key::{ApiKey, ApiKeyLayer, KeyFormat, KeyHasher, KeyRecord, Principal, Require, store::MemoryStore};

thread_local! {
    /// The next response of the inner service, created outside the measurement.
    static RESPONSE: Cell<Option<Response<()>>> = const { Cell::new(None) };
}

fn inner() -> impl Service<Request<Body>, Response = Response<()>, Error = Infallible, Future: Send> + Clone {
    service_fn(|request: Request<Body>| -> Ready<Result<Response<()>, Infallible>> {
        assert!(request.extensions().get::<Principal>().is_some());
        ready(Ok(RESPONSE.take().unwrap()))
    })
}

/// Returns the allocations of one accepted call.
fn allocations<S, B>(service: &mut S, request: Request<Body>) -> u64
where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible>,
{
    let (status, count) = answer(service, request);
    assert!(status.is_success());
    count
}

/// Returns the status of one call, and its allocations. The request is created and the response
/// dropped outside the measurement.
fn answer<S, B>(service: &mut S, request: Request<Body>) -> (StatusCode, u64)
where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible>,
{
    let (mut request, mut response) = (Some(request), None);
    RESPONSE.set(Some(Response::builder().header("content-type", "text/plain").body(()).unwrap()));
    let counted = measure(|| {
        let mut context = Context::from_waker(Waker::noop());
        assert!(service.poll_ready(&mut context).is_ready());
        let mut future = pin!(service.call(request.take().unwrap()));
        let Poll::Ready(Ok(answer)) = future.as_mut().poll(&mut context) else { panic!("not at once") };
        response = Some(answer);
    });
    (response.unwrap().status(), counted.count_total)
}

/// As many headers as fill a header map, so that one more makes it grow.
fn crowded(mut request: Request<Body>, headers: usize) -> Request<Body> {
    for number in request.headers().len()..headers {
        support::add(&mut request, &format!("x-{number}"), "x");
    }
    request
}

/// Returns the allocations of the extensions map for one value of a principal's size.
fn one_insert(mut extensions: http::Extensions) -> u64 {
    measure(|| {
        extensions.insert([0_usize; size_of::<Principal>() / size_of::<usize>()]);
    })
    .count_total
}

fn in_use(mut request: Request<Body>) -> Request<Body> {
    for value in [1_u8, 2] {
        request.extensions_mut().insert(value);
        request.extensions_mut().insert(u32::from(value));
    }
    request
}

/// Warms up state that is created once per thread, and once per key that a thread finds twice.
fn warm_up(mut once: impl FnMut() -> u64) {
    for _ in 0..3 {
        once();
    }
}

/// Returns a layer with one key that may read links.
fn layer(key: &ApiKey) -> ApiKeyLayer {
    let keys = MemoryStore::new();
    let record = KeyRecord::for_key("live", key, &KeyHasher::sha256());
    keys.add(record.grant("links", "read").grant("file:7", "read").with_organization("acme")).unwrap();
    ApiKeyLayer::builder(keys).build().unwrap()
}

/// Returns the allocations of one verification, without dropping the principal.
fn allocations_of_verifying(layer: &ApiKeyLayer, request: &Request<Body>) -> u64 {
    let mut principal = None;
    let counted = measure(|| {
        let mut future = pin!(layer.authenticate(request));
        let Poll::Ready(answer) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) else {
            panic!("not at once")
        };
        principal = Some(answer);
    });
    assert_eq!(principal.unwrap().unwrap().id().as_str(), "live");
    counted.count_total
}

#[test]
fn verifying_a_key_allocates_nothing() {
    // Keys of one SHA-256 block, and of two.
    for key in [LIVE.to_owned(), LIVE.repeat(2)] {
        let layer = layer(&ApiKey::new(&key).unwrap());
        warm_up(|| allocations_of_verifying(&layer, &bearer(&key)));
        for request in [bearer(&key), x_api_key(&key), in_use(bearer(&key)), crowded(bearer(&key), 48)] {
            assert_eq!(allocations_of_verifying(&layer, &request), 0);
        }
    }
}

#[test]
fn the_layer_allocates_three_times_on_empty_extensions_and_once_on_those_in_use() {
    let mut service = layer(&ApiKey::new(LIVE).unwrap()).layer(inner());
    warm_up(|| allocations(&mut service, bearer(LIVE)));
    for request in [bearer, x_api_key] {
        assert_eq!(allocations(&mut service, request(LIVE)), 3);
        assert_eq!(allocations(&mut service, in_use(request(LIVE))), 1);
    }
}

#[test]
fn a_guard_allocates_nothing() {
    let layer = layer(&ApiKey::new(LIVE).unwrap());
    let mut alone = layer.layer(inner());
    let mut guarded = layer.layer(Require::permission("links", "read").layer(inner()));
    warm_up(|| allocations(&mut alone, bearer(LIVE)));
    assert_eq!(allocations(&mut guarded, bearer(LIVE)), allocations(&mut alone, bearer(LIVE)));
}

#[test]
fn a_table_allocates_nothing_for_a_plain_path() {
    let layer = layer(&ApiKey::new(LIVE).unwrap());
    let mut alone = layer.layer(inner());
    // With a wildcard row, matchit itself allocates in order to backtrack.
    let table = Require::table().any("/links/{id}", ("links", "read")).any("/stats", ("links", "write"));
    let table = table.any("/files/{id}", ("file:{id}", "read"));
    let mut guarded = layer.layer(table.build().unwrap().layer(inner()));
    warm_up(|| allocations(&mut alone, bearer(LIVE)));
    for path in ["/links/7", "/links/a.b~c:d@e", "/links/.well-known?a=%2F", "/files/7"] {
        let request = || support::path(bearer(LIVE), path);
        assert_eq!(allocations(&mut guarded, request()), allocations(&mut alone, request()), "{path}");
    }
}

#[test]
fn an_accepted_request_allocates_one_insert_into_extensions() {
    let hasher = KeyHasher::sha256();
    for format in [None, Some(KeyFormat::new("acme").unwrap())] {
        let key = format.as_ref().map_or(ApiKey::new(LIVE).unwrap(), |format| format.generate().unwrap());
        let keys = MemoryStore::new();
        let record = KeyRecord::for_key("live", &key, &hasher).grant("links", "read").with_organization("acme");
        keys.add(record).unwrap();
        let layer = ApiKeyLayer::builder(keys).formats(format).build().unwrap();
        let mut service = layer.layer(Require::permission("links", "read").layer(inner()));
        warm_up(|| allocations(&mut service, bearer(key.expose())));
        for request in [bearer, x_api_key] {
            let fresh = request(key.expose());
            assert_eq!(allocations(&mut service, fresh), one_insert(http::Extensions::new()));
            for headers in [6, 12, 24, 48] {
                let crowded = crowded(request(key.expose()), headers);
                assert_eq!(
                    allocations(&mut service, crowded),
                    one_insert(http::Extensions::new()),
                    "{headers} headers"
                );
            }
            let used = in_use(request(key.expose()));
            let extensions = in_use(support::bare()).extensions().clone();
            assert_eq!((allocations(&mut service, used), one_insert(extensions)), (1, 1));
        }
    }
}

#[test]
fn checks_of_the_application_that_do_not_wait_allocate_nothing() {
    let key = ApiKey::new(LIVE).unwrap();
    let keys = MemoryStore::new();
    keys.add(KeyRecord::for_key("live", &key, &KeyHasher::sha256()).grant("links", "read")).unwrap();
    let layer = ApiKeyLayer::builder(keys).after_verify(|_, _| Ok(())).build().unwrap();
    let guard = Require::check(|_, _| Ok(())).and_then(|_, _| Ok(()));
    let mut service = layer.layer(guard.layer(inner()));
    warm_up(|| allocations(&mut service, bearer(LIVE)));
    assert_eq!(allocations(&mut service, bearer(LIVE)), one_insert(http::Extensions::new()));
}

#[cfg(feature = "cache")]
#[test]
fn a_hit_in_a_cache_allocates_no_more_than_that() {
    use tower_api_key::{KeyStore, store::CachedStore};

    let keys = MemoryStore::new();
    let record = KeyRecord::for_key("live", &ApiKey::new(LIVE).unwrap(), &KeyHasher::sha256());
    keys.add(record.clone()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let cache = runtime.block_on(async {
        let cache = CachedStore::builder(keys.clone(), keys.change_feed()).build().unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        cache.find(record.digest()).await.unwrap();
        cache
    });
    let mut service = ApiKeyLayer::builder(cache.clone()).build().unwrap().layer(inner());
    // A thread caches a record that it finds twice in a row.
    allocations(&mut service, bearer(LIVE));
    allocations(&mut service, bearer(LIVE));
    assert_eq!(allocations(&mut service, bearer(LIVE)), one_insert(http::Extensions::new()));
    assert_eq!(cache.status().lookups, 1);
}
