//! A secret scanner with a key of its own, which signs as GitHub does.

use axum::{Router, body::Body};
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, header::CACHE_CONTROL};
use http_body_util::BodyExt;
use p256::{
    ecdsa::{Signature, SigningKey, signature::Signer},
    pkcs8::{EncodePublicKey, LineEnding},
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tower::ServiceExt;
use tower_api_key::{
    KeyManager,
    leak::{GithubKeys, LeakReports},
    manage::{Issued, NewKey},
};

use super::URL;
use crate::support::{
    Api, TestApi, logs,
    registry::{admin, text},
};

pub(super) const IDENTIFIER: &str = "github-public-key-identifier";
pub(super) const SIGNATURE: &str = "github-public-key-signature";

pub(super) struct Scanner {
    key: SigningKey,
    pub(super) identifier: String,
}

/// A router for the reports of a scanner, over keys that an API accepts.
pub(super) struct World {
    pub(super) api: TestApi,
    pub(super) manager: KeyManager,
    pub(super) scanner: Scanner,
    pub(super) keys: GithubKeys,
    pub(super) router: Router,
}

#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) text: String,
}

// === impl Scanner, World, Answer ===

impl Scanner {
    pub(super) fn new(byte: u8) -> Self {
        Self { key: SigningKey::from_slice(&[byte; 32]).unwrap(), identifier: format!("scanner-{byte}") }
    }

    pub(super) fn pem(&self) -> String {
        p256::PublicKey::from(self.key.verifying_key()).to_public_key_pem(LineEnding::LF).unwrap()
    }

    /// The key in GitHub's list.
    pub(super) fn listed(&self, is_current: bool) -> Value {
        json!({"key_identifier": self.identifier, "key": self.pem(), "is_current": is_current})
    }

    pub(super) fn signature(&self, body: &[u8]) -> Signature {
        self.key.sign(body)
    }

    pub(super) fn signed(&self, body: impl Into<Bytes>) -> Request<Body> {
        let body = body.into();
        let signature = STANDARD.encode(self.signature(&body).to_der());
        post("/github", &[(IDENTIFIER, &self.identifier), (SIGNATURE, &signature)], body)
    }
}

impl World {
    pub(super) fn new() -> Self {
        Self::with(|reports| reports)
    }

    pub(super) fn with(edit: impl FnOnce(LeakReports) -> LeakReports) -> Self {
        logs::capture();
        let (api, manager) = Api::managed(|builder| builder);
        let scanner = Scanner::new(7);
        let keys = GithubKeys::from_json(&list(&[scanner.listed(true)])).unwrap();
        let router = edit(LeakReports::new(&manager).github(&keys)).router();
        Self { api: api.run(), manager, scanner, keys, router }
    }

    /// Issues a key, which no later line of a log may contain.
    pub(super) async fn issue(&self, name: &str) -> Issued {
        let issued = self.manager.issue(&admin(), NewKey::service_account(name)).await.unwrap();
        logs::watch_for([text(&issued).to_owned()]);
        issued
    }

    pub(super) async fn send(&self, request: Request<Body>) -> Answer {
        send(&self.router, request).await
    }

    /// Sends a report that the scanner has signed.
    pub(super) async fn report(&self, body: &Value) -> Answer {
        self.send(self.scanner.signed(body.to_string())).await
    }
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap()
    }

    /// The labels of an answer, in its order.
    pub(super) fn labels(&self) -> Vec<String> {
        assert_eq!(self.status, 200, "{}", self.text);
        let json = self.json();
        json.as_array().unwrap().iter().map(|feedback| feedback["label"].as_str().unwrap().to_owned()).collect()
    }
}

/// GitHub's list of these keys.
pub(super) fn list(keys: &[Value]) -> String {
    json!({ "public_keys": keys }).to_string()
}

/// A report of one token, as GitHub's documents show it.
pub(super) fn token(text: &str) -> Value {
    json!({"token": text, "type": "acme_key", "url": URL, "source": "commit"})
}

pub(super) fn sha256(text: &str) -> String {
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn post(path: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Request<Body> {
    let mut request = Request::post(path).header("content-type", "application/json");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(body.into()).unwrap()
}

/// Sends a request, and checks what holds for every answer.
pub(super) async fn send(router: &Router, request: Request<Body>) -> Answer {
    let (parts, body) = router.clone().oneshot(request).await.unwrap().into_parts();
    let text = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
    assert!(!logs::has_secret(text.as_bytes()), "an answer has a key: {text}");
    logs::assert_clean();
    if parts.status != 404 && parts.status != 405 {
        let media_type = if parts.status == 200 { "application/json" } else { "application/problem+json" };
        assert_eq!(
            (&parts.headers["content-type"], &parts.headers[CACHE_CONTROL]),
            (&media_type.parse().unwrap(), &"no-store".parse().unwrap())
        );
    }
    Answer { status: parts.status, headers: parts.headers, text }
}
