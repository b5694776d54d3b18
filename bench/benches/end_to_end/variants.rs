//! The service that is measured, behind different layers. All but [`Variant::Bare`] go through `Router::layer`.

use std::{
    collections::HashMap,
    sync::Arc,
    task::{Context, Poll},
};

use axum::{
    Router,
    extract::{Request, State},
    http::{StatusCode, header::AUTHORIZATION},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::get,
};
use sha2::{Digest, Sha256};
use tower::{Service, layer::layer_fn};
use tower_api_key::{ApiKey, ApiKeyLayer, KeyFormat, KeyHasher, KeyRecord, store::MemoryStore};
use tower_http::validate_request::ValidateRequestHeaderLayer;

const KEYS: usize = 10_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    NoOp,
    Ours,
    Bare,
    Bearer,
    FromFn,
}

/// A layer's service that only passes on.
#[derive(Clone)]
struct NoOp<S>(S);

/// A caller, as a middleware written by hand leaves it in the request.
#[derive(Clone)]
struct ByHand(#[expect(dead_code, reason = "for a handler that asks who calls")] Arc<str>);

type Callers = Arc<HashMap<[u8; 32], Arc<str>>>;

impl Variant {
    pub const ALL: [Self; 5] = [Self::NoOp, Self::Ours, Self::Bare, Self::Bearer, Self::FromFn];

    pub fn name(self) -> &'static str {
        match self {
            Self::NoOp => "no-op layer",
            Self::Ours => "tower-api-key",
            Self::Bare => "no layer",
            Self::Bearer => "tower-http bearer",
            Self::FromFn => "axum from_fn",
        }
    }

    /// Whether the key is hashed.
    #[allow(dead_code, reason = "one of two benches asks")]
    pub fn hashes(self) -> bool {
        matches!(self, Self::Ours | Self::FromFn)
    }

    /// Whether a request without a key is refused.
    #[allow(dead_code, reason = "one of two benches asks")]
    pub fn checks(self) -> bool {
        !matches!(self, Self::NoOp | Self::Bare)
    }

    pub fn router(self, keys: &[ApiKey]) -> Router {
        let service = Router::new().route("/", get(async || "ok"));
        match self {
            Self::NoOp => service.layer(layer_fn(NoOp)),
            Self::Ours => service.layer(ApiKeyLayer::builder(store(keys)).formats([format()]).build().unwrap()),
            Self::Bare => service,
            Self::Bearer => service.layer({
                #[expect(deprecated, reason = "the one that people have")]
                ValidateRequestHeaderLayer::bearer(keys[0].expose())
            }),
            Self::FromFn => service.layer(from_fn_with_state(callers(keys), by_hand)),
        }
    }
}

/// The first key is the one that is presented.
pub fn keys() -> Vec<ApiKey> {
    let format = format();
    (0..KEYS).map(|_| format.generate().unwrap()).collect()
}

fn format() -> KeyFormat {
    KeyFormat::new("hopx_live").unwrap()
}

fn store(keys: &[ApiKey]) -> MemoryStore {
    let (store, hasher) = (MemoryStore::new(), KeyHasher::sha256());
    for (number, key) in keys.iter().enumerate() {
        store.add(KeyRecord::for_key(format!("key-{number}"), key, &hasher).with_organization("acme")).unwrap();
    }
    store
}

fn callers(keys: &[ApiKey]) -> Callers {
    let digest = |key: &ApiKey| Sha256::digest(key.expose()).into();
    let caller = |(number, key)| (digest(key), format!("key-{number}").into());
    Arc::new(keys.iter().enumerate().map(caller).collect())
}

async fn by_hand(State(callers): State<Callers>, mut request: Request, next: Next) -> Response {
    let authorization = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let key = authorization.and_then(|value| value.strip_prefix("Bearer "));
    let caller = key.and_then(|key| callers.get(&<[u8; 32]>::from(Sha256::digest(key))));
    let Some(caller) = caller.cloned() else { return StatusCode::UNAUTHORIZED.into_response() };
    request.extensions_mut().insert(ByHand(caller));
    next.run(request).await
}

impl<R, S: Service<R>> Service<R> for NoOp<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: R) -> S::Future {
        self.0.call(request)
    }
}
