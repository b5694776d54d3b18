//! Envoy's `ext_authz` over gRPC.

mod messages;

use std::{
    convert::Infallible,
    fmt,
    net::IpAddr,
    pin::Pin,
    task::{Context, Poll},
};

use axum::body::to_bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode,
    header::{CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING},
};
use http_body::Body as HttpBody;
use tonic::{
    Status as GrpcStatus,
    body::Body,
    server::{Grpc, NamedService, UnaryService},
};
use tonic_prost::ProstCodec;
use tower_service::Service;

use super::{Gateway, original::parse_target, stack::Answer, stripped::Stripped};
use crate::{address::PeerAddress, rejection::Rejection, transport::Transport};
use messages::{
    AttributeContext, CheckRequest, CheckResponse, DeniedHttpResponse, Header, HeaderOption, HttpRequest, HttpResponse,
    HttpStatus, OkHttpResponse, Status,
};

/// The service `envoy.service.auth.v3.Authorization`, for tonic's server. [`Gateway::grpc`] makes
/// it.
///
/// A rejection has the status, the headers and the body of the layer, also a 429 or a 503, so
/// Envoy's `failure_mode_allow` and `status_on_error` do not apply to it. A body of more than 64
/// KiB is dropped whole: the client gets the status and the headers. The credentials of the layer
/// are removed from the request: headers, cookies and query parameters. Only a key among the
/// protocols of a WebSocket client stays.
///
/// The address of the peer is that of Envoy's peer, as Envoy says. The transport is the
/// `X-Forwarded-Proto` that Envoy has written: for
/// [`require_tls`](crate::layer::ApiKeyLayerBuilder::require_tls), use
/// [`TransportSource::server`](crate::TransportSource::server).
///
/// ```no_run
/// use tower_api_key::{ApiKeyLayer, Require, gateway::Gateway, store::StaticKeys};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let auth = ApiKeyLayer::builder(StaticKeys::from_env("API_KEY")?).build()?;
/// let gateway = Gateway::new(&auth, Require::authenticated());
/// let address = "127.0.0.1:9001".parse()?;
/// tonic::transport::Server::builder().add_service(gateway.grpc()).serve(address).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct GrpcGateway(Gateway);

/// The method `Check`.
struct Check(Gateway);

type Answering<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// The longest body that is sent to a client. A longer one is dropped whole. Those of the built-in
/// formats are far shorter.
const MAX_BODY: usize = 64 * 1024;

/// The codes of `google.rpc.Status`.
const PERMISSION_DENIED: i32 = 7;
const UNAUTHENTICATED: i32 = 16;

/// `OVERWRITE_IF_EXISTS_OR_ADD`.
const OVERWRITE: i32 = 2;

// === impl GrpcGateway ===

impl GrpcGateway {
    pub(super) fn new(gateway: Gateway) -> Self {
        Self(gateway)
    }
}

impl NamedService for GrpcGateway {
    const NAME: &'static str = "envoy.service.auth.v3.Authorization";
}

impl<B> Service<Request<B>> for GrpcGateway
where
    B: HttpBody + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>> + Send,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answering<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let check = Check(self.0.clone());
        Box::pin(async move {
            if request.uri().path() != "/envoy.service.auth.v3.Authorization/Check" {
                return Ok(GrpcStatus::unimplemented("the only method is Check").into_http());
            }
            let codec: ProstCodec<CheckResponse, CheckRequest> = ProstCodec::default();
            Ok(Grpc::new(codec).unary(check, request).await)
        })
    }
}

impl fmt::Debug for GrpcGateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("GrpcGateway").field(&self.0).finish()
    }
}

// === impl Check ===

impl UnaryService<CheckRequest> for Check {
    type Response = CheckResponse;
    type Future = Answering<Result<tonic::Response<CheckResponse>, GrpcStatus>>;

    fn call(&mut self, request: tonic::Request<CheckRequest>) -> Self::Future {
        let gateway = self.0.clone();
        Box::pin(async move { Ok(tonic::Response::new(gateway.check(request.into_inner()).await)) })
    }
}

