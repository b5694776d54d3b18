//! Traefik and APISIX, which no package registry of the tests has: what their documentation and
//! their source say they do, with the lists of the guide.
//!
//! Traefik: `pkg/middlewares/auth/forward.go`. APISIX: `apisix/plugins/forward-auth.lua`.

use http::{HeaderMap, HeaderName, HeaderValue, Request};
use tower_api_key::{
    gateway::{Gateway, GatewayKind},
    layer::ApiKeyLayerBuilder,
};

use super::{Answered, ask, layer, original, router, table};
use crate::support::{LIVE, UNKNOWN};

const GUIDE: &str = include_str!("../../../docs/guide/src/gateways.md");

/// Returns the names in a list of the configuration under this heading.
fn listed(heading: &str, list: &str) -> Vec<HeaderName> {
    let section = GUIDE.split("\n## ").find(|section| section.starts_with(heading)).unwrap();
    let block = section.split("```").nth(1).unwrap();
    let (_, rest) = block.split_once(&format!("{list}:")).unwrap();
    let line = rest.lines().next().unwrap().trim();
    let names: Vec<&str> = if let Some(names) = line.strip_prefix('[') {
        names.trim_end_matches(']').split(", ").collect()
    } else {
        let items = rest.lines().skip(1).map_while(|line| line.trim().strip_prefix("- "));
        items.map(|item| item.split_whitespace().next().unwrap()).collect()
    };
    assert!(names.len() > 1, "{list}: {names:?}");
    names.into_iter().map(|name| name.parse().unwrap()).collect()
}

fn set(headers: &mut HeaderMap, name: &'static str, value: &str) {
    headers.insert(name, HeaderValue::from_str(value).unwrap());
}

/// Writes the headers that both gateways set, whatever the client has sent.
fn write_forwarded(headers: &mut HeaderMap, client: &Request<()>) {
    set(headers, "x-forwarded-proto", "http");
    set(headers, "x-forwarded-method", client.method().as_str());
    set(headers, "x-forwarded-host", "acme.example");
    set(headers, "x-forwarded-uri", &client.uri().to_string());
    set(headers, "x-forwarded-for", "192.0.2.7");
}

async fn answer(kind: GatewayKind, headers: HeaderMap) -> Answered {
    let gateway = Gateway::new(&layer(ApiKeyLayerBuilder::optional), table());
    let mut question = Request::get("/ask").body(axum::body::Body::empty()).unwrap();
    *question.headers_mut() = headers;
    ask(router(&gateway, kind), kind, question).await
}

/// Returns the headers that the service gets, or the answer that the client gets.
async fn traefik(client: &Request<()>) -> Result<HeaderMap, Answered> {
    let mut headers = client.headers().clone();
    write_forwarded(&mut headers, client);
    let answer = answer(GatewayKind::Traefik, headers).await;
    if !answer.status.is_success() {
        return Err(answer);
    }
    let mut request = client.headers().clone();
    for name in listed("Traefik", "authResponseHeaders") {
        request.remove(&name);
        for value in answer.headers.get_all(&name) {
            request.append(&name, value.clone());
        }
    }
    Ok(request)
}

async fn apisix(client: &Request<()>) -> Result<HeaderMap, Answered> {
    let mut headers = HeaderMap::new();
    write_forwarded(&mut headers, client);
    for name in listed("APISIX", "request_headers") {
        if !headers.contains_key(&name)
            && let Some(value) = client.headers().get(&name)
        {
            headers.insert(name, value.clone());
        }
    }
    let mut answer = answer(GatewayKind::Apisix, headers).await;
    if answer.status.as_u16() >= 300 {
        let sent = listed("APISIX", "client_headers");
        answer.headers =
            sent.iter().filter_map(|name| Some((name.clone(), answer.headers.get(name)?.clone()))).collect();
        return Err(answer);
    }
    let mut request = client.headers().clone();
    for name in listed("APISIX", "upstream_headers") {
        match answer.headers.get(&name) {
            Some(value) => _ = request.insert(name, value.clone()),
            None => _ = request.remove(name),
        }
    }
    Ok(request)
}

#[tokio::test]
async fn traefik_and_apisix_forward_the_identity_and_not_the_key() {
    let bearer = format!("Bearer {LIVE}");
    let forged = [
        ("x-auth-owner", "user:root"),
        ("x-auth-scope", "admin:delete"),
        ("x-forwarded-method", "GET"),
        ("x-forwarded-uri", "/health"),
        ("x-forwarded-host", "other.example"),
    ];
    for key in [("x-api-key", LIVE), ("authorization", bearer.as_str())] {
        let headers = [&forged[..], &[key]].concat();
        let client = original("GET", "/links/7?page=2", &headers);
        for got in [traefik(&client).await.unwrap(), apisix(&client).await.unwrap()] {
            assert_eq!(got["x-auth-key-id"], "live");
            assert_eq!(got["x-auth-owner"], "user:alice");
            assert_eq!(got["x-auth-scope"], "links:create links:read");
            assert!(!format!("{got:?}").contains(LIVE), "{got:?}");
        }
        for (method, target) in [("DELETE", "/admin"), ("GET", "/forgotten"), ("GET", "//links")] {
            let client = original(method, target, &headers);
            assert_eq!(traefik(&client).await.unwrap_err().status, 403);
            assert_eq!(apisix(&client).await.unwrap_err().status, 403);
        }
    }
    let client = original("GET", "/health", &forged);
    for got in [traefik(&client).await.unwrap(), apisix(&client).await.unwrap()] {
        assert!(["x-auth-key-id", "x-auth-owner", "x-auth-scope"].iter().all(|name| got[*name].is_empty()), "{got:?}");
    }
    let client = original("GET", "/links", &[("x-api-key", UNKNOWN)]);
    for answer in [traefik(&client).await.unwrap_err(), apisix(&client).await.unwrap_err()] {
        assert_eq!((answer.status.as_u16(), answer.header("www-authenticate").is_some()), (401, true));
    }
}
