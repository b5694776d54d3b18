//! The token endpoint: an axum router after OAuth 2.0 Token Exchange (RFC 8693).
//!
//! A form and the head of its request in, a token or an error of RFC 6749 §5.2 out. The layer
//! checks the key, and `Tokens::issue` decides what the token may be.

mod answer;
mod form;
mod refusal;

use std::{fmt, sync::Arc};

use axum::{
    Router,
    extract::{DefaultBodyLimit, FromRequest, Request},
    response::{IntoResponse, Response},
    routing::post,
};
use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue,
    header::{CACHE_CONTROL, CONTENT_TYPE, PRAGMA},
    request::Parts,
};

use super::{NewToken, Tokens};
#[cfg(doc)]
use crate::layer::ApiKeyLayerBuilder;
use crate::{
    error::ConfigError,
    layer::ApiKeyLayer,
    manage::wiped::WipedBytes,
    principal::Principal,
    rejection::Reason,
    scheme::{KEY_LEN_LIMIT, Reader, Scheme, write::Writer},
};
use answer::Granted;
use form::Form;
use refusal::Refusal;

/// An endpoint at which the holder of a key exchanges it for a token.
///
/// `POST /` takes a form, as RFC 8693 §2.1 describes it:
///
/// | parameter              | value                                                                  |
/// |------------------------|------------------------------------------------------------------------|
/// | `grant_type`           | `urn:ietf:params:oauth:grant-type:token-exchange`                      |
/// | `subject_token`        | the key                                                                |
/// | `subject_token_type`   | `urn:ietf:params:oauth:token-type:access_token`                        |
/// | `requested_token_type` | may be left out; the same type                                         |
/// | `scope`                | may be left out; permissions, such as `links:read project:123:update`  |
/// | `expires_in`           | may be left out; the lifetime in seconds, of at most [`Tokens::max_lifetime`], its default |
/// | `allowed_addresses`    | may be left out; networks with spaces between them                     |
///
/// The last colon of a scope separates resource and action. `expires_in` and `allowed_addresses`
/// are parameters of this crate. `audience`, `resource` and `actor_token` are rejected, and any
/// other parameter is ignored. A parameter without a value counts as left out.
///
/// The answer is 200, with the members `access_token`, `issued_token_type`, `token_type`
/// (`Bearer`), `expires_in`, and `scope` if there was one. An error has the members `error` and
/// `error_description`:
///
/// | status | `error`                   | reason                                                       |
/// |--------|---------------------------|--------------------------------------------------------------|
/// | 400    | `invalid_request`         | a parameter is missing, repeated or wrong; the key does not work, or not from this address |
/// | 400    | `invalid_scope`           | the key lacks a permission of the scope                      |
/// | 400    | `invalid_target`          | there is an `audience` or a `resource`                       |
/// | 400    | `unsupported_grant_type`  | another grant type                                           |
/// | 413    | `invalid_request`         | the form has more than 16 KiB                                |
/// | 429    | `temporarily_unavailable` | a limit of the key, or of failures; `Retry-After` says when to repeat |
/// | 503    | `temporarily_unavailable` | the store failed; `Retry-After: 1`                           |
///
/// The layer checks the key as that of a request: its settings, limits and observers apply, and the
/// exchange counts as one request of the key. The answer to an unknown, a revoked and an expired
/// key is the same. A request that also has a credential of the layer in its headers is rejected.
///
/// The router must be reachable without a key: do not put it under a layer that requires one. It
/// reads no cookie besides those of the layer's schemes, so that another site cannot use it in a
/// browser without the key.
///
/// ```
/// use axum::Router;
/// use tower_api_key::{ConfigError, KeyManager, token::{TokenExchange, Tokens}};
///
/// fn app(api: Router, manager: &KeyManager, tokens: Tokens) -> Result<Router, ConfigError> {
///     let auth = manager.layer().tokens(tokens).build()?;
///     let exchange = TokenExchange::new(&auth)?;
///     Ok(api.layer(auth).nest("/token", exchange.router()))
/// }
/// ```
#[derive(Clone)]
#[must_use = "it exchanges no keys until its router is served"]
pub struct TokenExchange(Arc<Exchange>);

struct Exchange {
    layer: ApiKeyLayer,
    tokens: Tokens,
    /// Finds the credentials of the layer in a request. Every layer has one that can be built.
    reader: Option<Reader>,
}

/// The longest form: a key of 4 KiB, percent-encoded, and a scope.
const MAX_FORM: usize = 16 * 1024;

