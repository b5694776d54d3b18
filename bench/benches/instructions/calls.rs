//! What is called, under valgrind: a layer with the default schemes and two formats, by a key of the first.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    hint::black_box,
    pin::pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use http::{
    HeaderValue, Request, Response, StatusCode,
    header::{ACCEPT, AUTHORIZATION, HOST},
};
use sha2::block_api::compress256;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_api_key::{
    ApiKey, ApiKeyLayer, ClientAddress, Decision, KeyFormat, KeyHasher, KeyRecord, Owner, Permissions, Require,
    address::{Network, PeerAddress},
    layer::ApiKeyLayerBuilder,
    limit::{Limit, Limits, Plans, Quota, Rate, Subject},
    rights::{LiveRights, OwnerRights, Rights},
    store::MemoryStore,
    token::{NewToken, TokenSecret, Tokens},
};

use crate::Result;

/// 52 bytes, one block of SHA-256. The keys are always the same, so that the counts are.
const KEY: &str = "hopx_live_Dg4hNzZlbmdAQmm5aAVhgPRCKZqgcleHl1FT1ZtyRL";
const UNKNOWN: &str = "hopx_live_leo6xVvGfdewXoVqDoTPMNJ6FaJ8i3NcgqdH3AaeYJ";
/// 71 bytes, two blocks.
const LONG: &str = "a_prefix_of_twenty_eight_byt_VchKmHLkQjfZBK8sku9Y8TCzaLlIocCfkYii1FcPeW";
const FOREIGN: &str = "acme_live_FQYyDyW6NATDTovQKiefYEVHYxNOsMjWMMld0RCp6R";

type Times = u32;

pub fn call(name: &str, times: &str) -> Result<()> {
    let times: Times = times.parse()?;
    let [key, unknown, long_key, foreign_key] = [KEY, UNKNOWN, LONG, FOREIGN].map(|key| ApiKey::new(key).unwrap());
    let layer = layer([&key, &long_key]);
    let may = |action| Require::permission("links", action);
    let (bearer, keyless) = (bearer(&key), request());
    match name {
        "compression" => compress(times),
        "hash" => hash(&key, times),
        "authenticate" => authenticate(&layer, &bearer, times),
        "authenticate by X-API-Key" => authenticate(&layer, &x_api_key(&key), times),
        "authenticate a long key" => authenticate(&layer, &self::bearer(&long_key), times),
        "bare" => serve(bare(), &bearer, StatusCode::OK, times),
        "bare, extensions in use" => serve(bare(), &in_use(bearer), StatusCode::OK, times),
        "bare, without a key" => serve(bare(), &keyless, StatusCode::OK, times),
        "layer" => serve(layer.layer(bare()), &bearer, StatusCode::OK, times),
        "layer, extensions in use" => serve(layer.layer(bare()), &in_use(bearer), StatusCode::OK, times),
        "layer, limits for others" => serve(limited_others(&key).layer(bare()), &bearer, StatusCode::OK, times),
        "layer, an observer" => serve(observed(&key).layer(bare()), &bearer, StatusCode::OK, times),
        "layer, one rate" => serve(limited(&key, ONE_RATE).layer(bare()), &bearer, StatusCode::OK, times),
        "layer, four limits" => serve(limited(&key, FOUR_LIMITS).layer(bare()), &bearer, StatusCode::OK, times),
        "layer, a peer, no addresses" => serve(layer.layer(bare()), &from_a_peer(bearer), StatusCode::OK, times),
        "layer, rights of others" => {
            serve(of_a_source(builder([&key])).layer(bare()), &bearer, StatusCode::OK, times);
        }
        "layer, a peer" => serve(in_networks(&key, None).layer(bare()), &from_a_peer(bearer), StatusCode::OK, times),
        "layer, 16 networks" => {
            serve(in_networks(&key, Some(16)).layer(bare()), &from_a_peer(bearer), StatusCode::OK, times);
        }
        "layer, an owner" => serve(owned(&key).build()?.layer(bare()), &bearer, StatusCode::OK, times),
        "layer, cached rights" => serve(with_rights(&key, &bearer)?.layer(bare()), &bearer, StatusCode::OK, times),
        "layer, a token" => {
            let (layer, bearer) = with_token(&key)?;
            serve(layer.layer(bare()), &bearer, StatusCode::OK, times);
        }
        "layer and guard" => serve(layer.layer(may("read").layer(bare())), &bearer, StatusCode::OK, times),
        "forbidden" => serve(layer.layer(may("write").layer(bare())), &bearer, StatusCode::FORBIDDEN, times),
        "missing" => serve(layer.layer(bare()), &keyless, StatusCode::UNAUTHORIZED, times),
        "unknown" => serve(layer.layer(bare()), &self::bearer(&unknown), StatusCode::UNAUTHORIZED, times),
        "foreign" => serve(layer.layer(bare()), &self::bearer(&foreign_key), StatusCode::UNAUTHORIZED, times),
        _ => return Err(format!("no call {name}").into()),
    }
    Ok(())
}

const ONE_RATE: usize = 1;
const FOUR_LIMITS: usize = 4;

/// The layer with limits, none of which is the key's.
fn limited_others(key: &ApiKey) -> ApiKeyLayer {
    let plans = Plans::new().plan("plan", [Limit::rate("rate", Rate::per_second(1))]);
    builder([key]).limits(Limits::in_process(plans).build().unwrap()).build().unwrap()
}

/// The layer that tells each decision to a function that does nothing.
fn observed(key: &ApiKey) -> ApiKeyLayer {
    let observe = |decision: &Decision| _ = black_box(decision);
    builder([key]).observe(observe).build().unwrap()
}

