//! Envoy's contract over gRPC, with tonic's server and client, and messages after the published
//! proto.

use std::collections::HashMap;

use http::Request;
use tonic::{Code, codegen::http::uri::PathAndQuery, transport::Server, transport::server::TcpIncoming};
use tonic_prost::ProstCodec;
use tower_api_key::{
    ClientAddress, KeyHasher, KeyRecord, Rejection, Require, Scheme, address::Network, gateway::Gateway,
    layer::ApiKeyLayerBuilder, store::MemoryStore,
};

use super::{IDENTITY, layer, original, table};
use crate::support::{LIVE, UNKNOWN};

/// `envoy.service.auth.v3.CheckRequest`, with fields that the library does not read.
#[derive(Clone, PartialEq, prost::Message)]
struct CheckRequest {
    #[prost(message, optional, tag = "1")]
    attributes: Option<Attributes>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Attributes {
    #[prost(message, optional, tag = "1")]
    source: Option<Peer>,
    #[prost(message, optional, tag = "2")]
    destination: Option<Peer>,
    #[prost(message, optional, tag = "4")]
    request: Option<AttributesRequest>,
    #[prost(map = "string, string", tag = "10")]
    context_extensions: HashMap<String, String>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Peer {
    #[prost(message, optional, tag = "1")]
    address: Option<Address>,
    #[prost(string, tag = "2")]
    service: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Address {
    #[prost(message, optional, tag = "1")]
    socket_address: Option<SocketAddress>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct SocketAddress {
    #[prost(int32, tag = "1")]
    protocol: i32,
    #[prost(string, tag = "2")]
    address: String,
    #[prost(uint32, tag = "3")]
    port_value: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct AttributesRequest {
    #[prost(message, optional, tag = "2")]
    http: Option<Http>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Http {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(string, tag = "2")]
    method: String,
    #[prost(map = "string, string", tag = "3")]
    headers: HashMap<String, String>,
    #[prost(string, tag = "4")]
    path: String,
    #[prost(string, tag = "5")]
    host: String,
    #[prost(string, tag = "6")]
    scheme: String,
    #[prost(string, tag = "10")]
    protocol: String,
    #[prost(message, optional, tag = "13")]
    header_map: Option<HeaderMap>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct HeaderMap {
    #[prost(message, repeated, tag = "1")]
    headers: Vec<Header>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Header {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(string, tag = "2")]
    value: String,
    #[prost(bytes = "vec", tag = "3")]
    raw_value: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct CheckResponse {
    #[prost(message, optional, tag = "1")]
    status: Option<Status>,
    #[prost(message, optional, tag = "2")]
    denied: Option<Denied>,
    #[prost(message, optional, tag = "3")]
    ok: Option<Allowed>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Status {
    #[prost(int32, tag = "1")]
    code: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Denied {
    #[prost(message, optional, tag = "1")]
    status: Option<Status>,
    #[prost(message, repeated, tag = "2")]
    headers: Vec<HeaderOption>,
    #[prost(string, tag = "3")]
    body: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Allowed {
    #[prost(message, repeated, tag = "2")]
    headers: Vec<HeaderOption>,
    #[prost(string, repeated, tag = "5")]
    headers_to_remove: Vec<String>,
    #[prost(string, repeated, tag = "8")]
    query_parameters_to_remove: Vec<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct HeaderOption {
    #[prost(message, optional, tag = "1")]
    header: Option<Header>,
    #[prost(int32, tag = "3")]
    append_action: i32,
}

impl CheckRequest {
    /// The message that Envoy sends about a request, from this peer.
    fn about(original: &Request<()>, peer: &str) -> Self {
        let lines = original.headers().iter();
        let headers = lines.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect();
        let http = Http {
            id: "1".to_owned(),
            method: original.method().to_string(),
            headers,
            path: original.uri().to_string(),
            host: "acme.example".to_owned(),
            protocol: "HTTP/1.1".to_owned(),
            ..Http::default()
        };
        let socket_address = SocketAddress { address: peer.to_owned(), port_value: 4711, protocol: 0 };
        let address = Address { socket_address: Some(socket_address) };
        let source = Peer { address: Some(address), service: String::new() };
        let request = Some(AttributesRequest { http: Some(http) });
        Self { attributes: Some(Attributes { source: Some(source), request, ..Attributes::default() }) }
    }

    fn http(&mut self) -> &mut Http {
        self.attributes.as_mut().unwrap().request.as_mut().unwrap().http.as_mut().unwrap()
    }
}

fn values(headers: &[HeaderOption]) -> HashMap<&str, &str> {
    assert!(headers.iter().all(|option| option.append_action == 2), "each overwrites");
    let values = headers.iter().map(|option| option.header.as_ref().unwrap());
    values.map(|header| (header.key.as_str(), header.value.as_str())).collect()
}

async fn call(gateway: &Gateway, path: &'static str, question: CheckRequest) -> Result<CheckResponse, tonic::Status> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = Server::builder().add_service(gateway.grpc());
    tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
    let channel = tonic::transport::Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.unwrap();
    let codec: ProstCodec<CheckRequest, CheckResponse> = ProstCodec::default();
    let path = PathAndQuery::from_static(path);
    client.unary(tonic::Request::new(question), path, codec).await.map(tonic::Response::into_inner)
}

/// Checks, and asserts what holds for every answer.
async fn check(gateway: &Gateway, question: CheckRequest) -> CheckResponse {
    let answer = call(gateway, "/envoy.service.auth.v3.Authorization/Check", question).await.unwrap();
    let shown = format!("{answer:?}");
    assert!(!shown.contains(LIVE) && !shown.contains(UNKNOWN), "{shown}");
    let is_allowed = answer.status.as_ref().unwrap().code == 0;
    assert_eq!((answer.ok.is_some(), answer.denied.is_some()), (is_allowed, !is_allowed), "{shown}");
    if let Some(ok) = &answer.ok {
        let values = values(&ok.headers);
        assert!(IDENTITY.iter().all(|name| values.contains_key(name)), "{shown}");
    }
    if let Some(denied) = &answer.denied {
        assert!(denied.status.as_ref().unwrap().code >= 300, "{shown}");
        assert!(!values(&denied.headers).contains_key("content-length"), "{shown}");
    }
    answer
}

fn gateway(edit: impl FnOnce(ApiKeyLayerBuilder) -> ApiKeyLayerBuilder, guard: Require) -> Gateway {
    Gateway::new(&layer(edit), guard)
}

#[tokio::test]
async fn an_accepted_request_gets_its_identity_and_loses_its_key() {
    let all = [Scheme::bearer(), Scheme::x_api_key(), Scheme::cookie("key"), Scheme::query("key")];
    let gateway = gateway(|layer| layer.schemes(all), table());
    let bearer = format!("Bearer {LIVE}");
    let cookies = format!("theme=dark; key={LIVE}; a=b");
    let only = format!("key={LIVE}");
    let query = format!("/links?a=b&k%65y={LIVE}");
    for (target, headers, removed, cookie, parameters) in [
        ("/links", vec![("x-api-key", LIVE)], vec!["x-api-key"], None, vec![]),
        ("/links", vec![("authorization", bearer.as_str())], vec!["authorization"], None, vec![]),
        ("/links", vec![("authorization", "Basic dTpw"), ("x-api-key", LIVE)], vec!["x-api-key"], None, vec![]),
        ("/links", vec![("cookie", cookies.as_str())], vec![], Some("theme=dark; a=b"), vec![]),
        ("/links", vec![("cookie", only.as_str())], vec!["cookie"], None, vec![]),
        (query.as_str(), vec![], vec![], None, vec!["k%65y"]),
    ] {
        let answer = check(&gateway, CheckRequest::about(&original("GET", target, &headers), "192.0.2.7")).await;
        let ok = answer.ok.unwrap();
        let values = values(&ok.headers);
        assert_eq!(values["x-auth-key-id"], "live");
        assert_eq!((values["x-auth-owner"], values["x-auth-scope"]), ("user:alice", "links:create links:read"));
        assert_eq!(
            (ok.headers_to_remove, values.get("cookie").copied()),
            (removed.iter().map(ToString::to_string).collect(), cookie)
        );
        assert_eq!(ok.query_parameters_to_remove, parameters);
    }
}

#[tokio::test]
async fn each_refusal_has_its_status_and_its_headers() {
    let limited = || Require::check(|_, _| Err(Rejection::too_many_requests(std::time::Duration::from_secs(7))));
    let unavailable = || Require::check(|_, _| Err(Rejection::unavailable()));
    let grpc = [("content-type", "application/grpc"), ("te", "trailers")];
    for (guard, original, status, code, header) in [
        (table(), original("GET", "/links", &[]), 401, 16, Some("www-authenticate")),
        (table(), original("GET", "/links", &[("x-api-key", UNKNOWN)]), 401, 16, Some("www-authenticate")),
        (table(), original("POST", "/links", &grpc), 401, 16, Some("www-authenticate")),
        (table(), original("DELETE", "/links", &[("x-api-key", LIVE)]), 403, 7, None),
        (table(), original("GET", "//links", &[("x-api-key", LIVE)]), 403, 7, None),
        (
            Require::permission("a", "read").hide_as_not_found(),
            original("GET", "/", &[("x-api-key", LIVE)]),
            404,
            7,
            None,
        ),
        (limited(), original("GET", "/links", &[("x-api-key", LIVE)]), 429, 7, Some("retry-after")),
        (unavailable(), original("GET", "/links", &[("x-api-key", LIVE)]), 503, 7, Some("retry-after")),
    ] {
        let gateway = gateway(ApiKeyLayerBuilder::grpc, guard);
        let answer = check(&gateway, CheckRequest::about(&original, "192.0.2.7")).await;
        let denied = answer.denied.unwrap();
        assert_eq!((denied.status.unwrap().code, answer.status.unwrap().code), (status, code));
        assert!(header.is_none_or(|header| values(&denied.headers).contains_key(header)), "{status}");
        assert!(original.headers().contains_key("te") || denied.body.contains(&status.to_string()), "{}", denied.body);
    }
}

#[tokio::test]
async fn each_line_of_raw_headers_counts() {
    let gateway = gateway(|layer| layer, table());
    let header = |key: &str, value: &str, is_raw: bool| {
        let (text, raw) = if is_raw { ("", value.as_bytes()) } else { (value, &b""[..]) };
        Header { key: key.to_owned(), value: text.to_owned(), raw_value: raw.to_vec() }
    };
    for (lines, is_allowed) in [
        (vec![header("x-api-key", LIVE, true), header(":path", "/health", true)], true),
        (vec![header("x-api-key", LIVE, false)], true),
        (vec![header("x-api-key", LIVE, true), header("x-api-key", LIVE, true)], false),
        (vec![header("x-api-key", LIVE, true), header("bad name", "x", true)], false),
        (vec![], false),
    ] {
        let mut question = CheckRequest::about(&original("GET", "/links", &[("x-api-key", LIVE)]), "192.0.2.7");
        question.http().header_map = Some(HeaderMap { headers: lines });
        assert_eq!(check(&gateway, question).await.ok.is_some(), is_allowed);
    }
}

#[tokio::test]
async fn a_message_that_cannot_be_read_is_denied_with_500() {
    let gateway = gateway(ApiKeyLayerBuilder::optional, Require::table().open("/{*rest}").open("/").build().unwrap());
    let good = || CheckRequest::about(&original("GET", "/", &[]), "192.0.2.7");
    assert!(check(&gateway, good()).await.ok.is_some());
    let edits: [fn(&mut CheckRequest); 6] = [
        |question| question.attributes = None,
        |question| question.attributes.as_mut().unwrap().request = None,
        |question| question.http().method.clear(),
        |question| question.http().path.clear(),
        |question| question.http().path = "x".to_owned(),
        |question| question.http().host = "a\nb".to_owned(),
    ];
    for edit in edits {
        let mut question = good();
        edit(&mut question);
        assert_eq!(check(&gateway, question).await.denied.unwrap().status.unwrap().code, 500);
    }
}

#[tokio::test]
async fn another_method_is_unimplemented() {
    let gateway = gateway(ApiKeyLayerBuilder::optional, Require::authenticated());
    let path = "/envoy.service.auth.v3.Authorization/Other";
    let answer = call(&gateway, path, CheckRequest::default()).await;
    assert_eq!(answer.unwrap_err().code(), Code::Unimplemented);
}

/// Envoy's peer is the client, or a proxy that is listed.
#[tokio::test]
async fn the_address_of_the_client_is_that_of_envoys_peer() {
    let store = MemoryStore::new();
    let record = KeyRecord::for_key("bound", &LIVE.parse().unwrap(), &KeyHasher::sha256());
    store.add(record.with_allowed_addresses(Network::list(["192.0.2.7"]).unwrap())).unwrap();
    let address = ClientAddress::behind(["10.0.0.0/8"]).x_forwarded_for().unwrap();
    let layer = tower_api_key::ApiKeyLayer::builder(store).client_address(address).build().unwrap();
    let gateway = Gateway::new(&layer, Require::authenticated());
    for (peer, forwarded, is_allowed) in [
        ("192.0.2.7", "198.51.100.1", true),
        ("192.0.2.8", "192.0.2.7", false),
        ("10.0.0.1", "192.0.2.7", true),
        ("10.0.0.1", "192.0.2.8", false),
        ("unknown", "192.0.2.7", false),
    ] {
        let headers = [("x-api-key", LIVE), ("x-forwarded-for", forwarded)];
        let answer = check(&gateway, CheckRequest::about(&original("GET", "/", &headers), peer)).await;
        assert_eq!(answer.ok.is_some(), is_allowed, "{peer} {forwarded}");
    }
}

/// Envoy writes the scheme of the connection to it.
#[tokio::test]
async fn the_transport_is_that_which_envoy_writes() {
    let gateway = gateway(|layer| layer.require_tls(tower_api_key::TransportSource::server()), table());
    for (schemes, is_allowed) in
        [(vec!["https"], true), (vec!["http"], false), (vec![], false), (vec!["https", "http"], false)]
    {
        let mut question = CheckRequest::about(&original("GET", "/links", &[]), "192.0.2.7");
        let lines =
            [("x-api-key", LIVE)].into_iter().chain(schemes.iter().map(|scheme| ("x-forwarded-proto", *scheme)));
        let header =
            |(key, value): (&str, &str)| Header { key: key.to_owned(), value: value.to_owned(), raw_value: vec![] };
        question.http().header_map = Some(HeaderMap { headers: lines.map(header).collect() });
        assert_eq!(check(&gateway, question).await.ok.is_some(), is_allowed, "{schemes:?}");
    }
}
