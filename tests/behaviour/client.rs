//! Tests the client layer: the service's layer reads the key that it writes, and only one origin
//! receives it.

use std::convert::Infallible;

use crate::support::{Api, Body, LIVE, accepted, add, bare, path};
use base64::{Engine, engine::general_purpose::STANDARD};
use http::Request;
use proptest::prelude::*;
use tower::{Layer, ServiceExt, limit::ConcurrencyLimit, service_fn};
use tower_api_key::{ApiKey, ConfigError, Scheme, client::SendKeyLayer};

const ORIGIN: &str = "https://api.example.com";

/// Every place for a key, and the alphabet of its keys. A new place also needs an arm in
/// `what_stands_beside_a_key_stays`.
fn places() -> Vec<(Scheme, &'static str)> {
    let token68 = "[A-Za-z0-9._~+/-]{1,60}={0,2}";
    let visible = "[!-~]{1,60}";
    vec![
        (Scheme::bearer(), token68),
        (Scheme::token(), token68),
        (Scheme::authorization("Acme"), token68),
        (Scheme::x_api_key(), visible),
        (Scheme::header("Authorization"), visible),
        (Scheme::header_with_prefix("X-Auth", "Key"), token68),
        (Scheme::basic(), "[!-9;-~]{1,60}"),
        (Scheme::cookie("session"), "[!#-+\\--:<-\\[\\]-~]{1,60}"),
        (Scheme::websocket_protocol("api-key"), "[A-Za-z0-9!#$%&'*+.^_`|~-]{8,60}"),
        (Scheme::query("api key"), visible),
    ]
}

fn layer(origin: &str, scheme: &Scheme, key: &str) -> Result<SendKeyLayer, ConfigError> {
    SendKeyLayer::new(origin, scheme.clone(), &ApiKey::new(key).unwrap())
}

/// Returns the request as it is sent. The inner service panics unless it was polled ready.
async fn sent(layer: &SendKeyLayer, request: Request<Body>) -> Request<Body> {
    let inner = service_fn(async |request: Request<Body>| Ok::<_, Infallible>(request));
    let Ok(request) = layer.layer(ConcurrencyLimit::new(inner, 1)).oneshot(request).await;
    request
}

fn plain() -> Request<Body> {
    path(bare(), &format!("{ORIGIN}/links"))
}

/// Returns a request that already has a value in every place, and other values next to it.
fn crowded() -> Request<Body> {
    let mut request = path(bare(), &format!("{ORIGIN}/links?a=%41&api+key=own&&b&api%20key=own#c"));
    for (header, value) in [
        ("authorization", "Bearer own"),
        ("authorization", "Basic b3duOg=="),
        ("x-api-key", "own"),
        ("x-auth", "Key own"),
        ("cookie", "a=1; session=own;b=2;"),
        ("cookie", "SESSION=kept"),
        ("sec-websocket-protocol", "chat, api-key, own"),
        ("sec-websocket-protocol", "v2"),
        ("accept", "text/plain"),
    ] {
        add(&mut request, header, value);
    }
    request
}

