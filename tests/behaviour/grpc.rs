//! Tests gRPC with a real tonic server and client, unary and streaming.

use std::{net::SocketAddr, time::Duration};

use crate::support::{Api, Body, Fault, FaultyStore, LIVE, UNKNOWN, add, logs, method, refused};
use http::{HeaderValue, Request};
use tokio::net::TcpListener;
use tonic::{
    Code, Status,
    metadata::MetadataMap,
    transport::{Channel, Server, server::TcpIncoming},
};
use tonic_health::{
    ServingStatus,
    pb::{HealthCheckRequest, health_check_response::ServingStatus::Serving, health_client::HealthClient},
};
use tonic_types::{ErrorDetails, StatusExt};
use tower_api_key::{
    ApiKeyLayer, KeyRecord, KeyRegistry, Problem, Reason, Rejection, RejectionFormat, Require, Scheme,
    layer::ApiKeyLayerBuilder,
};

const CHECK: &str = "/grpc.health.v1.Health/Check";
const WATCH: &str = "/grpc.health.v1.Health/Watch";

/// A tonic server behind a layer and a guard.
struct Service {
    client: HealthClient<Channel>,
    store: FaultyStore,
}

impl Service {
    async fn start(layered: bool, guard: Require) -> Self {
        Self::start_with(layered, guard, ApiKeyLayerBuilder::grpc).await
    }

    async fn start_with(
        layered: bool,
        guard: Require,
        edit: impl FnOnce(ApiKeyLayerBuilder) -> ApiKeyLayerBuilder,
    ) -> Self {
        logs::watch_for([LIVE, UNKNOWN].map(str::to_owned));
        let store = Api::new().key("k1", LIVE, |record: KeyRecord| record.grant("health", "check")).store;
        let schemes = [Scheme::bearer(), Scheme::x_api_key(), Scheme::header("x-acme-key")];
        let layer = edit(ApiKeyLayer::builder(store.clone()).schemes(schemes)).build().unwrap();
        let (reporter, health) = tonic_health::server::health_reporter();
        reporter.set_service_status("", ServingStatus::Serving).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let incoming = TcpIncoming::from(listener);
        let server = Server::builder();
        if layered {
            tokio::spawn(server.layer(layer).layer(guard).add_service(health).serve_with_incoming(incoming));
        } else {
            tokio::spawn(server.layer(guard).add_service(health).serve_with_incoming(incoming));
        }
        Self { client: HealthClient::new(connect(address).await), store }
    }

    /// A guard on one method: any key may check, and watching needs a permission.
    async fn guarded() -> Self {
        let table = Require::table().route("POST", CHECK, Require::authenticated());
        Self::start(true, table.route("POST", WATCH, ("health", "watch")).build().unwrap()).await
    }

