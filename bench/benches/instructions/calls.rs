//! What is called, under valgrind.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    hint::black_box,
    pin::pin,
    task::{Context, Poll, Waker},
};

use http::{HeaderValue, Request, Response, StatusCode};
use sha2::block_api::compress256;
use tower::{Layer, Service, service_fn};
use tower_api_key::{ApiKey, ApiKeyLayer, KeyFormat, KeyHasher, KeyRecord, Require, store::MemoryStore};

use crate::Result;

/// 35 bytes: a block of SHA-256.
const KEY: &str = "key_51FwqftsmMDHHbJAMEXXHCgGdZ6PzQr";
/// 70 bytes: two blocks.
const LONG: &str = "key_51FwqftsmMDHHbJAMEXXHCgGdZ6PzQrkey_51FwqftsmMDHHbJAMEXXHCgGdZ6PzQr";
const UNKNOWN: &str = "key_51FwqftsmMDHHbJAMEXXHCgGdZ6PzQs";

type Times = u32;

pub fn call(name: &str, times: &str) -> Result<()> {
    let times: Times = times.parse()?;
    let layer = layer(None);
    let read = || Require::permission("links", "read");
    match name {
        "compression" => compress(times),
        "hash" => hash(times),
        "authenticate" => authenticate(&layer, &x_api_key(KEY), times),
        "authenticate by Bearer" => authenticate(&layer, &bearer(KEY), times),
        "authenticate a long key" => authenticate(&layer, &x_api_key(LONG), times),
        "bare" => serve(bare(), &x_api_key(KEY), StatusCode::OK, times),
        "bare, extensions in use" => serve(bare(), &in_use(x_api_key(KEY)), StatusCode::OK, times),
        "bare, without a key" => serve(bare(), &Request::new(()), StatusCode::OK, times),
        "layer" => serve(layer.layer(bare()), &x_api_key(KEY), StatusCode::OK, times),
        "layer, extensions in use" => serve(layer.layer(bare()), &in_use(x_api_key(KEY)), StatusCode::OK, times),
        "layer and guard" => serve(layer.layer(read().layer(bare())), &x_api_key(KEY), StatusCode::OK, times),
        "forbidden" => {
            let guarded = Require::permission("links", "write").layer(bare());
            serve(layer.layer(guarded), &x_api_key(KEY), StatusCode::FORBIDDEN, times);
        }
        "missing" => serve(layer.layer(bare()), &Request::new(()), StatusCode::UNAUTHORIZED, times),
        "unknown" => serve(layer.layer(bare()), &x_api_key(UNKNOWN), StatusCode::UNAUTHORIZED, times),
        "foreign" => {
            let layer = self::layer(Some(KeyFormat::new("acme")?));
            serve(layer.layer(bare()), &x_api_key(KEY), StatusCode::UNAUTHORIZED, times);
        }
        _ => return Err(format!("no call {name}").into()),
    }
    Ok(())
}

fn layer(format: Option<KeyFormat>) -> ApiKeyLayer {
    let (store, hasher) = (MemoryStore::new(), KeyHasher::sha256());
    for (id, key) in [("short", KEY), ("long", LONG)] {
        let record = KeyRecord::for_key(id, &ApiKey::new(key).unwrap(), &hasher);
        store.add(record.with_organization("acme").grant("links", "read")).unwrap();
    }
    ApiKeyLayer::builder(store).formats(format).build().unwrap()
}

fn compress(times: Times) {
    let mut state = [0; 8];
    for _ in 0..times {
        compress256(black_box(&mut state), black_box(&[[7; 64]]));
    }
}

fn hash(times: Times) {
    let (key, hasher) = (ApiKey::new(KEY).unwrap(), KeyHasher::sha256());
    for _ in 0..times {
        black_box(hasher.digest(black_box(&key)));
    }
}

fn authenticate(layer: &ApiKeyLayer, request: &Request<()>, times: Times) {
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..times {
        let future = pin!(layer.authenticate(black_box(request)));
        let Poll::Ready(Ok(principal)) = future.poll(&mut context) else { panic!("not at once") };
        black_box(principal);
    }
}

fn bare() -> impl Service<Request<()>, Response = Response<()>, Error = Infallible, Future: Send> + Clone {
    service_fn(|request: Request<()>| -> Ready<std::result::Result<Response<()>, Infallible>> {
        black_box(request);
        ready(Ok(Response::new(())))
    })
}

/// A copy of the request in, the response dropped.
fn serve<S, B>(mut service: S, request: &Request<()>, expected: StatusCode, times: Times)
where
    S: Service<Request<()>, Response = Response<B>, Error = Infallible>,
{
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..times {
        assert!(service.poll_ready(&mut context).is_ready());
        let future = pin!(service.call(black_box(request.clone())));
        let Poll::Ready(Ok(response)) = future.poll(&mut context) else { panic!("not at once") };
        assert_eq!(black_box(response).status(), expected);
    }
}

fn x_api_key(key: &str) -> Request<()> {
    with("x-api-key", key)
}

fn bearer(key: &str) -> Request<()> {
    with("authorization", &format!("Bearer {key}"))
}

fn with(header: &'static str, value: &str) -> Request<()> {
    let mut request = Request::new(());
    request.headers_mut().insert(header, HeaderValue::from_str(value).unwrap());
    request
}

/// With as many values in the extensions as a server and a router leave there, and room for more.
fn in_use(mut request: Request<()>) -> Request<()> {
    request.extensions_mut().insert(1_u8);
    request.extensions_mut().insert(1_u16);
    request
}
