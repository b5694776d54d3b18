//! Measures each stage of a verification, and the layer next to a bare service.
//!
//! ```sh
//! cargo bench --features cache             # all
//! cargo bench --features cache -- stage    # read, hash, find, and all three
//! ```
//!
//! Absolute times hold for one machine; compare the lines with each other. `bare` is the same
//! service without the layer. `hash` is the cost that no verification can avoid.

#![allow(clippy::wildcard_imports, reason = "a group of benches is a module")]

use std::{
    convert::Infallible,
    future::{Ready, ready},
    hint::black_box,
    pin::pin,
    task::{Context, Poll, Waker},
};

use divan::Bencher;
use http::{HeaderValue, Request, Response};
use tower::{Layer, Service, service_fn};
use tower_api_key::{
    ApiKey, ApiKeyLayer, KeyFormat, KeyHasher, KeyRecord, KeyStore, Lookup, Require, layer::ApiKeyLayerBuilder,
    store::MemoryStore,
};

fn main() {
    divan::main();
}

fn key() -> ApiKey {
    KeyFormat::new("hopx_live").unwrap().generate().unwrap()
}

/// Returns a store that has `key` under `hasher`.
fn store(key: &ApiKey, hasher: &KeyHasher) -> MemoryStore {
    let store = MemoryStore::new();
    let record = KeyRecord::for_key("k1", key, hasher).with_organization("acme").grant("links", "read");
    store.add(record).unwrap();
    store
}

fn layer(key: &ApiKey, edit: impl FnOnce(ApiKeyLayerBuilder) -> ApiKeyLayerBuilder) -> ApiKeyLayer {
    edit(ApiKeyLayer::builder(store(key, &KeyHasher::sha256()))).build().unwrap()
}

fn inner() -> impl Service<Request<()>, Response = Response<()>, Error = Infallible, Future: Send> + Clone {
    service_fn(|request: Request<()>| -> Ready<Result<Response<()>, Infallible>> {
        black_box(request);
        ready(Ok(Response::new(())))
    })
}

fn request(header: &'static str, value: &str) -> Request<()> {
    let mut request = Request::new(());
    request.headers_mut().insert(header, HeaderValue::from_str(value).unwrap());
    request
}

/// One call, from request to response. The request is created outside the measurement.
fn call<S, B>(bencher: Bencher<'_, '_>, mut service: S, request: &Request<()>)
where
    S: Service<Request<()>, Response = Response<B>, Error = Infallible>,
{
    bencher.with_inputs(|| request.clone()).bench_local_values(|request| {
        let mut context = Context::from_waker(Waker::noop());
        assert!(service.poll_ready(&mut context).is_ready());
        let Poll::Ready(response) = pin!(service.call(request)).poll(&mut context) else { panic!("not at once") };
        response
    });
}

/// One verification of an existing request.
fn authenticate(bencher: Bencher<'_, '_>, layer: &ApiKeyLayer, request: &Request<()>) {
    bencher.bench_local(|| layer.try_authenticate(black_box(request)).expect("a store in memory does not wait"));
}

mod stage {
    use super::*;

    /// Reads a key and rejects its format before hashing.
    #[divan::bench]
    fn read(bencher: Bencher<'_, '_>) {
        let key = key();
        let layer = layer(&key, |layer| layer.formats([KeyFormat::new("acme_live").unwrap()]));
        authenticate(bencher, &layer, &request("x-api-key", key.expose()));
    }

    #[divan::bench]
    fn read_nothing(bencher: Bencher<'_, '_>) {
        authenticate(bencher, &layer(&key(), |layer| layer), &Request::new(()));
    }

    #[divan::bench]
    fn hash(bencher: Bencher<'_, '_>) {
        let (key, hasher) = (key(), KeyHasher::sha256());
        bencher.bench_local(|| hasher.digest(black_box(&key)));
    }

