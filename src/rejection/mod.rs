//! Why a request was refused, and what the caller is told.
//!
//! Every failure, at any stage, is one [`Rejection`]. The layer renders it, in one [`RejectionFormat`], and reports it, as
//! one [`Decision`](crate::Decision). Nothing else answers a refused request.
//!
//! | [`Reason`]                                                | [`Problem`]            | status | code                   | challenge                       | gRPC |
//! |-----------------------------------------------------------|------------------------|--------|------------------------|---------------------------------|------|
//! | `Missing`, `WrongScheme`                                  | `MissingKey`           | 401    | `AUTHENTICATION_ERROR` | one per scheme                  | 16   |
//! | `Malformed`                                               | `MalformedCredential`  | 401    | `AUTHENTICATION_ERROR` | `invalid_request`, if by Bearer | 16   |
//! | `Ambiguous`                                               | `AmbiguousCredential`  | 401    | `AUTHENTICATION_ERROR` | `invalid_request`, if by Bearer | 16   |
//! | `BadFormat`, `Unknown`, `Revoked`, `Disabled`, `Expired`, `NotYetValid`, `WrongEnvironment`, `WrongOrganization` | `InvalidKey` | 401 | `AUTHENTICATION_ERROR` | `invalid_token`, if by Bearer | 16 |
//! | `Forbidden`, `ForeignResource`, `NoMatchingRoute`            | `Forbidden`            | 403    | `PERMISSION_DENIED`    | `insufficient_scope`, if by Bearer | 7 |
//! | `ForeignResourceHidden`                                   | `NotFound`             | 404    | `NOT_FOUND`            | none                            | 5    |
//! | `Misconfigured`                                           | `Internal`             | 500    | `INTERNAL_ERROR`       | none                            | 13   |
//! | `StoreFailed`, `StoreTimeout`                                | `Unavailable`          | 503    | `UNAVAILABLE`          | none, but `Retry-After: 1`      | 14   |
//!
//! Reasons on one row look alike outside, byte for byte, but for a credential of a wrong form and two details of a 403. The [`Cause`] of a wrong form
//! is a sentence in the detail, which says what was seen and what to send. A guard that asks for permissions names those that the key lacks,
//! in the detail and in the `scope` of the Bearer challenge, and a table says that it does not list the route.
//! [`hide_forbidden_details`](crate::layer::ApiKeyLayerBuilder::hide_forbidden_details) makes every 403 alike. Every 401 carries one challenge per distinct advertised scheme, each
//! with a realm (RFC 9110 §11.6.1); an error attribute stands only on the Bearer challenge, and only when the key came by
//! Bearer (RFC 6750 §3.1). Every refusal is `Cache-Control: no-store`, with a `Vary` over the headers that may carry a key, and a refused HEAD has no body.
//!
//! # gRPC
//!
//! A refusal is never a 2xx, so that a proxy, a log or a ban that goes by the HTTP status recognizes it. The one exception is a layer that is built with
//! [`grpc`](crate::layer::ApiKeyLayerBuilder::grpc): it answers a POST whose content type begins with `application/grpc` as gRPC does, with status
//! 200, the code in `grpc-status`, a sentence in `grpc-message`, no body, no challenge ("Trailers-Only"). The content type is the caller's choice; so do
//! not build such a layer for a service that is asked to authenticate for others by HTTP status (nginx `auth_request`, Envoy `ext_authz` over HTTP).
//!
//! Without `grpc` a gRPC client gets the HTTP status with challenges. It maps 401 to `UNAUTHENTICATED`, 403 to `PERMISSION_DENIED`, 503 to
//! `UNAVAILABLE`, but 404 to `UNIMPLEMENTED` and 500 to `UNKNOWN`, and it sees no message. A client that sends `te: trailers`, as gRPC over HTTP/2 does,
//! gets no body, which tonic would read as a message.
//!
//! # Problem types
//!
//! The `type` member of a problem+json body (RFC 9457 §3.1.1) points to one of these, unless [`RejectionFormat::problem_types`] says otherwise;
//! the `code` member is the same name with underscores.
//!
//! ## missing-key
//! No API key was sent, or not in a place where this service reads it. The `WWW-Authenticate` lines say which schemes it accepts.
//! ## malformed-credential
//! A credential was sent, but no key can be read from it: it is empty, too long, or has a character that keys do not have.
//! ## ambiguous-credential
//! More than one credential was sent. Send one.
//! ## invalid-key
//! The key does not give access to this service. Whether it is mistyped, revoked or expired is not told.
//! ## forbidden
//! The key is good, but may not do this: it lacks a permission, belongs to another organization, or asks for a route that is not listed.
//! ## not-found
//! There is no such resource.
//! ## internal
//! The service is put together wrongly; its log says how.
//! ## unavailable
//! The key could not be checked just now. Try again.

