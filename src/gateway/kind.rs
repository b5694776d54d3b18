//! The odd rules of each gateway, in one table.

use http::{HeaderName, HeaderValue, StatusCode};

/// A gateway that sends an authorization request before it forwards a request.
/// [`Gateway`](super::Gateway) has an example, and the [module](super) a table of what each sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GatewayKind {
    /// nginx with `auth_request`. The configuration sets `X-Original-Method` and `X-Original-URI`.
    Nginx,
    /// Traefik with the middleware `ForwardAuth`.
    Traefik,
    /// Caddy with `forward_auth`.
    Caddy,
    /// Envoy with the filter `ext_authz` over HTTP. For gRPC, see
    #[cfg_attr(feature = "gateway-grpc", doc = "[`Gateway::grpc`](super::Gateway::grpc).")]
    #[cfg_attr(not(feature = "gateway-grpc"), doc = "the feature `gateway-grpc`.")]
    Envoy,
    /// Apache APISIX with the plugin `forward-auth`.
    Apisix,
}

/// Where a gateway writes the parts of the original request, and what it does with a response.
#[derive(Clone, Debug)]
pub(super) struct Preset {
    pub(super) target: Target,
    /// The header with the original host, if it is not `Host`.
    pub(super) host: Option<HeaderName>,
    pub(super) refusals: Refusals,
    /// Whether the gateway removes the headers that the response lists.
    pub(super) removes_listed: bool,
}

/// The place of the original method and of the original path with its query.
#[derive(Clone, Debug)]
pub(super) enum Target {
    /// The request to this service has them, below the path of the router.
    Own,
    Headers {
        method: HeaderName,
        uri: HeaderName,
    },
}

/// What a gateway does with a response other than 2xx.
#[derive(Clone, Copy, Debug)]
pub(super) enum Refusals {
    /// It sends the response to the client, or rejects the request with a status of its own.
    Forwarded,
    /// It forwards 401 and 403 only, and takes every other status for a failure of this service. So
    /// the response is 403, with the status in a header.
    In403,
}

/// The headers that Traefik, Caddy and APISIX write.
const FORWARDED: Target = Target::Headers {
    method: HeaderName::from_static("x-forwarded-method"),
    uri: HeaderName::from_static("x-forwarded-uri"),
};
const FORWARDED_HOST: Option<HeaderName> = Some(HeaderName::from_static("x-forwarded-host"));

/// The header with the status that the client should get.
pub(super) const AUTH_STATUS: HeaderName = HeaderName::from_static("x-auth-status");

impl GatewayKind {
    /// The table. A test compares the one of the guide with it.
    pub(super) fn preset(self) -> Preset {
        match self {
            Self::Nginx => Preset {
                target: Target::Headers {
                    method: HeaderName::from_static("x-original-method"),
                    uri: HeaderName::from_static("x-original-uri"),
                },
                host: None,
                refusals: Refusals::In403,
                removes_listed: false,
            },
            Self::Traefik | Self::Caddy | Self::Apisix => {
                Preset { target: FORWARDED, host: FORWARDED_HOST, refusals: Refusals::Forwarded, removes_listed: false }
            }
            Self::Envoy => {
                Preset { target: Target::Own, host: None, refusals: Refusals::Forwarded, removes_listed: true }
            }
        }
    }
}

impl Refusals {
    /// Returns the status of the response for a rejection, and the value of [`AUTH_STATUS`] if the
    /// two differ.
    pub(super) fn answer(self, status: StatusCode) -> (StatusCode, Option<HeaderValue>) {
        // A rejection is never a 2xx, whatever rendered it.
        let status =
            if status.is_success() || status.is_informational() { StatusCode::INTERNAL_SERVER_ERROR } else { status };
        match self {
            Self::In403 if !matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
                (StatusCode::FORBIDDEN, Some(HeaderValue::from(status.as_u16())))
            }
            Self::In403 | Self::Forwarded => (status, None),
        }
    }
}
