//! An endpoint with a store, a clock and an observer. Each answer is checked for what holds always.

use std::sync::{Arc, Mutex};

use axum::{Router, body::Body};
use http::{HeaderMap, Request};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;
use tower_api_key::{
    ApiKeyLayer, KeyRecord, Outcome,
    address::PeerAddress,
    layer::ApiKeyLayerBuilder,
    token::{TokenExchange, Tokens},
};

use super::tokens;
use crate::support::{Api, FaultyStore, LIVE, TestClock, UNKNOWN, logs};

pub(super) const GRANT: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
pub(super) const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
pub(super) const INVALID_KEY: &str = "subject_token is not a valid key, or is not accepted from this address";

pub(super) struct Endpoint {
    pub(super) store: FaultyStore,
    pub(super) clock: TestClock,
    pub(super) tokens: Tokens,
    router: Router,
    outcomes: Arc<Mutex<Vec<Outcome>>>,
}

#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) json: Value,
    /// The outcomes that the layer has reported.
    pub(super) outcomes: Vec<Outcome>,
}

impl Endpoint {
    /// Returns an endpoint with the key [`LIVE`].
    pub(super) fn new(edit: impl FnOnce(KeyRecord) -> KeyRecord) -> Self {
        Self::with(edit, |layer| layer)
    }

    pub(super) fn with(
        key: impl FnOnce(KeyRecord) -> KeyRecord,
        layer: impl FnOnce(ApiKeyLayerBuilder) -> ApiKeyLayerBuilder,
    ) -> Self {
        logs::capture();
        let Api { store, clock, .. } = Api::new().key("live", LIVE, key);
        let outcomes = Arc::<Mutex<Vec<Outcome>>>::default();
        let (now, seen) = (clock.clone(), Arc::clone(&outcomes));
        let builder = ApiKeyLayer::builder(store.clone()).clock(move || now.get());
        let builder = builder.observe(move |decision| seen.lock().unwrap().push(decision.outcome()));
        let tokens = tokens(&clock);
        let layer = layer(builder).tokens(tokens.clone()).build().unwrap();
        let exchange = TokenExchange::new(&layer).unwrap();
        let router = Router::new().nest("/token", exchange.router());
        Self { store, clock, tokens, router, outcomes }
    }

    /// Sends the usual form, with other or more parameters.
    pub(super) async fn exchange(&self, parameters: &[(&str, &str)]) -> Answer {
        self.send(request(&form(parameters))).await
    }

    pub(super) async fn send(&self, request: Request<Body>) -> Answer {
        self.outcomes.lock().unwrap().clear();
        logs::watch_for([LIVE, UNKNOWN].map(str::to_owned));
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let json: Value = serde_json::from_slice(&body).unwrap();
        let header = |name: &str| parts.headers.get(name).map(|value| value.to_str().unwrap());
        assert_eq!(header("cache-control"), Some("no-store"));
        assert_eq!(header("pragma"), Some("no-cache"));
        assert_eq!(header("content-type"), Some("application/json"));
        for secret in [LIVE, UNKNOWN] {
            assert!(!format!("{parts:?} {json}").contains(secret), "a key in {json}");
        }
        logs::assert_clean();
        let is_error = parts.status != 200;
        let members: Vec<&str> = json.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(members == ["error", "error_description"], is_error, "{json}");
        if is_error {
            let description = json["error_description"].as_str().unwrap();
            let is_described = |byte: u8| (0x20..=0x7e).contains(&byte) && !matches!(byte, b'"' | b'\\');
            assert!(!description.is_empty() && description.bytes().all(is_described), "{description}");
        }
        let outcomes = std::mem::take(&mut *self.outcomes.lock().unwrap());
        Answer { status: parts.status.as_u16(), headers: parts.headers, json, outcomes }
    }
}

impl Answer {
    /// Returns status, error and description.
    pub(super) fn error(&self) -> (u16, &str, &str) {
        let text = |name: &str| self.json[name].as_str().unwrap_or_default();
        (self.status, text("error"), text("error_description"))
    }

    #[track_caller]
    pub(super) fn assert_invalid_key(&self) {
        assert_eq!(self.json, json!({"error": "invalid_request", "error_description": INVALID_KEY}));
        assert_eq!(self.status, 400);
    }
}

/// Returns the parameters of the usual form, where each of `parameters` replaces that of its name.
pub(super) fn form(parameters: &[(&str, &str)]) -> String {
    let usual = [("grant_type", GRANT), ("subject_token", LIVE), ("subject_token_type", ACCESS_TOKEN)];
    let is_replaced = |name: &str| parameters.iter().any(|(other, _)| *other == name);
    let kept = usual.iter().filter(|(name, _)| !is_replaced(name));
    encoded(&kept.chain(parameters).copied().collect::<Vec<_>>())
}

/// Returns a form of these parameters.
pub(super) fn encoded(parameters: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish()
}

/// Returns a request with this form, from 192.0.2.7.
pub(super) fn request(form: &str) -> Request<Body> {
    let request = Request::post("/token").header("content-type", "application/x-www-form-urlencoded");
    let request = request.extension(PeerAddress("192.0.2.7".parse().unwrap()));
    request.body(Body::from(form.to_owned())).unwrap()
}
