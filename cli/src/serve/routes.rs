//! The routers, each with the address on which it is served.

use std::{fs, future::ready, net::SocketAddr};

use axum::{Router, extract::Request, middleware::map_request};
use metrics_exporter_prometheus::PrometheusHandle;
use tower_api_key::{
    Owner, Principal,
    dashboard::DashboardBuilder,
    gateway::{Gateway, Verification},
    manage::Actor,
};

use super::{monitoring, service::Service};
use crate::{
    config::{Config, DashboardConfig, GatewayConfig, RouteTable, ServeConfig},
    exit::Failure,
};

/// A router, and where it is served.
pub(super) struct Served {
    pub(super) what: &'static str,
    pub(super) address: SocketAddr,
    pub(super) router: Router,
    /// HTTP/2 without TLS, beside HTTP/1.
    pub(super) accepts_http2: bool,
}

/// Makes the routers that the configuration asks for.
pub(super) fn routers(
    config: &Config,
    service: &Service,
    metrics: Option<PrometheusHandle>,
) -> Result<Vec<Served>, Failure> {
    let serve = &config.serve;
    let mut served = Vec::new();
    if serve.management.is_some() || serve.dashboard.is_some() || serve.verification.is_some() {
        served.push(Served {
            what: "public",
            address: serve.listen,
            router: keys(config, service)?,
            accepts_http2: false,
        });
    }
    if let Some(gateway) = &serve.gateway {
        served.push(Served {
            what: "gateway",
            address: gateway.listen,
            router: gateway_router(config, gateway, service)?,
            accepts_http2: gateway.kind.over_http().is_none(),
        });
    }
    if served.is_empty() {
        let tables = "[serve.management], [serve.dashboard], [serve.verification] or [serve.gateway]";
        return Err(Failure::Usage(format!("there is nothing to serve: add {tables} to the configuration")));
    }
    if let (Some(settings), Some(metrics)) = (&serve.monitoring, metrics) {
        let router = monitoring::router(service.manager.clone(), metrics);
        served.push(Served { what: "monitoring", address: settings.listen, router, accepts_http2: false });
    }
    Ok(served)
}

/// The management API and the verification of keys need a key. The dashboard has its own sign-in.
fn keys(config: &Config, service: &Service) -> Result<Router, Failure> {
    let serve = &config.serve;
    check_paths(serve)?;
    let mut router = Router::new();
    if let Some(management) = &serve.management {
        let users = serve.administrators.clone();
        let confine = move |request: Request| ready(confined(request, users.as_deref()));
        let api = service.manager.router_at(management.path.as_str(), service.layer.schemes());
        router = router.merge(api.layer(map_request(confine)));
    }
    if let Some(verification) = &serve.verification {
        let verify = Verification::new(&service.asked, serve.routes.as_ref().map(RouteTable::guard)).router();
        router = router.nest(verification.path.as_str(), verify);
    }
    if router.has_routes() {
        // Outside of the mounted routers, so that the log has the whole path.
        router = router.route_layer(service.layer.clone());
    }
    if let Some(dashboard) = &serve.dashboard {
        router = router.merge(page(config, dashboard, service)?);
    }
    Ok(router)
}

/// Each router has paths of its own. Only the dashboard may be at `/`.
fn check_paths(serve: &ServeConfig) -> Result<(), Failure> {
    let wrong = |why: &str| Err(Failure::Usage(format!("[serve]: {why}")));
    let others = [
        serve.management.as_ref().map(|management| &management.path),
        serve.verification.as_ref().map(|verification| &verification.path),
    ];
    let others: Vec<_> = others.into_iter().flatten().collect();
    let page = serve.dashboard.as_ref().map(|dashboard| &dashboard.path);
    if others.iter().any(|path| path.as_str() == "/") {
        return wrong("only the dashboard may have the path /");
    }
    let mut pairs = others.iter().copied().zip(others.iter().copied().skip(1)).collect::<Vec<_>>();
    pairs.extend(page.into_iter().flat_map(|page| others.iter().map(move |other| (*other, page))));
    for (one, other) in pairs {
        let is_beside_the_page = other.as_str() == "/" && !is_of_the_page(one.as_str());
        if !is_beside_the_page && (one.is_within(other) || other.is_within(one)) {
            return wrong("two routers have the same path, or one is below the other");
        }
    }
    Ok(())
}

/// Returns whether a dashboard at `/` has this path: its files, and `/manage`.
fn is_of_the_page(path: &str) -> bool {
    path.split('/').nth(1).is_some_and(|first| first == "manage" || first.contains('.'))
}

fn page(config: &Config, settings: &DashboardConfig, service: &Service) -> Result<Router, Failure> {
    let mut page =
        service.manager.dashboard().sign_in_with_keys(&service.layer).secure_cookies(settings.secure_cookies);
    page = settings.title.iter().fold(page, DashboardBuilder::title);
    if let Some(path) = &settings.stylesheet {
        let css = fs::read_to_string(path)
            .map_err(|error| Failure::Usage(format!("[serve.dashboard] stylesheet: {}: {error}", path.display())))?;
        page = page.stylesheet(css);
    }
    if let Some(users) = config.serve.administrators.clone() {
        page = page.administrators(move |actor| is_administrator(actor, &users));
    }
    let page = match settings.path.as_str() {
        "/" => page.router(),
        path => page.router_at(path),
    };
    page.map_err(|error| Failure::Usage(format!("[serve.dashboard]: {error}")))
}

/// Confines the key of a member to the keys of its owner, as the page does.
fn confined(mut request: Request, administrators: Option<&[String]>) -> Request {
    let actor = request.extensions().get::<Principal>().map(Actor::from);
    if let (Some(actor), Some(users)) = (actor, administrators) {
        let actor = if is_administrator(&actor, users) { actor } else { actor.own_keys_only() };
        request.extensions_mut().insert(actor);
    }
    request
}

/// Members cannot make the keys of bots, so the key of a bot is that of an administrator.
fn is_administrator(actor: &Actor, users: &[String]) -> bool {
    match actor.owner() {
        Some(Owner::User(user)) => users.contains(user),
        Some(Owner::ServiceAccount) => true,
        Some(_) | None => false,
    }
}

fn gateway_router(config: &Config, settings: &GatewayConfig, service: &Service) -> Result<Router, Failure> {
    let Some(routes) = &config.serve.routes else {
        return Err(Failure::Usage(
            "[serve.gateway] needs the routes of your services: add [[serve.routes]]".to_owned(),
        ));
    };
    let gateway = Gateway::new(&service.asked, routes.guard());
    Ok(match settings.kind.over_http() {
        Some(kind) => gateway.router(kind),
        None => Router::new().route_service("/envoy.service.auth.v3.Authorization/{*method}", gateway.grpc()),
    })
}
