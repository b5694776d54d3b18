//! Verifies keys for other services: token introspection (RFC 7662), and many keys at once.

mod batch;
mod body;
mod check;
mod introspect;
mod view;

use std::{borrow::Cow, fmt, sync::Arc};

use axum::{
    Router,
    body::{Bytes, to_bytes},
    extract::Request,
    response::{IntoResponse, Response},
    routing::post,
};
use http::{
    HeaderValue, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER},
};
use serde::Serialize;
use zeroize::Zeroize;

use super::stack::Stack;
use crate::{guard::Require, layer::ApiKeyLayer};

/// Routes at which other services verify keys.
///
/// The caller must hold a key with the permission `apiKeys: verify`: put the router inside an
/// [`ApiKeyLayer`]. It may be the layer whose keys are verified.
///
/// A verified key counts as one request of the key: the settings, limits and observers of the layer
/// apply. [`limit_failures`](crate::layer::ApiKeyLayerBuilder::limit_failures) counts by the
/// `client_address`, and all keys without one together. The response for an unknown, a revoked and
/// an expired key is the same, and none for a key that is rejected has `active: true`. No response
/// contains a key, and none may be cached.
///
/// # `POST /introspect`
///
/// Token introspection (RFC 7662): a form with the key in `token`. `client_address` may name the
/// address from which the key was sent. Other parameters are ignored.
///
/// | status | body                                             | reason                             |
/// |--------|--------------------------------------------------|------------------------------------|
/// | 200    | `active: true`, `scope`, `client_id`, `sub`, `exp`, `iat`, `nbf`, `organization`, `environment` | the key works |
/// | 200    | `active: false`                                  | the key does not work, or not from this address |
/// | 400    | `error: invalid_request`                         | `token` is missing or repeated, `client_address` is not an IP address |
/// | 402    | `error: payment_required`                        | the credits of the key are used up, if the limits answer with [402](crate::limit::LeasedLimitsBuilder::payment_required) |
/// | 413    | `error: invalid_request`                         | the body has more than 16 KiB      |
/// | 429    | `error: temporarily_unavailable`; `Retry-After`, if a time is known | a limit of the key, or of failures |
/// | 503    | `error: temporarily_unavailable`; `Retry-After`  | the key cannot be verified now     |
///
/// Each error has an `error_description`. It repeats nothing of the request.
///
/// `client_id` is the id of the key, and `sub` its owner: `user:` and an id, or `bot`. Times are in
/// seconds since 1970. A member without a value is left out.
///
/// # `POST /verify`
///
/// Verifies at most 100 keys. Only `key` is required. `method` and `path` are the request that the
/// key is for: set both, or neither. The guard checks them, and the whole layer, so that a skipped
/// path needs no key; then `active` is false, since the key was not verified, and `status` is 200.
///
/// ```json
/// {"keys": [{"key": "acme_live_…", "method": "GET", "path": "/links/7", "client_address": "192.0.2.7"}]}
/// ```
///
/// The response has one result for each key, in the same order: the members of an introspection, or
/// `active: false` with the `status` that the request would get, and `retry_after` in seconds where
/// a time is known.
///
/// ```json
/// {"results": [{"active": false, "status": 429, "retry_after": 3}]}
/// ```
///
/// A body of another form is 422, and its `error_description` names the item and the member that is
/// wrong: "`keys[3].method` is not an HTTP method". Items are counted from 0. A body with more than
/// 100 keys or 512 KiB is 413. After an error, no key is verified.
///
/// ```
/// use axum::{Router, body::Body, http::Request};
/// use tower::ServiceExt;
/// use tower_api_key::{ApiKey, ApiKeyLayer, gateway::Verification, store::StaticKeys};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let service = StaticKeys::new([("shop", ApiKey::new("TmSfF0MCDRDBbS2wE0jCFYkr7QbpJm")?)])?.grant("apiKeys", "verify");
/// let customers = StaticKeys::new([("c7", ApiKey::new("zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ")?)])?.grant("links", "read");
/// let auth = ApiKeyLayer::builder(service.merge(customers)?).build()?;
/// let app: Router = Router::new().nest("/keys", Verification::new(&auth, None).router()).layer(auth);
///
/// let request = Request::post("/keys/introspect")
///     .header("x-api-key", "TmSfF0MCDRDBbS2wE0jCFYkr7QbpJm")
///     .header("content-type", "application/x-www-form-urlencoded")
///     .body(Body::from("token=zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ"))?;
/// let response = app.oneshot(request).await?;
/// # use http_body_util::BodyExt;
/// let body = response.into_body().collect().await?.to_bytes();
/// assert_eq!(body, r#"{"active":true,"scope":"links:read","client_id":"c7"}"#);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use = "it verifies no keys until its router is served"]
pub struct Verification(Arc<Verifier>);

