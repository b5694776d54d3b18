//! `[serve]`: what `tower-api-key serve` serves, and where.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use serde::{Deserialize, Deserializer, de::Error};
use tower_api_key::{address::Network, gateway::GatewayKind};

use super::RouteTable;
use crate::when;

/// The addresses and paths of the service.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ServeConfig {
    /// Where the management API, the dashboard and the verification of keys are served.
    pub(crate) listen: SocketAddr,
    /// The proxies whose `X-Forwarded-For` names the client. Without any, the client is the peer.
    pub(crate) trusted_proxies: Vec<Network>,
    /// The users that see and change every key of their organization, over HTTP and on the page.
    /// Other users have their own keys only. Without it, every key with a permission on `apiKeys`
    /// reaches its whole organization.
    pub(crate) administrators: Option<Vec<String>>,
    /// How long requests have to end after a signal.
    #[serde(deserialize_with = "duration")]
    pub(crate) shutdown_timeout: Duration,
    /// What each route of your services requires, for the gateway and the verification.
    pub(crate) routes: Option<RouteTable>,
    pub(crate) management: Option<ManagementConfig>,
    pub(crate) dashboard: Option<DashboardConfig>,
    pub(crate) verification: Option<VerificationConfig>,
    pub(crate) gateway: Option<GatewayConfig>,
    pub(crate) monitoring: Option<MonitoringConfig>,
}

/// `[serve.management]`: the management API.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ManagementConfig {
    pub(crate) path: MountPath,
}

/// `[serve.dashboard]`: the page.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DashboardConfig {
    pub(crate) path: MountPath,
    /// Whether the cookie of a session needs TLS between the browser and the proxy (default: yes).
    #[serde(default = "yes")]
    pub(crate) secure_cookies: bool,
    /// The heading of the page.
    pub(crate) title: Option<String>,
    /// A file with CSS that sets the variables of the page.
    pub(crate) stylesheet: Option<PathBuf>,
}

/// `[serve.verification]`: introspection (RFC 7662) and the verification of many keys.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct VerificationConfig {
    pub(crate) path: MountPath,
}

/// `[serve.gateway]`: the answers for a gateway, on an address that only the gateway can reach.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GatewayConfig {
    pub(crate) listen: SocketAddr,
    pub(crate) kind: GatewayProtocol,
}

/// `[serve.monitoring]`: `/healthz`, `/readyz` and `/metrics`, which need no key.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MonitoringConfig {
    pub(crate) listen: SocketAddr,
}

/// The gateway, and the protocol in which it asks.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum GatewayProtocol {
    Nginx,
    Traefik,
    Caddy,
    Envoy,
    Apisix,
    EnvoyGrpc,
}

/// The path of a router: `/`, or a path without parameters and without a slash at its end.
#[derive(Clone, Debug)]
pub(crate) struct MountPath(String);

// === impl ServeConfig ===

impl Default for ServeConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            trusted_proxies: Vec::new(),
            administrators: None,
            shutdown_timeout: Duration::from_secs(30),
            routes: None,
            management: None,
            dashboard: None,
            verification: None,
            gateway: None,
            monitoring: None,
        }
    }
}

// === impl GatewayProtocol ===

impl GatewayProtocol {
    /// Returns the gateway that asks over HTTP; `None` for gRPC.
    pub(crate) fn over_http(self) -> Option<GatewayKind> {
        Some(match self {
            Self::Nginx => GatewayKind::Nginx,
            Self::Traefik => GatewayKind::Traefik,
            Self::Caddy => GatewayKind::Caddy,
            Self::Envoy => GatewayKind::Envoy,
            Self::Apisix => GatewayKind::Apisix,
            Self::EnvoyGrpc => return None,
        })
    }
}

// === impl MountPath ===

impl MountPath {
    pub(crate) fn new(path: &str) -> Result<Self, &'static str> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-_.~".contains(&byte);
        let has_empty_segment =
            path.len() > 1 && path.split('/').skip(1).any(|segment| matches!(segment, "" | "." | ".."));
        if !path.starts_with('/') || !path.bytes().all(is_plain) || has_empty_segment {
            return Err("a path is / or such as /api/keys, of letters, digits and -_.~");
        }
        Ok(Self(path.to_owned()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns whether the router at the other path would also get requests below this one.
    pub(crate) fn is_within(&self, other: &Self) -> bool {
        let rest = self.0.strip_prefix(other.0.trim_end_matches('/'));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// Returns the path of `rest`, such as `/self`, below this one.
    pub(crate) fn under(&self, rest: &str) -> String {
        format!("{}{rest}", self.0.trim_end_matches('/'))
    }
}

impl<'de> Deserialize<'de> for MountPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    when::duration(&String::deserialize(deserializer)?).map_err(D::Error::custom)
}

fn yes() -> bool {
    true
}
