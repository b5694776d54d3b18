//! Forward authentication, also called external authorization, for nginx, Traefik, Caddy, Envoy and
//! Apache APISIX; and verification of keys for other services.
//!
//! A gateway sends the head of each request here before it forwards the request: this is the
//! *authorization request*. [`Gateway`] makes the *original* request from it and runs that through
//! an [`ApiKeyLayer`] and a [`Require`] guard. So keys, limits, costs, observers, challenges and
//! the format of rejections are those of the layer, and a route table checks the original method
//! and path. The response is 200 with the identity in headers, or the rejection of the layer.
//! [`Verification`] is for services that verify keys themselves: token introspection (RFC 7662),
//! and many keys at once.
//!
//! The page [Gateways](crate::guide::gateways) of the guide has a complete configuration of each
//! gateway, and a table of all that differs. The tests run those of nginx, Caddy and Envoy with the
//! real program. They test Traefik and APISIX by the requests that their documentation and source
//! describe.
//!
//! # What a gateway sends
//!
//! | [`GatewayKind`]              | original method and path                | original host      |
//! |------------------------------|-----------------------------------------|--------------------|
//! | `Nginx`                      | `X-Original-Method`, `X-Original-URI`   | `Host`             |
//! | `Traefik`, `Caddy`, `Apisix` | `X-Forwarded-Method`, `X-Forwarded-Uri` | `X-Forwarded-Host` |
//! | `Envoy`, over HTTP           | its own, below the path of the router   | `Host`             |
//! | Envoy, over gRPC             | in the message                          | in the message     |
//!
//! A client can send all of these headers too. Only those of the kind are read, and the gateway has
//! to overwrite them: Traefik, Caddy and APISIX do, and the configuration of the guide for nginx
//! does. If the method or the path is missing, repeated or malformed, the response is 500; for
//! nginx, which forwards no 500, it is 403 with `X-Auth-Status: 500`. If `X-Forwarded-Host` is
//! missing or repeated, the original request has no `Host`.
//!
//! # The identity
//!
//! | header of the 200     | value                                                               |
//! |-----------------------|---------------------------------------------------------------------|
//! | `X-Auth-Key-Id`       | the id of the key                                                   |
//! | `X-Auth-Owner`        | `user:` and the id of the user, or `bot`                            |
//! | `X-Auth-Organization` | the organization                                                    |
//! | `X-Auth-Environment`  | the environment                                                     |
//! | `X-Auth-Scope`        | the permissions: `links:create links:read`                          |
//!
//! A 200 has all of them. One is empty if the key has no such value, or if the request needs no
//! key: an anonymous request, a skipped path, an open route, a preflight. So a gateway replaces
//! what the client has sent under these names.
//!
//! Spaces, percent signs and all characters but visible ASCII are percent-encoded; in a scope also
//! quotes, backslashes, the colons of an action, and a `*` that is no wildcard. A scope has at most
//! 2,048 bytes, and permissions that do not fit are left out. A key of which another value has more
//! than 512 bytes is rejected with 500. No response contains a key.
//!
//! # Rules
//!
//! - A rejection is never a 2xx, also if the layer serves
//!   [gRPC](crate::layer::ApiKeyLayerBuilder::grpc).
//! - A slot of a [concurrency limit](crate::limit::Limit::concurrency) is free again after the
//!   response to the gateway, not after the request. Such a limit bounds the authorization requests
//!   only: use the limits of the gateway, or protect the service itself with the layer.
//! - [`require_tls`](crate::layer::ApiKeyLayerBuilder::require_tls) and
//!   [`client_address`](crate::layer::ApiKeyLayerBuilder::client_address) need the address of the
//!   gateway in their lists of proxies. Its own connection to this service counts for nothing else.
//! - Only the gateway may reach the router. Do not put it inside of an [`ApiKeyLayer`].

mod identity;
mod kind;
mod original;
mod stack;
mod stripped;
mod verification;

#[cfg(feature = "gateway-grpc")]
mod grpc;

use std::{fmt, sync::Arc};

use axum::{
    Router,
    body::Body,
    extract::Request,
    response::{IntoResponse, Response},
};
use http::{HeaderName, HeaderValue, StatusCode, header::CACHE_CONTROL};

#[cfg(feature = "gateway-grpc")]
pub use grpc::GrpcGateway;
pub use kind::GatewayKind;
pub use verification::Verification;

use crate::{guard::Require, layer::ApiKeyLayer, rejection::Rejection};
use kind::{AUTH_STATUS, Preset};
use original::{Unreadable, original};
use stack::{Answer, Stack};
use stripped::Stripper;