#[test]
fn every_scheme_is_parsed_from_its_text_form() {
    let forms = [Scheme::basic_password(), Scheme::bearer().visible_ascii()];
    for scheme in places().into_iter().map(|(scheme, _)| scheme).chain(forms) {
        assert_eq!(scheme.to_string().parse(), Ok(scheme));
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read((place, key) in (0..places().len()).prop_flat_map(|place| (Just(place), places()[place].1))) {
        let (scheme, _) = &places()[place];
        let layer = layer(ORIGIN, scheme, &key).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        for request in [plain(), crowded()] {
            let api = Api::new().key("caller", &key, |record| record).layer(|layer| layer.schemes(scheme.clone()));
            let outside = runtime.block_on(async { api.call(sent(&layer, request).await).await });
            prop_assert_eq!(outside, accepted(), "{} {}", scheme, key);
        }
    }
}

#[tokio::test]
async fn what_stands_beside_a_key_stays() {
    let expected = |scheme: &Scheme| {
        let mut request = crowded();
        let (name, value) = match scheme.to_string().as_str() {
            "cookie:session" => ("cookie", format!("a=1; b=2; SESSION=kept; session={LIVE}")),
            "sec-websocket-protocol:api-key" => ("sec-websocket-protocol", format!("chat, v2, api-key, {LIVE}")),
            "header:x-api-key" => ("x-api-key", LIVE.to_owned()),
            "header:authorization" => ("authorization", LIVE.to_owned()),
            "header:x-auth:Key" => ("x-auth", format!("Key {LIVE}")),
            "authorization:Basic" => ("authorization", format!("Basic {}", STANDARD.encode(format!("{LIVE}:")))),
            "query:api key" => return path(request, &format!("{ORIGIN}/links?a=%41&&b&api+key={LIVE}")),
            authorization => ("authorization", format!("{} {LIVE}", authorization.rsplit(':').next().unwrap())),
        };
        request.headers_mut().insert(name, value.parse().unwrap());
        request
    };
    for (scheme, _) in places() {
        let layer = layer(ORIGIN, &scheme, LIVE).unwrap();
        let (sent, expected) = (sent(&layer, crowded()).await, expected(&scheme));
        assert_eq!(sent.uri(), expected.uri(), "{scheme}");
        assert_eq!(sent.headers(), expected.headers(), "{scheme}");
        let twice = self::sent(&layer, sent).await;
        assert_eq!((twice.uri(), twice.headers()), (expected.uri(), expected.headers()), "{scheme}, twice");
    }
}

#[tokio::test]
async fn no_key_is_shown() {
    for (scheme, _) in places() {
        let layer = layer(ORIGIN, &scheme, LIVE).unwrap();
        for request in [plain(), crowded()] {
            let mut request = sent(&layer, request).await;
            if scheme == Scheme::query("api key") {
                assert!(request.uri().query().unwrap().contains(LIVE));
                request = path(request, "/"); // a URL is shown; the documentation of `Scheme::query` says so
            }
            let shown = format!("{request:?} {layer:?} {:?}", layer.layer(()));
            for secret in [LIVE, &STANDARD.encode(format!("{LIVE}:"))] {
                assert!(!shown.contains(secret), "{shown}");
            }
        }
    }
    let layer = layer("HTTPS://API.example.com:443/", &Scheme::bearer(), LIVE).unwrap();
    let shown = r#"SendKeyLayer { origin: "https://api.example.com", scheme: "authorization:Bearer", .. }"#;
    assert_eq!(format!("{layer:?}"), shown);
}

/// The origin of the layer, the URI of a request, and whether it receives the key.
const ORIGINS: &[(&str, &str, bool)] = &[
    (ORIGIN, "https://api.example.com", true),
    (ORIGIN, "https://api.example.com/links?a=1", true),
    (ORIGIN, "HTTPS://API.Example.COM/links", true),
    (ORIGIN, "https://api.example.com:443/", true),
    (ORIGIN, "https://api.example.com:/", true),
    ("https://api.example.com:443", "https://api.example.com/", true),
    ("HTTPS://API.EXAMPLE.COM/", "https://api.example.com/", true),
    ("http://api.example.com", "http://api.example.com:80/", true),
    ("http://api.example.com:8080", "http://api.example.com:8080/", true),
    ("wss://api.example.com", "wss://api.example.com:443/", true),
    ("http://[::1]:3000", "http://[::1]:3000/", true),
    ("http://[2001:DB8::A]", "http://[2001:db8:0:0::a]:80/", true),
    (ORIGIN, "http://api.example.com/", false),
    (ORIGIN, "http://api.example.com:443/", false),
    (ORIGIN, "wss://api.example.com/", false),
    (ORIGIN, "https://api.example.com:444/", false),
    (ORIGIN, "https://api.example.com:80/", false),
    (ORIGIN, "https://api.example.com:443x/", false),
    (ORIGIN, "https://api.example.com:+443/", false),
    (ORIGIN, "https://api.example.com:65979/", false), // 443 + 65536
    (ORIGIN, "https://example.com/", false),
    (ORIGIN, "https://v2.api.example.com/", false),
    (ORIGIN, "https://api.example.com.evil.example/", false),
    (ORIGIN, "https://api.example.com./", false),
    (ORIGIN, "https://evil.example/https://api.example.com", false),
    (ORIGIN, "https://evil.example#@api.example.com/", false),
    (ORIGIN, "https://api.example.com@evil.example/", false),
    (ORIGIN, "https://api.example.com:443@evil.example/", false),
    (ORIGIN, "https://user@api.example.com/", false),
    (ORIGIN, "https://user:password@api.example.com/", false),
    (ORIGIN, "ftp://api.example.com:443/", false),
    (ORIGIN, "/links", false),
    (ORIGIN, "api.example.com:443", false),
    (ORIGIN, "*", false),
    ("http://127.0.0.1", "http://localhost/", false),
    ("http://127.0.0.1", "http://[::ffff:127.0.0.1]/", false),
    ("http://[::1]:3000", "http://[::1]/", false),
    ("http://[::1]:3000", "http://[::2]:3000/", false),
    ("http://[::1]:3000", "http://[::1]x:3000/", false),
    ("http://[::1]:3000", "http://a[::1]:3000/", false),
];

#[tokio::test]
async fn one_origin_gets_the_key_and_others_lose_nothing() {
    for (scheme, _) in places() {
        for (origin, target, is_ours) in ORIGINS {
            let new = if origin.starts_with("http:") { SendKeyLayer::insecure } else { SendKeyLayer::new };
            let layer = new(origin, scheme.clone(), &ApiKey::new(LIVE).unwrap()).unwrap();
            let (mut request, mut same) = (path(crowded(), target), path(crowded(), target));
            for request in [&mut request, &mut same] {
                add(request, "host", "api.example.com");
            }
            let sent = sent(&layer, request).await;
            let unchanged = sent.uri() == same.uri() && sent.headers() == same.headers();
            assert_eq!(unchanged, !is_ours, "{scheme} of {origin}, to {target}");
            let bytes: Vec<u8> = sent.headers().values().flat_map(|value| value.as_bytes().to_vec()).collect();
            let text = format!("{} {}", sent.uri(), String::from_utf8(bytes).unwrap());
            let coded = STANDARD.encode(format!("{LIVE}:"));
            assert_eq!(text.contains(LIVE) || text.contains(&coded), *is_ours, "{scheme} of {origin}, to {target}");
        }
    }
}

/// A host, and whether it is this machine.
const HOSTS: &[(&str, bool)] = &[
    ("127.0.0.1", true),
    ("127.0.0.1:3000", true),
    ("127.0.0.0", true),
    ("127.255.255.255", true),
    ("[::1]", true),
    ("[::1]:3000", true),
    ("[0:0:0:0:0:0:0:1]", true),
    ("[::ffff:127.0.0.1]", true),
    ("[::FFFF:7fff:ffff]:3000", true),
    ("localhost", true),
    ("localhost:3000", true),
    ("LocalHost", true),
    ("localhost.", true),
    ("api.localhost", true),
    ("V2.API.LOCALHOST.:3000", true),
    ("api.example.com", false),
    ("api.example.com:443", false),
    ("10.0.0.1", false),
    ("126.255.255.255", false),
    ("128.0.0.0", false),
    ("0.0.0.0", false),
    ("[::]", false),
    ("[::2]", false),
    ("[fe80::1]", false),
    ("[2001:db8::1]", false),
    ("[::ffff:126.255.255.255]", false),
    ("[::ffff:128.0.0.1]", false),
    ("[::127.0.0.1]", false),      // IPv4-compatible, not mapped
    ("[::fffe:127.0.0.1]", false), // one bit beside the mapped ones
    ("[64:ff9b::127.0.0.1]", false),
    ("localhost.example.com", false),
    ("127.0.0.1.example.com", false),
    ("127.0.0.1.", false),
    ("localhost..", false),
    ("localhost.localdomain", false),
    ("notlocalhost", false),
    ("api-localhost", false),
    ("localhost4", false),
    ("loopback", false),
    ("127.1", false),
    ("127", false),
    ("0x7f.1", false),
    ("0x7f.0.0.1", false),
    ("0177.0.0.1", false),
    ("127.0.0.01", false),
    ("127.0.0.256", false),
    ("127.0.0.1.1", false),
    ("2130706433", false),
];

#[test]
fn a_key_is_sent_in_clear_text_to_loopback_only() {
    for (host, is_loopback) in HOSTS {
        for (scheme, is_encrypted) in [("http", false), ("HTTP", false), ("ws", false), ("https", true), ("wss", true)]
        {
            let origin = format!("{scheme}://{host}");
            let error = layer(&origin, &Scheme::bearer(), LIVE).err();
            let expected = (!is_encrypted && !is_loopback).then_some(ConfigError::InsecureOrigin);
            assert_eq!(error, expected, "{origin}");
        }
    }
}

#[tokio::test]
async fn a_caller_that_asks_for_it_sends_a_key_in_clear_text_to_one_host() {
    let insecure = |origin: &str, scheme| SendKeyLayer::insecure(origin, scheme, &ApiKey::new(LIVE).unwrap());
    for (host, _) in HOSTS {
        for scheme in ["http", "ws", "https", "wss"] {
            let origin = format!("{scheme}://{host}");
            let layer = insecure(&origin, Scheme::x_api_key()).unwrap();
            for (target, is_ours) in [(format!("{origin}/links"), true), (format!("{scheme}://v2.example/"), false)] {
                let sent = sent(&layer, path(bare(), &target)).await;
                assert_eq!(sent.headers().contains_key("x-api-key"), is_ours, "{origin}, to {target}");
            }
        }
    }
    for (origin, scheme, error) in [
        ("http://user@api.example.com", Scheme::bearer(), ConfigError::Origin),
        ("http://api.example.com/v1", Scheme::bearer(), ConfigError::Origin),
        ("http://api.example.com", Scheme::query(""), ConfigError::QueryName),
    ] {
        assert_eq!(insecure(origin, scheme).err(), Some(error), "{origin}");
    }
}

#[test]
fn the_error_for_clear_text_says_what_to_do_and_shows_no_key_and_no_url() {
    let error = layer("http://api.example.com", &Scheme::bearer(), LIVE).unwrap_err();
    let text = "origin: http and ws send the key in clear text: use https or wss, or SendKeyLayer::insecure in a network \
                that encrypts";
    assert_eq!(error.to_string(), text);
}

/// As a string, it would name another host: `https://api.example.com*`.
#[tokio::test]
async fn a_path_without_its_slash_gets_no_key() {
    let target = http::Uri::builder().scheme("https").authority("api.example.com").path_and_query("*").build().unwrap();
    let mut request = plain();
    *request.uri_mut() = target;
    let sent = sent(&layer(ORIGIN, &Scheme::x_api_key(), LIVE).unwrap(), request).await;
    assert!(sent.headers().is_empty());
}

#[tokio::test]
async fn a_url_that_repeats_the_key_loses_it_at_another_origin() {
    let layer = layer(ORIGIN, &Scheme::query("key"), "a+b%").unwrap();
    for (query, expected) in [
        ("?key=a%2Bb%25", ""),
        ("?a=1&key=a%2bb%25&%6Bey=%61%2Bb%25&b", "?a=1&b"),
        ("?key=another&key=a+b%25&other=a%2Bb%25", "?key=another&key=a+b%25&other=a%2Bb%25"),
        ("?", "?"),
        ("", ""),
    ] {
        for elsewhere in ["https://elsewhere.example/links", "/links"] {
            let request = path(bare(), &format!("{elsewhere}{query}"));
            assert_eq!(sent(&layer, request).await.uri(), &*format!("{elsewhere}{expected}"), "{query}");
        }
    }
}

/// The longest possible URI has 65,534 bytes.
#[tokio::test]
async fn a_url_without_room_for_the_key_goes_without() {
    let layer = layer(ORIGIN, &Scheme::query("key"), LIVE).unwrap();
    let longest = format!("{ORIGIN}/?{}", "a".repeat(65_000));
    for (target, has_room) in [(longest.clone(), true), (longest + &"a".repeat(500), false)] {
        let sent = sent(&layer, path(bare(), &target)).await;
        assert_eq!(sent.uri().query().unwrap().contains(LIVE), has_room);
    }
}

#[test]
fn what_could_never_be_sent_is_named_when_the_layer_is_built() {
    let error = |scheme: Scheme, key: &str| layer(ORIGIN, &scheme, key).err();
    assert_eq!(error(Scheme::header("x key"), LIVE), Some(ConfigError::HeaderName("x key".into())));
    assert_eq!(error(Scheme::authorization(""), LIVE), Some(ConfigError::AuthSchemeName(String::new())));
    assert_eq!(error(Scheme::query(""), LIVE), Some(ConfigError::QueryName));
    assert_eq!(error(Scheme::cookie("a=b"), LIVE), Some(ConfigError::CookieName("a=b".into())));
    let with_comma = error(Scheme::websocket_protocol("a,b"), LIVE);
    assert_eq!(with_comma, Some(ConfigError::WebSocketProtocol("a,b".into())));
    for (scheme, key) in [
        (Scheme::bearer(), "a=b"),
        (Scheme::authorization("Acme"), "a,b"),
        (Scheme::header_with_prefix("x-auth", "Key"), "a|b"),
        (Scheme::basic(), "a:b"),
        (Scheme::cookie("session"), "a;b"),
        (Scheme::cookie("session"), "\"a\""),
        (Scheme::websocket_protocol("api-key"), "a,b"),
        (Scheme::websocket_protocol("api-key"), "a=="),
        (Scheme::websocket_protocol("api-key"), "api-key"),
    ] {
        let expected = ConfigError::UnsupportedKeyCharacters(scheme.to_string());
        assert_eq!(error(scheme, key), Some(expected), "{key}");
    }
    for origin in [
        "",
        "/",
        "api.example.com",
        "api.example.com:443",
        "//api.example.com",
        "ftp://api.example.com",
        "https://",
        "https://:443",
        "https://user@api.example.com",
        "https://@api.example.com",
        "https://api.example.com/v1",
        "https://api.example.com//",
        "https://api.example.com?",
        "https://api.example.com/?a",
        "https://api.example.com#a",
        "https://api.example.com:65536",
        "https://api.example.com:443x",
        "https://[::1",
        "https://[::1]x",
        "https://[fe80::1%25eth0]",
        "https://a[::1]",
        "https://a[]",
    ] {
        assert_eq!(layer(origin, &Scheme::bearer(), LIVE).err(), Some(ConfigError::Origin), "{origin}");
    }
}
