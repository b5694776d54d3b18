//! A layer without an observer takes a shorter way with an accepted key. It has the same effects as
//! one with an observer, which takes the long way.

use std::{
    convert::Infallible,
    future::ready,
    sync::{Arc, LazyLock, Mutex},
};

use bytes::Bytes;
use http::{
    HeaderValue, Method, Request, Response, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE, VARY},
};
use http_body_util::{BodyExt, Full};
use proptest::{collection::vec, prelude::*, sample::select};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_api_key::{
    ApiKey, ApiKeyLayer, KeyFormat, KeyHasher, KeyRecord, Principal, Require, Scheme, SchemePolicy, Status,
    layer::ApiKeyLayerBuilder, store::MemoryStore,
};

/// A store with two keys, and a key that it does not have.
struct Keys {
    store: MemoryStore,
    texts: [ApiKey; 3],
}

static KEYS: LazyLock<Keys> = LazyLock::new(|| {
    let (store, texts) = (MemoryStore::new(), [(); 3].map(|()| format().generate().unwrap()));
    for (id, status) in [("active", Status::Active), ("revoked", Status::Revoked)].into_iter().enumerate() {
        let (text, (name, status)) = (&texts[id], status);
        let record = KeyRecord::for_key(name, text, &KeyHasher::sha256()).grant("links", "read").with_status(status);
        store.add(record).unwrap();
    }
    Keys { store, texts }
});

/// What the inner service responds with.
#[derive(Clone, Copy, Debug)]
enum Inner {
    Nothing,
    Unauthorized,
    CacheHeaders,
}

#[derive(Clone, Debug)]
struct Settings {
    schemes: Vec<Scheme>,
    is_optional: bool,
    serves_grpc: bool,
    action: Option<&'static str>,
    inner: Inner,
}

/// What a request leads to.
#[derive(Debug, PartialEq)]
struct Effects {
    status: StatusCode,
    headers: Vec<(String, HeaderValue)>,
    body: Bytes,
    seen: Option<Seen>,
}

/// What the inner service gets: the id of the principal, and the headers, each with its mark.
#[derive(Debug, PartialEq)]
struct Seen {
    id: Option<String>,
    headers: Vec<(String, HeaderValue, bool)>,
}

fn format() -> KeyFormat {
    KeyFormat::new("acme_live").unwrap()
}

impl Settings {
    fn layer(&self) -> ApiKeyLayerBuilder {
        let policy = SchemePolicy::new(self.schemes.clone());
        let layer = ApiKeyLayer::builder(KEYS.store.clone()).schemes(policy).formats([format()]).pass_preflight();
        let layer = if self.is_optional { layer.optional() } else { layer };
        if self.serves_grpc { layer.grpc() } else { layer }
    }

    fn effects(&self, layer: ApiKeyLayerBuilder, request: Request<()>) -> Effects {
        let (called, inner) = (Arc::new(Mutex::new(None)), self.inner);
        let call = Arc::clone(&called);
        let service = service_fn(move |request: Request<()>| {
            let id = request.extensions().get().map(|principal: &Principal| principal.id().to_string());
            let headers = request.headers().iter();
            let headers =
                headers.map(|(name, value)| (name.to_string(), value.clone(), value.is_sensitive())).collect();
            *call.lock().unwrap() = Some(Seen { id, headers });
            ready(Ok::<_, Infallible>(inner.response()))
        });
        let layer = layer.build().unwrap();
        match self.action {
            Some(action) => effects(layer.layer(Require::permission("links", action).layer(service)), request, &called),
            None => effects(layer.layer(service), request, &called),
        }
    }
}

impl Inner {
    fn response(self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::from("inner"));
        match self {
            Self::Nothing => {}
            Self::Unauthorized => *response.status_mut() = StatusCode::UNAUTHORIZED,
            Self::CacheHeaders => {
                for value in ["no-store", "max-age=0"] {
                    response.headers_mut().append(CACHE_CONTROL, HeaderValue::from_static(value));
                }
                response.headers_mut().insert(VARY, HeaderValue::from_static("accept, Authorization"));
            }
        }
        response
    }
}