    #[divan::bench]
    fn hash_with_a_pepper(bencher: Bencher<'_, '_>) {
        let (key, hasher) = (key(), KeyHasher::hmac_sha256(&[7; 32]).unwrap());
        bencher.bench_local(|| hasher.digest(black_box(&key)));
    }

    /// Looks the key up and compares.
    #[divan::bench]
    fn find(bencher: Bencher<'_, '_>) {
        let (key, hasher) = (key(), KeyHasher::sha256());
        let (store, digest) = (store(&key, &hasher), hasher.digest(&key));
        bencher.bench_local(|| match store.try_find(black_box(&digest)) {
            Lookup::Found(record) if *record.digest() == digest => record,
            _ => panic!("not found"),
        });
    }

    /// All stages: read, hash, look up.
    #[divan::bench]
    fn verify(bencher: Bencher<'_, '_>) {
        let key = key();
        authenticate(bencher, &layer(&key, |layer| layer), &request("x-api-key", key.expose()));
    }

    #[divan::bench]
    fn verify_by_bearer(bencher: Bencher<'_, '_>) {
        let key = key();
        let request = request("authorization", &format!("Bearer {}", key.expose()));
        authenticate(bencher, &layer(&key, |layer| layer), &request);
    }
}

mod service {
    use super::*;

    #[divan::bench]
    fn bare(bencher: Bencher<'_, '_>) {
        call(bencher, inner(), &request("x-api-key", key().expose()));
    }

    #[divan::bench]
    fn layer_by_x_api_key(bencher: Bencher<'_, '_>) {
        let key = key();
        let service = layer(&key, |layer| layer).layer(inner());
        call(bencher, service, &request("x-api-key", key.expose()));
    }

    #[cfg(feature = "cache")]
    #[divan::bench]
    fn layer_over_a_cache(bencher: Bencher<'_, '_>) {
        use tower_api_key::store::CachedStore;

        let (key, hasher) = (key(), KeyHasher::sha256());
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build().unwrap();
        let cache = runtime.block_on(async {
            let store = store(&key, &hasher);
            let cache = CachedStore::builder(store.clone(), store.change_feed()).build().unwrap();
            while !cache.status().is_following {
                tokio::task::yield_now().await;
            }
            cache.find(&hasher.digest(&key)).await.unwrap();
            cache
        });
        let service = ApiKeyLayer::builder(cache).build().unwrap().layer(inner());
        call(bencher, service, &request("x-api-key", key.expose()));
    }

    #[divan::bench]
    fn layer_by_bearer(bencher: Bencher<'_, '_>) {
        let key = key();
        let service = layer(&key, |layer| layer).layer(inner());
        call(bencher, service, &request("authorization", &format!("Bearer {}", key.expose())));
    }

    #[divan::bench]
    fn layer_and_guard(bencher: Bencher<'_, '_>) {
        let key = key();
        let service = layer(&key, |layer| layer).layer(Require::permission("links", "read").layer(inner()));
        call(bencher, service, &request("x-api-key", key.expose()));
    }

    #[divan::bench]
    fn layer_with_a_format(bencher: Bencher<'_, '_>) {
        let key = key();
        let layer = layer(&key, |layer| layer.formats([KeyFormat::new("hopx_live").unwrap()]));
        call(bencher, layer.layer(inner()), &request("x-api-key", key.expose()));
    }

    #[divan::bench]
    fn refused_missing(bencher: Bencher<'_, '_>) {
        let service = layer(&key(), |layer| layer).layer(inner());
        call(bencher, service, &Request::new(()));
    }

    #[divan::bench]
    fn refused_unknown(bencher: Bencher<'_, '_>) {
        let service = layer(&key(), |layer| layer).layer(inner());
        call(bencher, service, &request("x-api-key", key().expose()));
    }

    #[divan::bench]
    fn refused_forbidden(bencher: Bencher<'_, '_>) {
        let key = key();
        let service = layer(&key, |layer| layer).layer(Require::permission("links", "write").layer(inner()));
        call(bencher, service, &request("x-api-key", key.expose()));
    }
}
