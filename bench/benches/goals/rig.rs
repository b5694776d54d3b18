//! What is measured: keys, the stores that know them, requests that carry them, and the service that does nothing.

use std::{
    convert::Infallible,
    hint::black_box,
    marker::PhantomData,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
};

use http::{
    HeaderMap, HeaderValue, Request, Response,
    header::{ACCEPT, AUTHORIZATION, HOST, USER_AGENT},
};
use tower::Service;
use tower_api_key::{
    ApiKey, ApiKeyLayer, KeyFormat, KeyHasher, KeyRecord, Principal, Rejection, Scheme, layer::ApiKeyLayerBuilder,
    store::MemoryStore,
};

/// The keys that a store knows.
const KNOWN: usize = 10_000;

/// The keys that are presented, in turn: so many are hot, and no two calls in a row are about the same.
pub const PRESENTED: usize = 32;

/// Keys of 52 bytes, which is one block of SHA-256.
pub struct Keys {
    pub known: Vec<ApiKey>,
    pub presented: Vec<ApiKey>,
}

/// What a request carries.
#[derive(Clone, Copy)]
pub enum Carries<'k> {
    Bearer(&'k [ApiKey]),
    XApiKey(&'k [ApiKey]),
    /// A header of the same size, and no key.
    Nothing(&'k [ApiKey]),
}

/// Drops the request, and answers at once with an empty body of the type `R`.
pub struct Bare<R>(PhantomData<fn() -> R>);

/// Makes the response when it is polled, as the future of a handler does.
pub struct Answers<R>(PhantomData<fn() -> R>);

// === impl Keys ===

impl Keys {
    pub fn new() -> Self {
        let format = format();
        let known: Vec<ApiKey> = (0..KNOWN).map(|_| format.generate().expect("a key")).collect();
        assert!(known.iter().all(|key| key.expose().len() == 52));
        let presented = known.iter().step_by(KNOWN / PRESENTED).take(PRESENTED).cloned().collect();
        Self { known, presented }
    }

    /// A store of all keys, each allowed what `edit` says.
    pub fn store(&self, hasher: &KeyHasher, edit: impl Fn(KeyRecord) -> KeyRecord) -> MemoryStore {
        let store = MemoryStore::new();
        for (number, key) in self.known.iter().enumerate() {
            let record = KeyRecord::for_key(format!("key_{number:020}"), key, hasher).with_organization("acme");
            store.add(edit(record)).expect("a new key");
        }
        store
    }

    /// A layer with one scheme and one format, over all keys hashed plainly.
    pub fn layer(&self) -> ApiKeyLayer {
        build(one_scheme(ApiKeyLayer::builder(self.store(&KeyHasher::sha256(), two_grants))))
    }
}

pub fn format() -> KeyFormat {
    KeyFormat::new("hopx_live").expect("a format")
}

pub fn two_grants(record: KeyRecord) -> KeyRecord {
    record.grant("links", "read").grant("stats", "read")
}

pub fn one_scheme(layer: ApiKeyLayerBuilder) -> ApiKeyLayerBuilder {
    layer.schemes([Scheme::bearer()]).formats([format()])
}

pub fn build(layer: ApiKeyLayerBuilder) -> ApiKeyLayer {
    layer.build().expect("a layer")
}

// === requests ===

impl Carries<'_> {
    /// Endless requests, with each key in turn. None shares memory with another.
    pub fn requests<B>(self, body: impl Fn() -> B) -> impl FnMut() -> Request<B> {
        let (name, values): (_, Vec<String>) = match self {
            Self::Bearer(keys) => (AUTHORIZATION, keys.iter().map(|key| format!("Bearer {}", key.expose())).collect()),
            Self::XApiKey(keys) => {
                ("x-api-key".parse().expect("a name"), keys.iter().map(|key| key.expose().to_owned()).collect())
            }
            Self::Nothing(keys) => (USER_AGENT, keys.iter().map(|key| format!("absent {}", key.expose())).collect()),
        };
        let mut turn = 0;
        move || {
            let mut request = Request::new(body());
            request.headers_mut().insert(HOST, HeaderValue::from_static("api.example.com"));
            request.headers_mut().insert(ACCEPT, HeaderValue::from_static("*/*"));
            request.headers_mut().insert(&name, HeaderValue::from_str(&values[turn]).expect("visible ASCII"));
            turn = (turn + 1) % values.len();
            request
        }
    }

    pub fn some<const N: usize>(self) -> [Request<()>; N] {
        let mut make = self.requests(|| ());
        std::array::from_fn(|_| make())
    }
}

/// The key of a `Bearer` header, as any of the layers written by hand reads it.
pub fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    headers.get(AUTHORIZATION)?.as_bytes().strip_prefix(b"Bearer ")
}

// === calls ===

/// What a future that waits for nothing comes to.
pub fn at_once<F: Future>(future: F) -> F::Output {
    let mut context = Context::from_waker(Waker::noop());
    match pin!(future).poll(&mut context) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("it has to wait"),
    }
}

/// Who presents a key in `request`: header, form, hash, look-up, comparison.
pub fn verify(layer: &ApiKeyLayer, request: &Request<()>) -> Result<Principal, Rejection> {
    layer.try_authenticate(black_box(request)).expect("a store in memory does not wait")
}

/// One call of a service that is ready and does not wait.
pub fn call<S: Service<Request<B>, Error = Infallible>, B>(service: &mut S, request: Request<B>) -> S::Response {
    let mut context = Context::from_waker(Waker::noop());
    assert!(service.poll_ready(&mut context).is_ready(), "not ready");
    match at_once(service.call(request)) {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

// === impl Bare ===

impl<R> Bare<R> {
    pub fn new() -> Self {
        Self(PhantomData)
    }
}

impl<R> Clone for Bare<R> {
    fn clone(&self) -> Self {
        Self::new()
    }
}

impl<B, R: Default> Service<Request<B>> for Bare<R> {
    type Response = Response<R>;
    type Error = Infallible;
    type Future = Answers<R>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        drop(black_box(request));
        Answers(PhantomData)
    }
}

impl<R: Default> Future for Answers<R> {
    type Output = Result<Response<R>, Infallible>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(Ok(Response::new(R::default())))
    }
}