    async fn check(&self, metadata: &[(&'static str, String)]) -> Result<i32, Status> {
        let answer = self.client.clone().check(request(metadata)).await;
        logs::assert_clean();
        answer.map(|answer| answer.into_inner().status)
    }

    /// Returns the first message of a stream.
    async fn watch(&self, metadata: &[(&'static str, String)]) -> Result<i32, Status> {
        let mut stream = self.client.clone().watch(request(metadata)).await?.into_inner();
        let message = stream.message().await?.unwrap();
        logs::assert_clean();
        Ok(message.status)
    }
}

async fn connect(address: SocketAddr) -> Channel {
    Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap()
}

fn request(metadata: &[(&'static str, String)]) -> tonic::Request<HealthCheckRequest> {
    let mut request = tonic::Request::new(HealthCheckRequest { service: String::new() });
    for (name, value) in metadata {
        request.metadata_mut().append(*name, value.parse().unwrap());
    }
    request
}

fn key() -> [(&'static str, String); 1] {
    [("x-api-key", LIVE.to_owned())]
}

#[track_caller]
fn status(answer: Result<i32, Status>, code: Code, message: &str) {
    let status = answer.unwrap_err();
    assert_eq!((status.code(), status.message()), (code, message));
    assert!(no_http_leftovers(status.metadata()), "{:?}", status.metadata());
}

fn no_http_leftovers(metadata: &MetadataMap) -> bool {
    ["www-authenticate", "retry-after", "content-length"].iter().all(|name| !metadata.contains_key(*name))
}

#[tokio::test]
async fn metadata_is_where_header_schemes_look() {
    let service = Service::guarded().await;
    for (name, value) in
        [("x-api-key", LIVE.to_owned()), ("x-acme-key", LIVE.to_owned()), ("authorization", format!("Bearer {LIVE}"))]
    {
        assert_eq!(service.check(&[(name, value)]).await.unwrap(), i32::from(Serving), "{name}");
    }
}

#[tokio::test]
async fn who_has_no_working_key_is_unauthenticated() {
    let service = Service::guarded().await;
    let missing = "No API key was sent: send Authorization: Bearer KEY, X-API-Key: KEY or x-acme-key: KEY.";
    status(service.check(&[]).await, Code::Unauthenticated, missing);
    status(service.watch(&[]).await, Code::Unauthenticated, missing);
    let unknown = [("x-api-key", UNKNOWN.to_owned())];
    status(service.check(&unknown).await, Code::Unauthenticated, Problem::InvalidKey.detail());
    let empty = [("authorization", "Bearer".to_owned())];
    status(service.check(&empty).await, Code::Unauthenticated, "The key is empty: send Authorization: Bearer KEY.");
    let two = [("x-api-key", LIVE.to_owned()), ("x-acme-key", LIVE.to_owned())];
    let both = "Two credentials were sent, in X-API-Key and in x-acme-key: send one.";
    status(service.check(&two).await, Code::Unauthenticated, both);
}

#[tokio::test]
async fn a_guard_on_one_method_denies_permission_there_alone() {
    let service = Service::guarded().await;
    assert_eq!(service.check(&key()).await.unwrap(), i32::from(Serving));
    let missing = "The API key may not do this. It lacks the permission health:watch.";
    status(service.watch(&key()).await, Code::PermissionDenied, missing);
    let record = service.store.keys.remove(&"k1".into(), None).await.unwrap().unwrap();
    service.store.keys.add(record.grant("health", "watch")).unwrap();
    assert_eq!(service.watch(&key()).await.unwrap(), i32::from(Serving), "a stream is forwarded completely");
}

#[tokio::test]
async fn what_is_hidden_is_not_found_and_what_is_unlisted_is_denied() {
    let hidden = Require::permission("health", "watch").hide_as_not_found();
    let service = Service::start(true, hidden).await;
    status(service.check(&key()).await, Code::NotFound, Problem::NotFound.detail());
    let nothing_listed = Require::table().open("/elsewhere").build().unwrap();
    let service = Service::start(true, nothing_listed).await;
    let unlisted = "This method and path is in no row of the service's route table.";
    status(service.check(&key()).await, Code::PermissionDenied, unlisted);
}

#[tokio::test]
async fn a_broken_store_is_unavailable_and_a_broken_set_up_is_an_error() {
    let service = Service::guarded().await;
    service.store.set(Fault::Fails);
    status(service.check(&key()).await, Code::Unavailable, Problem::Unavailable.detail());
    service.store.set(Fault::Waits);
    assert_eq!(service.check(&key()).await.unwrap(), i32::from(Serving));
    let without_a_layer = Service::start(false, Require::authenticated()).await;
    // Only a layer renders gRPC errors. A client maps HTTP status 500 to `UNKNOWN`.
    assert_eq!(without_a_layer.check(&key()).await.unwrap_err().code(), Code::Unknown);
}

/// The details are a `google.rpc.Status`, which repeats the code and the message.
#[tokio::test]
async fn a_client_reads_from_the_details_of_a_429_when_to_retry() {
    for (after, read) in [
        (Duration::from_millis(1500), Duration::from_millis(1500)),
        (Duration::ZERO, Duration::ZERO),
        (Duration::new(300, 999_999_999), Duration::new(300, 999_999_999)),
        (Duration::MAX, Duration::new(315_576_000_000, 999_999_999)), // the longest that a client can read
    ] {
        let busy = move || Rejection::too_many_requests(after).with_detail("Zehn pro Stunde f\u{fc}r jeden.");
        let service = Service::start(true, Require::check(move |_, _| Err::<(), _>(busy()))).await;
        let answer = service.check(&key()).await.unwrap_err();
        assert_eq!((answer.code(), answer.message()), (Code::ResourceExhausted, "Zehn pro Stunde f\u{fc}r jeden."));
        assert_eq!(answer.get_details_retry_info().unwrap().retry_delay, Some(read));
        let written = ErrorDetails::with_retry_info(Some(read));
        let written = Status::with_error_details(Code::ResourceExhausted, answer.message(), written);
        assert_eq!(answer.details(), written.details(), "as tonic's own server writes them");
    }
    let forbidden = Service::start(true, Require::permission("health", "watch")).await;
    assert_eq!(forbidden.check(&key()).await.unwrap_err().details(), b"", "no other status has details");
}

/// R17: without `grpc`, a client gets an HTTP status and maps it to the same code, for a call and
/// for a stream. Only 404 has another code.
#[tokio::test]
async fn r17_tonics_client_maps_the_http_status_of_a_layer_that_does_not_serve_grpc() {
    for format in [RejectionFormat::problem_json(), RejectionFormat::custom(|_| http::Response::new("own"))] {
        let table = Require::table().route("POST", CHECK, Require::authenticated()).build().unwrap();
        let service = Service::start_with(true, table, |layer| layer.rejection_format(format.clone())).await;
        let unknown = [("x-api-key", UNKNOWN.to_owned())];
        let code = |answer: Result<i32, Status>| answer.unwrap_err().code();
        assert_eq!(service.check(&key()).await.unwrap(), i32::from(Serving));
        assert_eq!(code(service.check(&[]).await), Code::Unauthenticated);
        assert_eq!(code(service.watch(&[]).await), Code::Unauthenticated);
        assert_eq!(code(service.check(&unknown).await), Code::Unauthenticated);
        assert_eq!(code(service.watch(&key()).await), Code::PermissionDenied, "an unlisted method");
        service.store.set(Fault::Fails);
        assert_eq!(code(service.check(&key()).await), Code::Unavailable);
        let hidden = Require::permission("health", "stop").hide_as_not_found();
        let service = Service::start_with(true, hidden, |layer| layer.rejection_format(format)).await;
        assert_eq!(code(service.check(&key()).await), Code::Unimplemented);
    }
}

/// Tests the wire format: in every format, the message is in the headers, so only headers are sent.
#[tokio::test]
async fn a_refusal_is_trailers_only() {
    for format in [
        RejectionFormat::problem_json(),
        RejectionFormat::json(),
        RejectionFormat::custom(|_| http::Response::new("own")),
    ] {
        let api = Api::live().layer(|layer| layer.rejection_format(format).grpc()).run();
        for (asked, answered) in [
            ("application/grpc", "application/grpc"),
            ("application/grpc+proto", "application/grpc"),
            ("Application/GRPC; charset=x", "application/grpc"),
            ("application/grpc-web+proto", "application/grpc-web"),
            ("application/grpc-web-text", "application/grpc-web"),
        ] {
            let answer = api.answer(post(asked, "")).await;
            assert_eq!((answer.status.as_u16(), &answer.body[..]), (200, &b""[..]), "{asked}");
            assert_eq!(answer.headers["content-type"], answered);
            assert_eq!(
                (&answer.headers["grpc-status"], &answer.headers["cache-control"]),
                (&"16".parse().unwrap(), &"no-store".parse().unwrap())
            );
            assert!(answer.headers["grpc-message"].to_str().unwrap().starts_with("No API key was sent: send "));
            for absent in ["www-authenticate", "content-length", "retry-after"] {
                assert!(!answer.headers.contains_key(absent), "{asked}: {absent}");
            }
        }
        for asked in ["application/json", "application/gr", "text/plain", ""] {
            assert_eq!(api.call(post(asked, "")).await, refused(Reason::Missing, 401), "{asked}");
        }
    }
}

#[tokio::test]
async fn a_message_is_percent_encoded() {
    let api = Api::live().layer(|layer| layer.schemes(Scheme::query("100%\u{e9}")).grpc()).run();
    let answer = api.answer(post("application/grpc", "")).await;
    assert_eq!(answer.headers["grpc-message"], "No API key was sent: send ?100%2525%25C3%25A9=KEY.");
}

fn post(content_type: &str, key: &str) -> Request<Body> {
    let mut request = method(crate::support::bare(), http::Method::POST);
    request.headers_mut().insert("content-type", HeaderValue::from_str(content_type).unwrap());
    if !key.is_empty() {
        add(&mut request, "x-api-key", key);
    }
    request
}
