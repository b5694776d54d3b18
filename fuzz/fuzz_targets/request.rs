//! Any request: no panic, and no response but a rejection without the key.
//!
//! ```sh
//! cargo +nightly fuzz run request
//! cargo fuzz run --sanitizer none request    # on a stable toolchain
//! ```
//!
//! Each line of the input is a header, `name:value`; the first is the target, after a `!` if it is a POST.
#![no_main]

use std::{
    convert::Infallible,
    future::{Ready, ready},
    pin::pin,
    sync::LazyLock,
    task::{Context, Poll, Waker},
};

use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};
use libfuzzer_sys::fuzz_target;
use tower::{Layer, Service, service_fn};
use tower_api_key::{
    ApiKey, ApiKeyLayer, ConflictPolicy, KeyFormat, Require, Scheme, SchemePolicy, layer::ApiKeyLayerBuilder,
    store::StaticKeys,
};

/// In base64 it begins with `elFXQnVU`.
const KEY: &str = "zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ";

static LAYERS: LazyLock<Vec<ApiKeyLayer>> = LazyLock::new(|| {
    let keys = || StaticKeys::new([("k1", ApiKey::new(KEY).unwrap())]).unwrap();
    let schemes = || {
        [
            Scheme::bearer(),
            Scheme::token(),
            Scheme::x_api_key(),
            Scheme::header_with_prefix("x-auth", "Key"),
            Scheme::query("key"),
            Scheme::cookie("key"),
            Scheme::basic(),
            Scheme::websocket_protocol("api-key"),
            Scheme::header("authorization"),
        ]
    };
    let builder = |conflict| ApiKeyLayer::builder(keys()).schemes(SchemePolicy::new(schemes()).on_conflict(conflict));
    [
        builder(ConflictPolicy::Reject),
        builder(ConflictPolicy::AllowIdentical).hide_credentials(),
        builder(ConflictPolicy::FirstWins).optional().forward_identity("x-principal"),
        builder(ConflictPolicy::Reject).formats([KeyFormat::foreign("zQ", "", None).unwrap()]),
    ]
    .map(|builder: ApiKeyLayerBuilder| builder.build().unwrap())
    .into()
});

fuzz_target!(|data: &[u8]| {
    let (method, data) = match data {
        [b'!', rest @ ..] => (Method::POST, rest),
        _ => (Method::GET, data),
    };
    let mut lines = data.split(|byte| *byte == b'\n');
    let Ok(target) = Uri::try_from(lines.next().unwrap_or_default()) else { return };
    let mut request = Request::new(());
    (*request.method_mut(), *request.uri_mut()) = (method, target);
    for line in lines.take(50) {
        let mut parts = line.splitn(2, |byte| *byte == b':');
        let name = HeaderName::from_bytes(parts.next().unwrap_or_default());
        let value = HeaderValue::from_bytes(parts.next().unwrap_or_default());
        if let (Ok(name), Ok(value)) = (name, value) {
            request.headers_mut().append(name, value);
        }
    }
    let has = |start: &[u8; 8]| data.windows(8).any(|part| part == start);
    // Plain, in base64, or in a query that is encoded somehow.
    let presents_the_key = has(b"zQWBuTSO") || has(b"elFXQnVU") || data.contains(&b'%');
    for layer in LAYERS.iter() {
        let guard = Require::organization_in_path("/orgs/{organization}/").unwrap();
        let inner =
            service_fn(|_: Request<()>| -> Ready<Result<Response<()>, Infallible>> { ready(Ok(Response::new(()))) });
        let table = Require::table().any("/links/{id}", guard.clone()).any("/{*rest}", guard).build().unwrap();
        let guarded = Require::any([table, Require::authenticated()]).layer(inner);
        let mut service = layer.layer(guarded);
        let mut context = Context::from_waker(Waker::noop());
        let mut response = pin!(service.call(request.clone()));
        let Poll::Ready(Ok(response)) = response.as_mut().poll(&mut context) else { panic!("not at once") };
        let is_refused = response.status() != StatusCode::OK || response.headers().contains_key("grpc-status");
        assert!(presents_the_key || is_refused);
        assert!(response.status() != StatusCode::UNAUTHORIZED || response.headers().contains_key("www-authenticate"));
    }
});