mod advice;
mod cause;
mod diagnosis_texts;
mod format;
mod missing;
mod prerendered;
mod protocol;
mod reason;

#[cfg(not(feature = "tracing"))]
use std::io::{self, Write};
use std::{error::Error, fmt, sync::Arc};

use bytes::Bytes;
pub use cause::Cause;
pub use format::RejectionFormat;
pub(crate) use format::{RenderOnce, Renderer};
use http::{HeaderValue, Response, header::CACHE_CONTROL};
pub(crate) use missing::Missing;
pub use missing::MissingPermission;
pub(crate) use prerendered::intern_header_value;
pub(crate) use protocol::ResponseProtocol;
pub use reason::{Problem, Reason};

use crate::{
    record::KeyRecord,
    scheme::{Diagnosis, Scheme},
};

/// A refused request: why, by which scheme the key came, and whose key it was.
///
/// A guard or an extractor puts it into the extensions of an empty response; the layer above renders it. With the `axum`
/// feature it is a response itself, so that a handler can return it:
///
/// ```
/// use tower_api_key::{Principal, Rejection};
///
/// async fn archive(key: Principal) -> Result<&'static str, Rejection> {
///     key.require("links", "archive")?;
///     Ok("archived")
/// }
/// ```
#[derive(Clone)]
pub struct Rejection {
    reason: Reason,
    diagnosis: Option<Diagnosis>,
    scheme: Option<&'static Scheme>,
    record: Option<KeyRecord>,
    rare: Option<Box<RejectionDetails>>,
}

/// What few rejections have. Apart, so that all others are small to move.
#[derive(Clone, Default)]
struct RejectionDetails {
    error: Option<Arc<dyn Error + Send + Sync>>,
    problem_json: Option<Bytes>,
    missing: Option<Arc<Missing>>,
}

impl Rejection {
    pub(crate) fn new(reason: Reason) -> Self {
        Self { reason, diagnosis: None, scheme: None, record: None, rare: None }
    }

    pub(crate) fn by_scheme(mut self, scheme: Option<&'static Scheme>) -> Self {
        self.scheme = scheme;
        self
    }

    /// Says what is wrong with the form of what was sent.
    pub(crate) fn diagnosed(mut self, diagnosis: Diagnosis) -> Self {
        self.diagnosis = Some(diagnosis);
        self
    }

    /// Says of a key that gives no access what its text looks like.
    pub(crate) fn suspected(mut self, diagnosis: impl FnOnce() -> Option<Diagnosis>) -> Self {
        if self.reason.problem() == Problem::InvalidKey {
            self.diagnosis = diagnosis();
        }
        self
    }

    /// Says of a caller without a key what it has sent instead.
    pub(crate) fn unread(mut self, reason: Reason, diagnosis: Diagnosis) -> Self {
        if self.reason == Reason::Missing && self.diagnosis.is_none() {
            (self.reason, self.diagnosis) = (reason, Some(diagnosis));
        }
        self
    }

