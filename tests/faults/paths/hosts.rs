//! P3: the organization in the host name, from the request's target and from `Host`.

use crate::support::{Api, Body, LIVE, Observed, TestApi, accepted, add, path, refused, x_api_key};
use http::{Request, Version};
use tower_api_key::{ConfigError, Reason, Require};

fn api(organization: &str) -> TestApi {
    let guard = Require::organization_in_host("{organization}.Example.com").unwrap();
    Api::new().key("k1", LIVE, |key| key.with_organization(organization)).guard(guard).run()
}

/// Returns a request for this target with these `Host` headers.
fn request(target: &str, hosts: &[&str]) -> Request<Body> {
    let mut request = path(x_api_key(LIVE), target);
    for host in hosts {
        add(&mut request, "host", host);
    }
    request
}

fn foreign() -> Observed {
    refused(Reason::ForeignResource, 403)
}

#[tokio::test]
async fn p03_an_organization_is_named_by_target_and_host_together() {
    const OWN: &str = "http://org_a.example.com/data";
    let api = api("org_a");
    for (target, hosts, is_own) in [
        ("/data", &["org_a.example.com"][..], true),
        ("/data", &["ORG_A.example.COM:8080"], true),
        ("/data", &["org_a.example.com."], true),
        (OWN, &[], true),
        (OWN, &["org_a.example.com"], true),
        ("http://ORG_A.example.com.:8080/data", &["org_a.example.com:81"], true),
        ("/data", &[], false),
        ("/data", &[""], false),
        ("/data", &["org_b.example.com"], false),
        ("/data", &["example.com"], false),
        ("/data", &["x.org_a.example.com"], false),
        ("/data", &["org_a.example.com.evil.example"], false),
        ("/data", &["org_a.example.com", "org_a.example.com"], false),
        ("/data", &["org_a.example.com", "org_b.example.com"], false),
        ("/data", &["org_a.example.com, org_b.example.com"], false),
        ("/data", &["org_a.example.com@org_b.example.com"], false),
        ("/data", &["u@org_a.example.com"], false),
        ("/data", &["org_a.example.com/"], false),
        ("/data", &["org_a.example.com:x"], false),
        ("/data", &["org_a%2Eexample.com"], false),
        (OWN, &["org_b.example.com"], false),
        (OWN, &[""], false),
        (OWN, &["org_a.example.com", "org_a.example.com"], false),
        ("http://org_b.example.com/data", &["org_a.example.com"], false),
        ("http://u@org_a.example.com/data", &["org_a.example.com"], false),
        ("http://org_b.example.com/data", &[], false),
    ] {
        let expected = if is_own { accepted() } else { foreign() };
        assert_eq!(api.call(request(target, hosts)).await, expected, "{target} {hosts:?}");
    }
    for name in ["x-forwarded-host", "forwarded", "x-host", "x-original-host"] {
        let mut forwarded = request("/data", &["org_b.example.com"]);
        add(&mut forwarded, name, "org_a.example.com");
        assert_eq!(api.call(forwarded).await, foreign(), "{name}");
    }
    let mut http2 = request("https://org_a.example.com/data", &[]);
    *http2.version_mut() = Version::HTTP_2;
    assert_eq!(api.call(http2).await, accepted());
}

#[test]
fn p03_a_host_template_is_checked_when_it_is_built() {
    for template in ["example.com", "{organization}", "{a}.{b}.com", "{organization}.example.com:8080"] {
        let refused = Require::organization_in_host(template).err();
        assert_eq!(refused, Some(ConfigError::HostTemplate(template.into())), "{template}");
    }
}