// === impl TokenExchange ===

impl TokenExchange {
    /// Exchanges the keys that this layer accepts for its [tokens](ApiKeyLayerBuilder::tokens).
    ///
    /// # Errors
    ///
    /// Returns [`ConfigError::NoTokens`] for a layer that accepts no tokens.
    pub fn new(layer: &ApiKeyLayer) -> Result<Self, ConfigError> {
        let tokens = layer.accepted_tokens().ok_or(ConfigError::NoTokens)?.clone();
        let reader = Reader::new(layer.schemes(), KEY_LEN_LIMIT).ok();
        Ok(Self(Arc::new(Exchange { layer: layer.clone(), tokens, reader })))
    }

    /// Returns the router. Nest it at `/token`.
    pub fn router<S: Clone + Send + Sync + 'static>(&self) -> Router<S> {
        let exchange = self.clone();
        let answer = move |request: Request| {
            let Self(exchange) = exchange.clone();
            async move { exchange.respond(request).await }
        };
        Router::new().route("/", post(answer))
    }
}

impl fmt::Debug for TokenExchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenExchange").field("tokens", &self.0.tokens).finish_non_exhaustive()
    }
}

// === impl Exchange ===

impl Exchange {
    /// Answers a request. No answer may be cached (RFC 6749 §5.1).
    async fn respond(&self, request: Request) -> Response {
        let mut response = match self.exchange(request).await {
            Ok(granted) => granted.into_response(),
            Err(refusal) => refusal.into_response(),
        };
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response.headers_mut().insert(PRAGMA, HeaderValue::from_static("no-cache"));
        response
    }

    async fn exchange(&self, request: Request) -> Result<Granted, Refusal> {
        let (parts, body) = request.into_parts();
        if self.presents_key(&parts) {
            return Err(Refusal::request(
                "present the key once, as subject_token, and not in a header, cookie or query",
            ));
        }
        if !is_form(&parts.headers) {
            return Err(Refusal::request("the content type must be application/x-www-form-urlencoded"));
        }
        let mut limited = Request::new(body);
        DefaultBodyLimit::max(MAX_FORM).apply(&mut limited);
        let body = Bytes::from_request(limited, &()).await.map(WipedBytes);
        let body = body.map_err(|rejection| {
            Refusal::request("the form has more than 16 KiB, or is incomplete").with_status(rejection.status())
        })?;
        let form = Form::parse(&body.0)?;
        drop(body);
        let principal = self.authenticate(parts, &form.subject_token).await?;
        let lifetime = form.lifetime.unwrap_or(self.tokens.0.max_lifetime);
        let mut new = NewToken::lasting(lifetime);
        if let Some(scope) = &form.scope {
            new = new.permissions(scope.permissions(principal.record().permissions()));
        }
        if let Some(networks) = form.addresses {
            new = new.allowed_addresses(networks);
        }
        let issued = self.tokens.issue(&principal, new)?;
        Ok(Granted { issued, scope: form.scope })
    }

    /// Checks the key as that of the request: in the place of the first scheme that can carry it.
    async fn authenticate(&self, parts: Parts, key: &str) -> Result<Principal, Refusal> {
        let all = self.layer.schemes().schemes();
        // A query parameter last: observers and checks may show the URI.
        let is_query = |scheme: &&Scheme| scheme.is_in_query();
        let mut schemes = all.iter().filter(|scheme| !is_query(scheme)).chain(all.iter().filter(is_query));
        let writer = schemes.find_map(|scheme| Writer::new(scheme, key).ok()).ok_or_else(Refusal::invalid_key)?;
        let mut request = Request::from_parts(parts, ());
        let (mut headers, mut uri) = (std::mem::take(request.headers_mut()), request.uri().clone());
        writer.write(&mut headers, &mut uri);
        (*request.headers_mut(), *request.uri_mut()) = (headers, uri);
        self.layer.authenticate(&request).await.map_err(|rejection| Refusal::of(&rejection))
    }

    /// Returns whether the request has a credential of the layer, or an attempt at one.
    fn presents_key(&self, parts: &Parts) -> bool {
        let Some(reader) = &self.reader else { return true };
        let reason = reader.read(&parts.headers, &parts.uri).err().map(|error| error.reason);
        !matches!(reason, Some(Reason::Missing | Reason::WrongScheme))
    }
}

/// Returns whether the body is a form, whatever the parameters of its type.
fn is_form(headers: &HeaderMap) -> bool {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/x-www-form-urlencoded")
}
