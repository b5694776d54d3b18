//! The settings of a layer.

use std::{sync::Arc, time::Duration, time::SystemTime};

#[cfg(doc)]
use super::ApiKeyLayer;
use super::ApiKeyLayerBuilder;
use crate::{
    clock::Clock,
    head::RequestHead,
    key::{KeyFormat, KeyHasher},
    observe::{Decision, Observer},
    principal::Principal,
    rejection::{RejectionFormat, Verdict},
    scheme::SchemePolicy,
};

impl ApiKeyLayerBuilder {
    /// Accepts these schemes, in this order. `policy` is a list of [`Scheme`](crate::Scheme)s, or a
    /// [`SchemePolicy`] with a rule for conflicts. [Example](Self).
    pub fn schemes(mut self, policy: impl Into<SchemePolicy>) -> Self {
        self.policy = policy.into();
        self
    }

    /// Rejects every key that has none of these formats, before it is hashed. Verifies a checksum
    /// only before a lookup that has to wait, so a mistyped key causes no such lookup.
    /// [Example](Self).
    pub fn formats(mut self, formats: impl IntoIterator<Item = KeyFormat>) -> Self {
        self.formats = formats.into_iter().collect();
        self
    }

    /// Ignores credentials that have none of the [`formats`](Self::formats), because they belong to
    /// another layer. This applies to every accepted scheme. Use it if keys and JWTs both use
    /// `Authorization: Bearer`.
    ///
    /// An optional layer lets such a request pass as anonymous. A required layer rejects it with
    /// 401, like a request without a key. An ignored credential does not count as a second
    /// credential. It stays in the request, even with [`hide_credentials`](Self::hide_credentials).
    ///
    /// A credential counts as a key of yours if a word in it begins with the prefix of a format, in
    /// upper or lower case. The layer rejects such a credential with 401 if the store does not know
    /// it. Empty credentials and repeated headers are always rejected.
    ///
    /// ```
    /// use tower_api_key::{ApiKeyLayer, KeyFormat, store::MemoryStore};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let keys = ApiKeyLayer::builder(MemoryStore::new())
    ///     .formats([KeyFormat::new("acme")?])
    ///     .ignore_other_formats()
    ///     .optional()
    ///     .build()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn ignore_other_formats(mut self) -> Self {
        self.ignores_other_formats = true;
        self
    }

    /// Hashes keys with `hasher`. Use the same hasher that made the stored digests.
    /// [Example](Self).
    pub fn hasher(mut self, hasher: KeyHasher) -> Self {
        self.hasher = hasher;
        self
    }

    /// Sets the realm of every challenge (RFC 9110 §11.5). [Example](Self).
    pub fn realm(mut self, realm: impl Into<String>) -> Self {
        self.realm = realm.into();
        self
    }

    /// Adds a parameter to every challenge of this layer (RFC 9110 §11.2). Examples are `charset`,
    /// and `resource_metadata` with the URL of a document about the resource (RFC 9728 §5.1). The
    /// value is quoted and escaped. You can call it several times.
    ///
    /// [`build`](Self::build) returns
    /// [`ConfigError::ChallengeParam`](crate::ConfigError::ChallengeParam) for a name that is not a
    /// token, a name that the layer writes itself (`realm`, `error`, `scope`, `in`, `name`,
    /// `scheme`), a repeated name, and a value with a control character.
    ///
    /// ```
    /// use tower_api_key::{ApiKeyLayer, store::MemoryStore};
    ///
    /// let layer = ApiKeyLayer::builder(MemoryStore::new())
    ///     .challenge_param("resource_metadata", "https://api.example.com/.well-known/oauth-protected-resource")
    ///     .build();
    /// assert!(layer.is_ok());
    /// ```
    pub fn challenge_param(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.challenge_params.push((name.into(), value.into()));
        self
    }

    /// Reads keys of up to this many bytes, 1 to 4096. The default is
    /// [`MAX_KEY_LEN`](crate::scheme::MAX_KEY_LEN). A longer key is rejected before it is hashed,
    /// and the response names the limit. [Example](Self).
    ///
    /// Servers and proxies also limit the head of a request. Over HTTP/1, hyper reads up to 400 KiB
    /// of it, and nginx reads lines of up to 8 KiB.
    pub fn max_key_len(mut self, bytes: usize) -> Self {
        self.max_key_len = bytes;
        self
    }

    /// Renders rejections in this format. [`RejectionFormat`] has an example.
    pub fn rejection_format(mut self, format: RejectionFormat) -> Self {
        self.format = format;
        self
    }

    /// Gives every 403 the same body and challenge. The client does not learn which permission the
    /// key lacks, or whether a route table lists the route. Observers still see the permissions:
    /// see [`Decision::missing_permissions`]. [Example](Self).
    ///
    /// Without this setting, the 403 of a guard names the permission
    /// (`It lacks the permission links:create.`), in problem+json, in text and in a gRPC message,
    /// and as `scope` of the Bearer challenge (RFC 6750 §3).
    /// [`Require::hide_as_not_found`](crate::Require::hide_as_not_found) never names one.
    pub fn hide_forbidden_details(mut self) -> Self {
        self.hide_forbidden_details = true;
        self
    }

    /// Lets a request pass as anonymous if it has no credential for this layer. An invalid key is
    /// still 401. If an outer layer has accepted a key, its principal stays. [Example](Self).
    pub fn optional(mut self) -> Self {
        self.optional = true;
        self
    }

    /// Rejects gRPC requests in the form of gRPC: a POST with a content type that begins with
    /// `application/grpc` gets HTTP status 200 and the code in `grpc-status`. Set it if gRPC
    /// clients call your service through this layer. Do not set it if a proxy decides by the HTTP
    /// status: see [gRPC](crate::rejection#grpc).
    ///
    /// Without this setting a rejection is never a 2xx, for any content type.
    pub fn grpc(mut self) -> Self {
        self.serves_grpc = true;
        self
    }

    /// Lets a CORS preflight pass to an inner CORS layer: `OPTIONS` with `Origin` and
    /// `Access-Control-Request-Method`, which a browser sends without credentials. No other
    /// `OPTIONS` passes. [Example](Self).
    pub fn pass_preflight(mut self) -> Self {
        self.pass_preflight = true;
        self
    }

    /// Lets requests for unprotected paths pass without reading their credentials. Such a request
    /// has no principal: the principal of an outer layer is removed too. `path` receives the path
    /// of the request as the layer sees it, not percent-decoded, and under axum's `nest` without
    /// the prefix. [Example](Self).
    ///
    /// A service may read a path in several ways: percent-decoded, without parameters, without its
    /// last slash and so on. The layer skips a path only if `path` returns true for every such
    /// reading: see [`Require::table`](crate::Require::table). So `/static/` is skipped only if
    /// `/static` is skipped too. Under axum's `nest`, enable the feature `axum`: the layer then
    /// also compares the path with the path that axum routed.
    ///
    /// Compare whole paths: `starts_with("/public")` also skips `/publication`.
    pub fn skip(mut self, path: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        self.skip = Some(Box::new(path));
        self
    }

    /// Removes every credential of this layer from an accepted request, in every place that the
    /// layer reads. Skipped paths and preflights do not change. [Example](Self).
    pub fn hide_credentials(mut self) -> Self {
        self.hide_credentials = true;
        self
    }

    /// Sends the principal's id to the inner service in the header `name`. Spaces, percent signs
    /// and all characters other than visible ASCII are percent-encoded. [Example](Self).
    ///
    /// The layer removes this header from every request, even if the request has no principal. It
    /// also removes headers with a similar name, such as `x_principal` for `x-principal`. If an
    /// optional layer keeps the principal of an outer layer, the header contains that principal's
    /// id. Make sure that clients can reach the inner service only through this layer.
    pub fn forward_identity(mut self, name: impl Into<String>) -> Self {
        self.forward_identity = Some(name.into());
        self
    }

    /// Accepts only the keys of this organization. Every other key gets 401, like an unknown key.
    /// [Example](Self).
    pub fn organization(mut self, organization: impl Into<String>) -> Self {
        self.bounds.restrict().organization = Some(organization.into().into());
        self
    }

    /// Accepts only the keys of these environments. Every other key gets 401, like an unknown key.
    /// [Example](Self).
    pub fn environments<E: Into<String>>(mut self, environments: impl IntoIterator<Item = E>) -> Self {
        let environments = environments.into_iter().map(|name| name.into().into());
        self.bounds.restrict().environments = Some(environments.collect());
        self
    }

    /// Runs a check of yours once a key is verified, before the inner service and every guard. You
    /// can call it several times; the checks run in order.
    ///
    /// The check returns `Result<(), Rejection>`, which allocates nothing, or a [`Verdict`] if it
    /// has to wait. The layer renders a rejection of the check and reports it once. The check does
    /// not run for an anonymous request, a skipped path or a preflight.
    /// [`ApiKeyLayer::authenticate`] runs it too; [`ApiKeyLayer::try_authenticate`] returns `None`
    /// if it waits.
    ///
    /// To run a check after a guard, see [`Require::and_then`](crate::Require::and_then).
    ///
    /// ```
    /// use tower_api_key::{ApiKeyLayer, Rejection, store::MemoryStore};
    ///
    /// struct Suspended;
    ///
    /// let layer = ApiKeyLayer::builder(MemoryStore::new())
    ///     .after_verify(|key, _head| match key.extension::<Suspended>() {
    ///         Some(_) => Err(Rejection::forbidden().with_detail("This account is suspended.")),
    ///         None => Ok(()),
    ///     })
    ///     .build();
    /// assert!(layer.is_ok());
    /// ```
    pub fn after_verify<V: Into<Verdict>>(
        mut self,
        check: impl Fn(&Principal, &RequestHead<'_>) -> V + Send + Sync + 'static,
    ) -> Self {
        self.after_verify.push(check);
        self
    }

    /// Calls `observer` once for every request. You can call it several times; observers run in
    /// order. An observer must not block. If it panics, the others still run. [Example](Self).
    ///
    /// The features `tracing` and `metrics` observe every layer too: see [`Decision`].
    pub fn observe(mut self, observer: impl Fn(&Decision) + Send + Sync + 'static) -> Self {
        self.observers.push(Observer::Plain(Box::new(observer)));
        self
    }

    /// Calls `observer` once for every request, with the decision and with the values that
    /// `capture` took from the head of the request. Use it for values that a [`Decision`] does not
    /// have: the peer's address, a request id.
    ///
    /// `capture` runs before the request reaches the inner service, `observer` when the response is
    /// ready. Neither may block. If `capture` panics, the layer still serves the request and does
    /// not call `observer`.
    ///
    /// ```
    /// use std::net::SocketAddr;
    /// use tower_api_key::{ApiKeyLayer, store::MemoryStore};
    ///
    /// # #[derive(Clone)] struct ConnectInfo<T>(T); // axum's
    /// let layer = ApiKeyLayer::builder(MemoryStore::new())
    ///     .observe_with(
    ///         |head| {
    ///             let peer = head.extensions().get::<ConnectInfo<SocketAddr>>().map(|peer| peer.0);
    ///             (peer, head.headers().get("x-request-id").cloned())
    ///         },
    ///         |decision, (peer, id)| {
    ///             let (method, path) = (decision.method(), decision.path());
    ///             println!("{id:?} {peer:?} {method} {path} {}", decision.outcome().as_str());
    ///         },
    ///     )
    ///     .build();
    /// ```
    pub fn observe_with<T: Send + 'static>(
        mut self,
        capture: impl Fn(&RequestHead<'_>) -> T + Send + Sync + 'static,
        observer: impl Fn(&Decision, T) + Send + Sync + 'static,
    ) -> Self {
        let observer = Arc::new(observer);
        self.observers.push(Observer::Capturing(Box::new(move |head| {
            let (captured, observer) = (capture(head), Arc::clone(&observer));
            Box::new(move |decision| observer(decision, captured))
        })));
        self
    }

    /// Reads the time from `now`, for tests.
    pub fn clock(mut self, now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        self.bounds.clock = Clock::new(now);
        self
    }

    /// Rejects a request with 503 if a lookup takes longer than this. A lookup that waits needs a
    /// tokio runtime with its timer enabled. [Example](Self).
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }
}
