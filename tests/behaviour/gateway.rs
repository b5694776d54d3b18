//! The answers to gateways: for each kind, and as a property over settings and requests.

mod attacks;
mod contracts;
#[cfg(feature = "gateway-grpc")]
mod grpc;
mod guide_table;
mod kinds;
#[cfg(feature = "limits")]
mod limits;
mod same_as_direct;
mod verification;

use axum::{Router, body::Body, http::Response};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt;
use tower::ServiceExt;
use tower_api_key::{
    ApiKeyLayer, KeyHasher, KeyRecord, Owner, Require,
    gateway::{Gateway, GatewayKind},
    layer::ApiKeyLayerBuilder,
    store::MemoryStore,
};

use crate::support::{LIVE, UNKNOWN};

const KINDS: [GatewayKind; 5] =
    [GatewayKind::Nginx, GatewayKind::Traefik, GatewayKind::Caddy, GatewayKind::Envoy, GatewayKind::Apisix];

const IDENTITY: [&str; 5] =
    ["x-auth-key-id", "x-auth-owner", "x-auth-organization", "x-auth-environment", "x-auth-scope"];

/// What a gateway gets.
#[derive(Debug)]
struct Answered {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

impl Answered {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// The status that the client gets, by the configuration of the guide.
    fn status_for_client(&self) -> u16 {
        self.header("x-auth-status").map_or(self.status.as_u16(), |status| status.parse().unwrap())
    }
}

fn store() -> MemoryStore {
    let store = MemoryStore::new();
    let record = KeyRecord::for_key("live", &LIVE.parse().unwrap(), &KeyHasher::sha256())
        .with_owner(Owner::User("alice".into()))
        .with_organization("acme")
        .with_environment("live")
        .grant("links", "read")
        .grant("links", "create");
    store.add(record).unwrap();
    store
}

fn layer(edit: impl FnOnce(ApiKeyLayerBuilder) -> ApiKeyLayerBuilder) -> ApiKeyLayer {
    edit(ApiKeyLayer::builder(store())).build().unwrap()
}

fn table() -> Require {
    Require::table()
        .open("/health")
        .any("/links", Require::by_method("links"))
        .any("/links/{id}", Require::by_method("links"))
        .route("DELETE", "/admin", ("admin", "delete"))
        .build()
        .unwrap()
}

/// Returns the question that a gateway of this kind asks about a request: nested at `/ask`.
fn question(kind: GatewayKind, original: &Request<()>) -> Request<Body> {
    let target = original.uri().to_string();
    let mut question = Request::new(Body::empty());
    *question.headers_mut() = original.headers().clone();
    let names = match kind {
        GatewayKind::Nginx => ("x-original-method", "x-original-uri"),
        GatewayKind::Envoy => {
            *question.method_mut() = original.method().clone();
            *question.uri_mut() = format!("/ask{target}").parse().unwrap();
            return question;
        }
        _ => ("x-forwarded-method", "x-forwarded-uri"),
    };
    *question.uri_mut() = "/ask".parse().unwrap();
    question.headers_mut().insert(names.0, original.method().as_str().parse().unwrap());
    question.headers_mut().insert(names.1, target.parse().unwrap());
    question
}

fn router(gateway: &Gateway, kind: GatewayKind) -> Router {
    Router::new().nest_service("/ask", gateway.router::<()>(kind))
}

/// Asks, and checks what holds for every answer.
async fn ask(router: Router, kind: GatewayKind, question: Request<Body>) -> Answered {
    let is_head = question.method() == Method::HEAD;
    let response: Response<Body> = router.oneshot(question).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let answered =
        Answered { status: parts.status, headers: parts.headers, body: String::from_utf8(body.to_vec()).unwrap() };
    let text = format!("{answered:?}");
    assert!(!text.contains(LIVE) && !text.contains(UNKNOWN), "a key in {text}");
    if answered.status.is_success() {
        assert_eq!(answered.status, 200);
        assert_eq!(answered.body, "");
        for name in IDENTITY {
            assert_eq!(answered.headers.get_all(name).iter().count(), 1, "{name} of {text}");
        }
    } else {
        assert_eq!(answered.header("cache-control"), Some("no-store"), "{text}");
        assert!(IDENTITY.iter().all(|name| answered.header(name).is_none()), "{text}");
        assert!(answered.header("grpc-status").is_none(), "{text}");
        if kind == GatewayKind::Nginx {
            assert!([401, 403].contains(&answered.status.as_u16()), "{text}");
        }
        let length = answered.header("content-length").map(|length| length.parse().unwrap());
        assert!(is_head || length.is_none_or(|length: usize| length == answered.body.len()), "{text}");
    }
    answered
}

/// Asks about a request with the default layer and the table.
async fn ask_about(kind: GatewayKind, original: &Request<()>) -> Answered {
    let gateway = Gateway::new(&layer(|layer| layer), table());
    ask(router(&gateway, kind), kind, question(kind, original)).await
}

fn original(method: &str, target: &str, headers: &[(&str, &str)]) -> Request<()> {
    let mut request = Request::builder().method(method).uri(target);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap()
}