/// The layer whose keys are verified.
struct Verifier {
    layer: ApiKeyLayer,
    stack: Option<Stack>,
}

/// An error of the whole request, in the form of RFC 6749 §5.2.
struct Refusal {
    status: StatusCode,
    error: &'static str,
    description: Cow<'static, str>,
    /// In seconds.
    retry_after: Option<u64>,
}

// === impl Verification ===

impl Verification {
    /// Verifies the keys of this layer. The guard checks the requests that `/verify` names; without
    /// one, a body with a `path` is rejected with 422.
    pub fn new(layer: &ApiKeyLayer, guard: impl Into<Option<Require>>) -> Self {
        let stack = guard.into().map(|guard| Stack { layer: layer.clone(), guard });
        Self(Arc::new(Verifier { layer: layer.clone(), stack }))
    }

    /// Returns the router with `/introspect` and `/verify`. Nest it under a path, inside an
    /// [`ApiKeyLayer`].
    pub fn router<S: Clone + Send + Sync + 'static>(&self) -> Router<S> {
        let Self(introspecting) = self.clone();
        let Self(verifying) = self.clone();
        let introspect = move |request: Request| {
            let verifier = Arc::clone(&introspecting);
            async move { uncached(verifier.introspect(request).await) }
        };
        let verify = move |request: Request| {
            let verifier = Arc::clone(&verifying);
            async move { uncached(verifier.verify(request).await) }
        };
        Router::new()
            .route("/introspect", post(introspect))
            .route("/verify", post(verify))
            .route_layer(Require::permission("apiKeys", "verify"))
    }
}

impl fmt::Debug for Verification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verification").field("layer", &self.0.layer).finish_non_exhaustive()
    }
}

// === impl Refusal ===

impl Refusal {
    fn new(status: StatusCode, description: impl Into<Cow<'static, str>>) -> Self {
        Self { status, error: "invalid_request", description: description.into(), retry_after: None }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        #[derive(Serialize)]
        struct Body<'d> {
            error: &'static str,
            error_description: &'d str,
        }
        let body = Body { error: self.error, error_description: &self.description };
        let mut response = (self.status, json(&body)).into_response();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// Answers in JSON. None of the types here fails to be written.
fn json<B: Serialize>(body: &B) -> impl IntoResponse + use<B> {
    let text = serde_json::to_vec(body).unwrap_or_default();
    ([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], text)
}

fn uncached(answer: Result<Response, Refusal>) -> Response {
    let mut response = answer.unwrap_or_else(IntoResponse::into_response);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Reads a body of at most `most` bytes, and passes it to `parse`. The bytes may hold keys, so they
/// are wiped.
async fn read<T>(request: Request, most: usize, parse: impl FnOnce(&[u8]) -> Result<T, Refusal>) -> Result<T, Refusal> {
    let bytes: Bytes = to_bytes(request.into_body(), most)
        .await
        .map_err(|_| Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large or incomplete"))?;
    let parsed = parse(&bytes);
    if let Ok(mut bytes) = bytes.try_into_mut() {
        bytes.zeroize();
    }
    parsed
}