    pub(crate) fn of_record(mut self, record: KeyRecord) -> Self {
        self.record = Some(record);
        self
    }

    pub(crate) fn caused_by(mut self, error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.rare.get_or_insert_default().error = Some(error.into().into());
        self
    }

    pub(crate) fn lacking(mut self, missing: Option<Arc<Missing>>) -> Self {
        if missing.is_some() {
            self.rare.get_or_insert_default().missing = missing;
        }
        self
    }

    /// Says more, to a caller who is told in problem+json.
    #[cfg(feature = "admin-api")]
    pub(crate) fn with_problem_json(mut self, body: Bytes) -> Self {
        self.rare.get_or_insert_default().problem_json = Some(body);
        self
    }

    /// A guard or an extractor without a layer around it: 500, and a line in the log that nobody overlooks.
    pub(crate) fn misconfigured(what: &str) -> Self {
        let advice = "was reached without an ApiKeyLayer around it; every request to it is refused with 500";
        #[cfg(feature = "tracing")]
        tracing::error!(target: "tower_api_key", "{what} {advice}");
        #[cfg(not(feature = "tracing"))]
        let _ = writeln!(io::stderr(), "tower-api-key: {what} {advice}");
        Self::new(Reason::Misconfigured)
    }

    /// A response with the right HTTP status, which carries this rejection up to the layer that renders it, as gRPC if it serves that.
    pub(crate) fn into_response_with<B>(self, empty: B) -> Response<B> {
        let mut response = Response::new(empty);
        *response.status_mut() = self.reason.problem().status();
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response.extensions_mut().insert(self);
        response
    }

    /// Why. Never tell the caller more than [`Reason::problem`] does.
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// The scheme that was attempted, if one was.
    pub fn scheme(&self) -> Option<&Scheme> {
        self.scheme
    }

    pub(crate) fn interned_scheme(&self) -> Option<&'static Scheme> {
        self.scheme
    }

    /// The record of the key that was refused, if there is one.
    pub(crate) fn record(&self) -> Option<&KeyRecord> {
        self.record.as_ref()
    }

    pub(crate) fn shared_error(&self) -> Option<Arc<dyn Error + Send + Sync>> {
        self.rare.as_ref()?.error.clone()
    }

    pub(crate) fn missing(&self) -> Option<&Arc<Missing>> {
        self.rare.as_ref()?.missing.as_ref()
    }

    /// Returns the permissions that the key lacked, behind a [`Reason::Forbidden`] of a guard or of
    /// [`Principal::require`](crate::Principal::require). Where one of several is enough, all of them. Empty otherwise.
    pub fn missing_permissions(&self) -> &[MissingPermission] {
        self.missing().map_or(&[], |missing| missing.permissions())
    }

    fn problem_json(&self) -> Option<Bytes> {
        self.rare.as_ref()?.problem_json.clone()
    }

    /// What was wrong with the form of what was sent: for `Missing`, `WrongScheme`, `Malformed` and `Ambiguous`, where the layer has looked. For a key
    /// that gives no access, what its text looks like, if it looks wrong: in quotes, say.
    pub fn cause(&self) -> Option<Cause> {
        self.diagnosis.map(|diagnosis| diagnosis.cause)
    }

    pub(crate) fn diagnosis(&self) -> Option<Diagnosis> {
        self.diagnosis
    }

    /// The store's error behind a [`Reason::StoreFailed`]. It is for the log, not for the caller.
    pub fn error(&self) -> Option<&(dyn Error + Send + Sync + 'static)> {
        self.rare.as_ref()?.error.as_deref()
    }
}

impl fmt::Debug for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rejection")
            .field("reason", &self.reason)
            .field("scheme", &self.scheme.map(ToString::to_string))
            .field("key", &self.record.as_ref().map(KeyRecord::id))
            .field("cause", &self.cause())
            .field("error", &self.error())
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason.problem().title())
    }
}

impl Error for Rejection {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.error().map(|error| error as _)
    }
}