fn effects<S, B>(service: S, request: Request<()>, called: &Mutex<Option<Seen>>) -> Effects
where
    S: Service<Request<()>, Response = Response<B>, Error = Infallible>,
    B: http_body::Body<Data = Bytes, Error = Infallible>,
{
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let Ok(response) = service.oneshot(request).await;
        let (parts, body) = response.into_parts();
        let Ok(body) = body.collect().await;
        let headers = parts.headers.iter().map(|(name, value)| (name.to_string(), value.clone())).collect();
        Effects { status: parts.status, headers, body: body.to_bytes(), seen: called.lock().unwrap().take() }
    })
}

fn settings() -> impl Strategy<Value = Settings> {
    let schemes = select(vec![
        vec![Scheme::bearer(), Scheme::token(), Scheme::x_api_key()],
        vec![Scheme::bearer()],
        vec![Scheme::x_api_key(), Scheme::query("key")],
        vec![Scheme::bearer(), Scheme::websocket_protocol("key"), Scheme::cookie("key")],
    ]);
    let inner = select(vec![Inner::Nothing, Inner::Unauthorized, Inner::CacheHeaders]);
    let action = select(vec![None, Some("read"), Some("write")]);
    (schemes, any::<bool>(), any::<bool>(), action, inner).prop_map(
        |(schemes, is_optional, serves_grpc, action, inner)| Settings {
            schemes,
            is_optional,
            serves_grpc,
            action,
            inner,
        },
    )
}

/// A header line, in which `KEY` stands for a key.
fn line() -> impl Strategy<Value = (&'static str, &'static str)> {
    select(vec![
        ("authorization", "Bearer KEY"),
        ("authorization", "Bearer KEY"),
        ("authorization", "bEARER  KEY "),
        ("authorization", "Token KEY"),
        ("authorization", "Bearer \"KEY\""),
        ("authorization", "Basic KEY"),
        ("x-api-key", "KEY"),
        ("x-api-key", "KEY"),
        ("cookie", "key=KEY"),
        ("sec-websocket-protocol", "key, KEY"),
        ("accept", "*/*"),
        ("user-agent", "KEY"),
        ("content-type", "application/grpc"),
        ("origin", "https://example.com"),
        ("access-control-request-method", "GET"),
        ("x-one", "1"),
        ("x-two", "2"),
    ])
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 1_024, ..ProptestConfig::default() })]

    #[test]
    fn the_short_way_has_the_effects_of_the_long_one(
        settings in settings(),
        lines in vec(line(), 0..6),
        key in 0_usize..4,
        method in select(vec![Method::GET, Method::HEAD, Method::POST, Method::OPTIONS]),
        uri in select(vec!["/", "/?key=KEY"]),
    ) {
        // Two in four requests have the key that works.
        let text = KEYS.texts[key % 3].expose();
        let mut request = Request::new(());
        *request.method_mut() = method;
        *request.uri_mut() = uri.replace("KEY", text).parse().unwrap();
        for (name, value) in lines {
            request.headers_mut().append(name, value.replace("KEY", text).parse().unwrap());
        }
        let short = settings.effects(settings.layer(), request.clone());
        let long = settings.effects(settings.layer().observe(|_| {}), request);
        prop_assert_eq!(short, long);
    }
}

#[test]
fn an_accepted_key_is_marked_and_its_response_is_private() {
    let settings = Settings {
        schemes: vec![Scheme::bearer(), Scheme::x_api_key()],
        is_optional: false,
        serves_grpc: true,
        action: Some("read"),
        inner: Inner::Nothing,
    };
    for others in [0, 1, 9] {
        let mut request = Request::new(());
        for number in 0..others {
            let name = http::HeaderName::try_from(format!("x-{number}")).unwrap();
            request.headers_mut().insert(name, HeaderValue::from_static("text"));
        }
        request.headers_mut().insert("x-api-key", KEYS.texts[0].expose().parse().unwrap());
        let effects = settings.effects(settings.layer(), request.clone());
        let Seen { id, headers } = effects.seen.unwrap();
        assert_eq!(id.as_deref(), Some("active"));
        assert!(headers.iter().all(|(name, _, is_marked)| *is_marked == (name == "x-api-key")), "{headers:?}");
        let names: Vec<&str> = effects.headers.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["cache-control", "vary"]);
        *request.method_mut() = Method::POST;
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        assert_eq!(settings.effects(settings.layer(), request).headers, []);
    }
}
