//! Tests a key with redirects, over loopback: hyper-util's client, and two origins.

use std::{
    io,
    sync::{Arc, Mutex},
};

use axum::{Router, extract::Request, response::Redirect, routing::get};
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tokio::net::TcpListener;
use tower::{Layer, ServiceBuilder, ServiceExt, util::MapRequestLayer};
use tower_api_key::{ApiKey, ApiKeyLayer, Scheme, client::SendKeyLayer, store::StaticKeys};
use tower_http::follow_redirect::FollowRedirectLayer;

const KEY: &str = "live_zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ";

/// A service on its own port, and the requests that it received.
struct Origin {
    url: String,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Origin {
    async fn bind() -> io::Result<(TcpListener, String)> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        Ok((listener, url))
    }

    fn serve(listener: TcpListener, url: String, app: Router) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let record = Arc::clone(&seen);
        let app = app.layer(MapRequestLayer::new(move |request: Request| {
            let values = request.headers().values().map(|value| String::from_utf8_lossy(value.as_bytes()));
            let line = format!("{} {}", request.uri(), values.collect::<Vec<_>>().join(" "));
            record.lock().unwrap().push(line);
            request
        }));
        tokio::spawn(axum::serve(listener, app).into_future());
        Self { url, seen }
    }

    fn has_seen_the_key(&self) -> bool {
        let secrets = [KEY, &STANDARD.encode(format!("{KEY}:"))].map(str::to_owned);
        self.seen.lock().unwrap().iter().any(|line| secrets.iter().any(|secret| line.contains(secret)))
    }

    /// Returns the paths that were requested since the last call.
    fn paths(&self) -> Vec<String> {
        let lines = std::mem::take(&mut *self.seen.lock().unwrap());
        lines.iter().map(|line| line.split([' ', '?']).next().unwrap().to_owned()).collect()
    }
}

/// Two origins: one rejects requests without the key, the other accepts all requests.
async fn two_origins(scheme: &Scheme) -> (Origin, Origin) {
    let (home_listener, home) = Origin::bind().await.unwrap();
    let (away_listener, away) = Origin::bind().await.unwrap();
    let auth = ApiKeyLayer::builder(StaticKeys::new([("caller", ApiKey::new(KEY).unwrap())]).unwrap());
    let to = |target: String| get(async move || Redirect::temporary(&target));
    let elsewhere = away.clone();
    let repeated = async move |request: Request| {
        Redirect::permanent(&format!("{elsewhere}/landed?{}", request.uri().query().unwrap_or("a")))
    };
    let at_home = Router::new()
        .route("/inside", to("/landed".to_owned()))
        .route("/elsewhere", to(format!("{away}/landed")))
        .route("/there-and-back", to(format!("{away}/back")))
        .route("/repeated", get(repeated))
        .fallback(async || "at home")
        .layer(auth.schemes(scheme.clone()).build().unwrap());
    let away_app = Router::new().route("/back", to(format!("{home}/landed"))).fallback(async || "away");
    (Origin::serve(home_listener, home, at_home), Origin::serve(away_listener, away, away_app))
}

fn hyper() -> Client<HttpConnector, Full<Bytes>> {
    Client::builder(TokioExecutor::new()).build_http()
}

fn send_key(origin: &Origin, scheme: &Scheme) -> SendKeyLayer {
    SendKeyLayer::new(&origin.url, scheme.clone(), &ApiKey::new(KEY).unwrap()).unwrap()
}

#[tokio::test]
async fn a_redirect_to_another_origin_does_not_take_the_key_along() {
    for scheme in [
        Scheme::bearer(),
        Scheme::authorization("Acme"),
        Scheme::x_api_key(),
        Scheme::header_with_prefix("x-auth", "Key"),
        Scheme::basic(),
        Scheme::cookie("session"),
        Scheme::websocket_protocol("api-key"),
        Scheme::query("api_key"),
    ] {
        let (home, away) = two_origins(&scheme).await;
        let layers = ServiceBuilder::new().layer(FollowRedirectLayer::new()).layer(send_key(&home, &scheme));
        let client = layers.service(hyper());
        for (path, landed, at_home, abroad) in [
            ("/landed", "at home", &["/landed"][..], &[][..]),
            ("/inside", "at home", &["/inside", "/landed"], &[]),
            ("/elsewhere", "away", &["/elsewhere"], &["/landed"]),
            ("/repeated", "away", &["/repeated"], &["/landed"]),
            ("/there-and-back", "at home", &["/there-and-back", "/landed"], &["/back"]),
        ] {
            let request = http::Request::get(format!("{}{path}", home.url)).body(Full::default()).unwrap();
            let response = client.clone().oneshot(request).await.unwrap();
            assert_eq!(response.status(), 200, "{scheme} {path}");
            let body = response.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(body, landed, "{scheme} {path}");
            assert!(home.has_seen_the_key() && !away.has_seen_the_key(), "{scheme} {path}");
            assert_eq!((home.paths(), away.paths()), (owned(at_home), owned(abroad)), "{scheme} {path}");
        }
    }
}

/// The reason for the documented order, and a leak that the origins of this file detect.
#[tokio::test]
async fn a_follower_inside_takes_a_private_header_along() {
    let scheme = Scheme::x_api_key();
    let (home, away) = two_origins(&scheme).await;
    let client = send_key(&home, &scheme).layer(FollowRedirectLayer::new().layer(hyper()));
    let request = http::Request::get(format!("{}/elsewhere", home.url)).body(Full::default()).unwrap();
    assert_eq!(client.oneshot(request).await.unwrap().status(), 200);
    assert!(away.has_seen_the_key());
}

fn owned(paths: &[&str]) -> Vec<String> {
    paths.iter().map(|path| (*path).to_owned()).collect()
}
