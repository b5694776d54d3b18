//! The table "What differs" of the guide is what the code does.

use axum::body::Body;
use http::Request;
use tower_api_key::{
    Rejection, Require,
    gateway::{Gateway, GatewayKind},
};

use super::{ask, layer, router};
use crate::support::LIVE;

const GUIDE: &str = include_str!("../../../docs/guide/src/gateways.md");

/// Returns the cells of the row of a gateway.
fn row(gateway: &str) -> Vec<&'static str> {
    let section = GUIDE.split("\n## ").find(|section| section.starts_with("What differs\n")).expect("the section");
    let mut rows = section.lines().filter(|line| line.starts_with('|'));
    let row = rows.find(|row| row.split('|').nth(1).is_some_and(|name| name.trim() == gateway));
    row.unwrap_or_else(|| panic!("no row of {gateway}")).split('|').map(str::trim).collect()
}

#[tokio::test]
async fn the_table_of_the_guide_has_the_headers_and_the_statuses_of_each_kind() {
    let limited = || Require::check(|_, _| Err(Rejection::too_many_requests(std::time::Duration::from_secs(7))));
    for (name, kind) in [
        ("nginx", GatewayKind::Nginx),
        ("Caddy", GatewayKind::Caddy),
        ("Envoy, HTTP", GatewayKind::Envoy),
        ("Traefik", GatewayKind::Traefik),
        ("APISIX", GatewayKind::Apisix),
    ] {
        let cells = row(name);
        let headers: Vec<&str> = cells[2].split('`').skip(1).step_by(2).collect();
        assert_eq!(headers.is_empty(), kind == GatewayKind::Envoy, "{name}: {headers:?}");
        let send = async |guard: Require, left_out: Option<&str>| {
            let mut request = Request::get("/ask/links/7").header("x-api-key", LIVE);
            for (header, value) in headers.iter().zip(["GET", "/links/7"]).filter(|row| Some(*row.0) != left_out) {
                request = request.header(*header, value);
            }
            ask(router(&Gateway::new(&layer(|layer| layer), guard), kind), kind, request.body(Body::empty()).unwrap())
                .await
        };
        let is_403 = cells[4].starts_with("403 with `X-Auth-Status`");
        let answer = send(limited(), None).await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("x-auth-status").is_some()),
            (if is_403 { 403 } else { 429 }, is_403)
        );
        assert_eq!(send(super::table(), None).await.status, 200, "{name}");
        for header in &headers {
            assert_eq!(send(super::table(), Some(header)).await.status_for_client(), 500, "{name} without {header}");
        }
    }
}