impl Gateway {
    async fn check(&self, question: CheckRequest) -> CheckResponse {
        let http = question.attributes.as_ref().and_then(|attributes| attributes.request.as_ref()?.http.as_ref());
        if http.is_none_or(|http| http.method.is_empty() || http.path.is_empty()) {
            // The log entry of the rejection names the cause.
            drop(Rejection::broken("a CheckRequest has no method or no path, so it is denied with 500"));
        }
        let Some(original) = question.attributes.and_then(original) else {
            return denied(StatusCode::INTERNAL_SERVER_ERROR, &HeaderMap::new(), String::new());
        };
        let stripped = self.0.stripper.strip(original.headers(), original.uri());
        match self.0.stack.ask(original).await {
            Answer::Admitted { head, .. } => admitted(&head.headers, stripped),
            Answer::Refused { head, body } => {
                let body = to_bytes(body, MAX_BODY).await.unwrap_or_default();
                denied(head.status, &head.headers, String::from_utf8_lossy(&body).into_owned())
            }
        }
    }
}

/// Returns the original request, or `None` if it cannot be read.
fn original(attributes: AttributeContext) -> Option<Request<()>> {
    let peer = attributes.source.and_then(|source| source.address?.socket_address?.address.parse::<IpAddr>().ok());
    let HttpRequest { method, headers, path, host, header_map } = attributes.request?.http?;
    let mut request = Request::new(());
    *request.method_mut() = Method::from_bytes(method.as_bytes()).ok()?;
    *request.uri_mut() = parse_target(path.as_bytes())?;
    let lines = match header_map {
        Some(map) => map
            .headers
            .into_iter()
            .map(|Header { key, value, raw_value }| {
                let value = if raw_value.is_empty() { value.into_bytes() } else { raw_value };
                (key, value)
            })
            .collect(),
        None => headers.into_iter().map(|(name, value)| (name, value.into_bytes())).collect::<Vec<_>>(),
    };
    for (name, value) in lines {
        // The pseudo-headers of HTTP/2 are the method, the path and the host.
        if name.starts_with(':') {
            continue;
        }
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        request.headers_mut().append(name, HeaderValue::from_bytes(&value).ok()?);
    }
    if !host.is_empty() {
        request.headers_mut().insert(HOST, HeaderValue::from_str(&host).ok()?);
    }
    if let Some(peer) = peer {
        request.extensions_mut().insert(PeerAddress(peer));
    }
    let transport = transport(request.headers());
    request.extensions_mut().insert(transport);
    Some(request)
}

/// Returns how the request came to Envoy.
fn transport(headers: &HeaderMap) -> Transport {
    let mut schemes = headers.get_all("x-forwarded-proto").iter();
    match (schemes.next(), schemes.next()) {
        (Some(scheme), None) if scheme.as_bytes().eq_ignore_ascii_case(b"https") => Transport::Tls,
        _ => Transport::Clear,
    }
}

fn admitted(identity: &HeaderMap, stripped: Stripped) -> CheckResponse {
    let is_identity = |name: &HeaderName| name.as_str().starts_with("x-auth-");
    let identity = identity.iter().filter(|(name, _)| is_identity(name));
    let replaced = stripped.replaced.iter().map(|(name, value)| (name, value));
    let response = OkHttpResponse {
        headers: identity.chain(replaced).filter_map(option).collect(),
        headers_to_remove: stripped.headers.iter().map(ToString::to_string).collect(),
        query_parameters_to_remove: stripped.parameters,
    };
    CheckResponse { status: Some(Status { code: 0 }), http_response: Some(HttpResponse::Ok(response)) }
}

/// The code is never 0.
fn denied(status: StatusCode, headers: &HeaderMap, body: String) -> CheckResponse {
    let status = if status.is_success() { StatusCode::INTERNAL_SERVER_ERROR } else { status };
    let is_of_body = |name: &HeaderName| [CONTENT_LENGTH, TRANSFER_ENCODING, CONNECTION].contains(name);
    let response = DeniedHttpResponse {
        status: Some(HttpStatus { code: status.as_u16().into() }),
        headers: headers.iter().filter(|(name, _)| !is_of_body(name)).filter_map(option).collect(),
        body,
    };
    let code = if status == StatusCode::UNAUTHORIZED { UNAUTHENTICATED } else { PERMISSION_DENIED };
    CheckResponse { status: Some(Status { code }), http_response: Some(HttpResponse::Denied(response)) }
}

fn option((name, value): (&HeaderName, &HeaderValue)) -> Option<HeaderOption> {
    let header = Header { key: name.to_string(), value: value.to_str().ok()?.to_owned(), raw_value: Vec::new() };
    Some(HeaderOption { header: Some(header), append: None, append_action: OVERWRITE })
}