/// The layer with so many limits, none of which is ever full.
fn limited(key: &ApiKey, limits: usize) -> ApiKeyLayer {
    let rate = Rate::per_second(1_000_000_000);
    let all = [
        Limit::rate("rate", rate),
        Limit::rate("organization", rate).shared_by(Subject::Organization),
        Limit::quota("daily", Quota::per_day(1_000_000_000)),
        Limit::quota("monthly", Quota::per_month(1_000_000_000)),
    ];
    let plans = Plans::new().plan("plan", all.into_iter().take(limits)).default_plan("plan");
    builder([key]).limits(Limits::in_process(plans).build().unwrap()).build().unwrap()
}

/// The layer for a key with so many allowed networks, or with no list.
fn in_networks(key: &ApiKey, networks: Option<u8>) -> ApiKeyLayer {
    let list = networks.map(|count| Network::list((0..count).map(|number| format!("192.0.{number}.0/24"))).unwrap());
    let edit = |record: KeyRecord| match &list {
        Some(list) => record.with_allowed_addresses(list.clone()),
        None => record,
    };
    builder_of([key], edit).client_address(ClientAddress::peer()).build().unwrap()
}

/// A request from the last of 16 networks.
fn from_a_peer(mut request: Request<()>) -> Request<()> {
    request.extensions_mut().insert(PeerAddress([192, 0, 15, 7].into()));
    request
}

fn owned(key: &ApiKey) -> ApiKeyLayerBuilder {
    builder_of([key], |record| record.grant("links", "write").with_owner(Owner::User("alice".to_owned())))
}

/// The layer with a source of rights, by which an owner may read.
fn of_a_source(layer: ApiKeyLayerBuilder) -> ApiKeyLayer {
    struct Reader;
    impl OwnerRights for Reader {
        type Error = Infallible;

        async fn rights(&self, _: &Owner, _: Option<&str>) -> std::result::Result<Rights, Infallible> {
            Ok(Rights::Only(Permissions::new().grant("links", "read")))
        }
    }
    layer.owner_rights(LiveRights::cached(Reader).lease(Duration::from_hours(1))).build().unwrap()
}

/// The layer over an owner who may do less than the key. The answer of the source is there.
fn with_rights(key: &ApiKey, request: &Request<()>) -> Result<ApiKeyLayer> {
    let layer = of_a_source(owned(key));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let Ok(response) = runtime.block_on(layer.layer(bare()).oneshot(request.clone()));
    assert_eq!(response.status(), StatusCode::OK);
    Ok(layer)
}

/// The layer, and a request with a token that has one permission of the key.
fn with_token(key: &ApiKey) -> Result<(ApiKeyLayer, Request<()>)> {
    let tokens = Tokens::new("acme_tok", TokenSecret::new(&[7; 32])?)?;
    let layer = builder([key]).tokens(tokens.clone()).build()?;
    let bearer =
        |text: &ApiKey| Request::get("/links").header(AUTHORIZATION, format!("Bearer {}", text.expose())).body(());
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let principal = runtime.block_on(layer.authenticate(&bearer(key)?)).map_err(|_| "the key is rejected")?;
    let new = NewToken::lasting(Duration::from_mins(59)).permissions(Permissions::new().grant("links", "read"));
    let token = tokens.issue(&principal, new)?;
    Ok((layer, bearer(token.text())?))
}

fn layer(keys: [&ApiKey; 2]) -> ApiKeyLayer {
    builder(keys).build().unwrap()
}

fn builder<const N: usize>(keys: [&ApiKey; N]) -> ApiKeyLayerBuilder {
    builder_of(keys, |record| record)
}

fn builder_of<const N: usize>(keys: [&ApiKey; N], edit: impl Fn(KeyRecord) -> KeyRecord) -> ApiKeyLayerBuilder {
    let formats = ["hopx_live", "a_prefix_of_twenty_eight_byt"].map(|prefix| KeyFormat::new(prefix).unwrap());
    let (store, hasher) = (MemoryStore::new(), KeyHasher::sha256());
    for (number, key) in keys.into_iter().enumerate() {
        let record = KeyRecord::for_key(format!("key-{number}"), key, &hasher);
        store.add(edit(record.with_organization("acme").grant("links", "read"))).unwrap();
    }
    ApiKeyLayer::builder(store).formats(formats)
}

fn compress(times: Times) {
    let mut state = [0; 8];
    for _ in 0..times {
        compress256(black_box(&mut state), black_box(&[[7; 64]]));
    }
}

fn hash(key: &ApiKey, times: Times) {
    let hasher = KeyHasher::sha256();
    for _ in 0..times {
        black_box(hasher.digest(black_box(key)));
    }
}

fn authenticate(layer: &ApiKeyLayer, request: &Request<()>, times: Times) {
    for _ in 0..times {
        let Some(Ok(principal)) = layer.try_authenticate(black_box(request)) else { panic!("not known at once") };
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

fn request() -> Request<()> {
    let mut request = Request::new(());
    for (name, value) in [(HOST, "api.example.com"), (ACCEPT, "*/*")] {
        request.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    request
}

fn x_api_key(key: &ApiKey) -> Request<()> {
    let mut request = request();
    request.headers_mut().insert("x-api-key", key.expose().parse().unwrap());
    request
}

fn bearer(key: &ApiKey) -> Request<()> {
    let mut request = request();
    request.headers_mut().insert(AUTHORIZATION, format!("Bearer {}", key.expose()).parse().unwrap());
    request
}

/// A request with as many extensions as a server and a router leave there, and spare capacity.
fn in_use(mut request: Request<()>) -> Request<()> {
    request.extensions_mut().insert(1_u8);
    request.extensions_mut().insert(1_u16);
    request
}
