//! Real gateways with the configurations of the guide, in front of a Python service.
#![allow(unreachable_pub, reason = "as in the other files of support")]

mod client;
mod programs;
mod scenes;

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::Router;
use tokio::net::TcpListener;
use tower_api_key::{
    ApiKeyLayer, ClientAddress, KeyRecord, Owner, Rejection, Require, Scheme,
    address::Network,
    gateway::{Gateway, GatewayKind},
    limit::{Limit, Limits, Plans, Rate},
};

use crate::{
    nginx_server::free_port,
    support::{Api, FaultyStore, LIVE, until_within},
};
use client::Connection;
use programs::{Program, Service};

/// A key that may send one request an hour.
const LIMITED: &str = "live_limitedSOoRi4A9spHcVY5ncnsD";
/// A key that is accepted from 127.0.0.5 only.
const BOUND: &str = "live_boundSOoRi4A9spHcVY5ncnsDkx";

/// The ports of the gateway, of the key service, and of the service behind the gateway.
type Ports = [u16; 3];

/// Starts a gateway with these ports.
type Start = fn(Ports) -> Program;

/// The methods and paths that the key service was asked about.
type Asked = Arc<Mutex<Vec<String>>>;

/// A key service, a gateway, and a service behind it.
struct Setup {
    store: FaultyStore,
    asked: Asked,
    address: SocketAddr,
    gateway: Program,
    _service: Service,
}

impl Setup {
    /// Starts all three. The key service answers this kind, or Envoy over gRPC.
    async fn start(kind: Option<GatewayKind>, start: impl FnOnce(Ports) -> Program) -> Self {
        let store = keys();
        let asked = Asked::default();
        let key_service = serve(&store, kind, &asked).await;
        let service = Service::start();
        let port = free_port();
        let gateway = start([port, key_service, service.port]);
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let is_up = async || tokio::net::TcpStream::connect(address).await.is_ok();
        until_within(Duration::from_secs(30), is_up).await;
        Self { store, asked, address, gateway, _service: service }
    }

    async fn connect(&self) -> Connection {
        Connection::open(self.address, [127, 0, 0, 1]).await
    }
}

fn keys() -> FaultyStore {
    let can_read = |record: KeyRecord| {
        let record = record.with_owner(Owner::User("alice".into())).with_organization("acme");
        record.with_environment("live").grant("links", "read")
    };
    let bound = |record: KeyRecord| can_read(record).with_allowed_addresses(Network::list(["127.0.0.5"]).unwrap());
    let limited = |record: KeyRecord| can_read(record).with_plan("once");
    let api = Api::new().key("live", LIVE, can_read).key("limited", LIMITED, limited).key("bound", BOUND, bound);
    api.store
}

/// Serves the answers to a gateway at the root of an address, as `tower-api-key serve` does. Returns
/// the port.
async fn serve(store: &FaultyStore, kind: Option<GatewayKind>, asked: &Asked) -> u16 {
    let asked = Arc::clone(asked);
    let plans = Plans::new().plan("once", [Limit::rate("once", Rate::per_hour(1).burst(1))]).plan("free", []);
    let layer = ApiKeyLayer::builder(store.clone())
        .schemes([Scheme::bearer(), Scheme::x_api_key(), Scheme::cookie("key"), Scheme::query("key")])
        .client_address(ClientAddress::behind(["127.0.0.1"]).x_forwarded_for().unwrap())
        .limits(Limits::in_process(plans.default_plan("free")).build().unwrap())
        .observe(move |decision| asked.lock().unwrap().push(format!("{} {}", decision.method(), decision.path())))
        .optional()
        .grpc()
        .build()
        .unwrap();
    let table = Require::table()
        .open("/health")
        .any("/links/{id}", Require::by_method("links"))
        .route("GET", "/admin", ("admin", "read"))
        .route("GET", "/hidden", Require::permission("admin", "read").hide_as_not_found())
        .route("GET", "/down", Require::check(|_, _| Err(Rejection::unavailable())))
        .build()
        .unwrap();
    let gateway = Gateway::new(&layer, table);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    if let Some(kind) = kind {
        let app: Router = gateway.router(kind);
        let service = app.into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(async move { axum::serve(listener, service).await });
    } else {
        let incoming = tonic::transport::server::TcpIncoming::from(listener);
        let server = tonic::transport::Server::builder().add_service(gateway.grpc());
        tokio::spawn(server.serve_with_incoming(incoming));
    }
    port
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs nginx and Python"]
async fn nginx_with_the_configuration_of_the_guide() {
    let setup = Setup::start(Some(GatewayKind::Nginx), programs::nginx).await;
    scenes::all(&setup, scenes::Expected { retry_after_503: true, strips_more: false, is_envoy: false }).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Caddy and Python"]
async fn caddy_with_the_configuration_of_the_guide() {
    let setup = Setup::start(Some(GatewayKind::Caddy), programs::caddy).await;
    scenes::all(&setup, scenes::Expected { retry_after_503: true, strips_more: false, is_envoy: false }).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Envoy and Python"]
async fn envoy_over_http_with_the_configuration_of_the_guide() {
    let setup = Setup::start(Some(GatewayKind::Envoy), |ports| programs::envoy("Envoy over HTTP", ports)).await;
    scenes::all(&setup, scenes::Expected { retry_after_503: false, strips_more: false, is_envoy: true }).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Envoy and Python"]
async fn envoy_over_grpc_with_the_configuration_of_the_guide() {
    let setup = Setup::start(None, |ports| programs::envoy("Envoy over gRPC", ports)).await;
    scenes::all(&setup, scenes::Expected { retry_after_503: true, strips_more: true, is_envoy: true }).await;
}

/// The gateway runs, and the key service does not. The failures are logged without the key.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs nginx, Caddy, Envoy and Python"]
async fn without_the_key_service_every_request_is_rejected() {
    let starts: [(Start, u16); 4] = [
        (programs::nginx, 500),
        (programs::caddy, 502),
        (|ports| programs::envoy("Envoy over HTTP", ports), 503),
        (|ports| programs::envoy("Envoy over gRPC", ports), 503),
    ];
    for (start, status) in starts {
        let setup = Setup::start(None, |[port, _, service]| start([port, free_port(), service])).await;
        for path in ["/health", "/links/7"] {
            let response = setup.connect().await.get(path, &[("X-API-Key", LIVE)]).await;
            assert_eq!(response.status, status, "{path} {response:?}");
        }
        assert!(!setup.gateway.log().contains(LIVE), "{}", setup.gateway.log());
    }
}