/// The absolute form (RFC 9112 §3.2.2) on a real server, also under `nest`.
#[cfg(feature = "axum")]
#[tokio::test]
async fn p03_a_server_of_hyper_refuses_a_target_and_a_host_that_differ() {
    use axum::{Router, routing::get};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, TcpStream},
    };
    use tower_api_key::{ApiKey, ApiKeyLayer, KeyHasher, KeyRecord, store::MemoryStore};

    let keys = MemoryStore::new();
    let record = KeyRecord::for_key("k1", &ApiKey::new(LIVE).unwrap(), &KeyHasher::sha256());
    keys.add(record.with_organization("org_a")).unwrap();
    let guarded = Router::new().route("/data", get("data")).layer(Require::organization_in_host("{o}.x").unwrap());
    let app = guarded.clone().nest("/api", guarded).layer(ApiKeyLayer::builder(keys).build().unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move { axum::serve(listener, app).await });
    for (target, hosts, status) in [
        ("/data", "Host: org_a.x\r\n", "200"),
        ("/api/data", "Host: ORG_A.x:80\r\n", "200"),
        ("http://org_a.x/data", "Host: org_a.x\r\n", "200"),
        ("http://org_a.x/api/data", "Host: org_a.x\r\n", "200"),
        ("http://org_a.x/data", "Host: org_b.x\r\n", "403"),
        ("http://org_b.x/data", "Host: org_a.x\r\n", "403"),
        ("http://org_a.x/api/data", "Host: org_b.x\r\n", "403"),
        ("http://org_b.x/api/data", "Host: org_a.x\r\n", "403"),
        ("/data", "Host: org_b.x\r\nX-Forwarded-Host: org_a.x\r\n", "403"),
        ("/data", "Host: org_a.x\r\nHost: org_a.x\r\n", "403"),
        ("/data", "", "403"),
    ] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {target} HTTP/1.1\r\n{hosts}X-API-Key: {LIVE}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert_eq!(answer.get(9..12), Some(status), "{target} {hosts:?}");
    }
    server.abort();
}

/// The same over HTTP/2, where the host is in `:authority` and a `Host` may be sent too.
#[cfg(feature = "axum")]
#[tokio::test]
async fn p03_an_authority_and_a_host_that_differ_are_refused_over_http2() {
    use axum::{Router, routing::get};
    use hyper_util::{
        client::legacy::Client,
        rt::{TokioExecutor, TokioIo},
        server::conn::auto::Builder,
        service::TowerToHyperService,
    };
    use tokio::net::{TcpListener, TcpStream};
    use tower_api_key::{ApiKey, ApiKeyLayer, KeyHasher, KeyRecord, store::MemoryStore};

    let keys = MemoryStore::new();
    let record = KeyRecord::for_key("k1", &ApiKey::new(LIVE).unwrap(), &KeyHasher::sha256());
    keys.add(record.with_organization("org_a")).unwrap();
    let guarded = Router::new().route("/data", get("data")).layer(Require::organization_in_host("{o}.x").unwrap());
    let app = guarded.clone().nest("/api", guarded).layer(ApiKeyLayer::builder(keys).build().unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let app = TowerToHyperService::new(app.clone());
            tokio::spawn(async move {
                let connection = Builder::new(TokioExecutor::new());
                let _ = connection.http2_only().serve_connection(TokioIo::new(stream), app).await;
            });
        }
    });
    let connect = tower::service_fn(move |_: http::Uri| {
        Box::pin(async move { TcpStream::connect(address).await.map(TokioIo::new) })
    });
    let client = Client::builder(TokioExecutor::new()).http2_only(true).build::<_, Body>(connect);
    for (target, hosts, status) in [
        ("http://org_a.x/data", &[][..], 200),
        ("http://ORG_A.x:8080/api/data", &[], 200),
        ("http://org_a.x/data", &["org_a.x"], 200),
        ("http://org_b.x/data", &[], 403),
        ("http://org_a.x/data", &["org_b.x"], 403),
        ("http://org_b.x/data", &["org_a.x"], 403),
        ("http://org_a.x/api/data", &["org_b.x"], 403),
        ("http://org_b.x/api/data", &["org_a.x"], 403),
        ("http://org_a.x/data", &["org_a.x", "org_b.x"], 403),
        ("http://org_a.x/data", &["org_a.x", "org_a.x"], 403),
        ("http://org_a.x/data", &[""], 403),
    ] {
        let mut sent = request(target, hosts);
        *sent.version_mut() = Version::HTTP_2;
        let answer = client.request(sent).await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.version()), (status, Version::HTTP_2), "{target} {hosts:?}");
    }
    server.abort();
}