/// Answers the authorization requests of gateways with a layer and a guard.
///
/// ```
/// use axum::{Router, body::Body, http::Request};
/// use tower::ServiceExt;
/// use tower_api_key::{ApiKey, ApiKeyLayer, Require, gateway::{Gateway, GatewayKind}, store::StaticKeys};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let keys = StaticKeys::new([("deploy", ApiKey::new("zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ")?)])?.grant("links", "read");
/// let auth = ApiKeyLayer::builder(keys).build()?;
/// let table = Require::table().any("/links/{*rest}", Require::by_method("links")).build()?;
/// let gateway = Gateway::new(&auth, table);
/// let app: Router = Router::new()
///     .nest("/nginx", gateway.router(GatewayKind::Nginx))
///     .nest("/traefik", gateway.router(GatewayKind::Traefik));
///
/// for (method, status) in [("GET", 200), ("DELETE", 403)] {
///     let request = Request::get("/nginx")
///         .header("x-original-method", method)
///         .header("x-original-uri", "/links/7?page=2")
///         .header("authorization", "Bearer zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ");
///     let response = app.clone().oneshot(request.body(Body::empty())?).await?;
///     assert_eq!(response.status(), status);
///     if status == 200 {
///         assert_eq!(response.headers()["x-auth-key-id"], "deploy");
///         assert_eq!(response.headers()["x-auth-scope"], "links:read");
///     }
/// }
/// # Ok(())
/// # }
/// ```
///
/// To read the addresses of clients, serve the router with `into_make_service_with_connect_info`.
#[derive(Clone)]
#[must_use = "it answers no gateway until its router is served"]
pub struct Gateway(Arc<Shared>);

struct Shared {
    stack: Stack,
    stripper: Stripper,
}

/// The names of the request headers that Envoy removes before it forwards the request.
const HEADERS_TO_REMOVE: HeaderName = HeaderName::from_static("x-envoy-auth-headers-to-remove");

// === impl Gateway ===

impl Gateway {
    /// Answers with this layer, and with this guard inside it. The guard sees the original method,
    /// path and headers. For a service in which every key may do everything, use
    /// [`Require::authenticated`].
    pub fn new(layer: &ApiKeyLayer, guard: Require) -> Self {
        let stack = Stack { layer: layer.clone(), guard };
        Self(Arc::new(Shared { stack, stripper: Stripper::new(layer) }))
    }

    /// Returns a router that answers a gateway of this kind. It takes every method and every path.
    /// Serve it at the root of an address of its own, or nest it under a path, for example at
    /// `/nginx`.
    ///
    /// To nest it for Envoy, use `nest_service`: `nest("/envoy", ..)` does not serve `/envoy/`, so
    /// the original path `/` would be rejected with 404. The path is the `path_prefix` of Envoy's
    /// configuration; at the root, there is none.
    pub fn router<S: Clone + Send + Sync + 'static>(&self, kind: GatewayKind) -> Router<S> {
        let (gateway, preset) = (self.clone(), kind.preset());
        let answer = move |request: Request| {
            let (Self(shared), preset) = (gateway.clone(), preset.clone());
            async move { shared.respond(&preset, request).await }
        };
        Router::new().fallback(answer)
    }

    /// Returns the service `envoy.service.auth.v3.Authorization` for Envoy's `ext_authz` over gRPC.
    #[cfg(feature = "gateway-grpc")]
    pub fn grpc(&self) -> GrpcGateway {
        GrpcGateway::new(self.clone())
    }
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateway").field("stack", &self.0.stack).finish_non_exhaustive()
    }
}

// === impl Shared ===

impl Shared {
    async fn respond(&self, preset: &Preset, request: Request) -> Response {
        let (parts, _) = request.into_parts();
        let original = match original(preset, parts) {
            Ok(original) => original,
            Err(unreadable) => return refused(preset, misconfigured(unreadable)),
        };
        let listed = preset.removes_listed.then(|| {
            let stripped = self.stripper.strip(original.headers(), original.uri());
            stripped.headers.iter().map(HeaderName::as_str).collect::<Vec<_>>().join(",")
        });
        match self.stack.ask(original).await {
            Answer::Admitted { mut head, .. } => {
                let listed = listed.filter(|names| !names.is_empty());
                if let Some(names) = listed.and_then(|names| HeaderValue::from_str(&names).ok()) {
                    head.headers.insert(HEADERS_TO_REMOVE, names);
                }
                Response::from_parts(head, Body::empty())
            }
            Answer::Refused { head, body } => refused(preset, Response::from_parts(head, body)),
        }
    }
}

/// Writes a rejection in the form that the gateway understands.
fn refused(preset: &Preset, mut response: Response) -> Response {
    let (status, for_client) = preset.refusals.answer(response.status());
    *response.status_mut() = status;
    if let Some(for_client) = for_client {
        response.headers_mut().insert(AUTH_STATUS, for_client);
    }
    response
}

/// Returns the response to a request of which the original cannot be read.
fn misconfigured(unreadable: Unreadable) -> Response {
    if unreadable == Unreadable::NotSent {
        // The log entry of the rejection names the cause. A client can write a target that is
        // malformed, so it fills no log.
        drop(Rejection::broken(
            "a gateway's request lacks the original method or path, or has it twice, so it is rejected with 500: \
             compare its configuration with the guide",
        ));
    }
    let no_store = [(CACHE_CONTROL, HeaderValue::from_static("no-store"))];
    (StatusCode::INTERNAL_SERVER_ERROR, no_store).into_response()
}
