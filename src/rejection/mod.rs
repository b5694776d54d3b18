//! Rejected requests: the reason, the response, and rejections of the application.
//!
//! Every failure, at any stage, is one [`Rejection`]. The layer renders it in one
//! [`RejectionFormat`] and reports it as one [`Decision`](crate::Decision). Guards, extractors and
//! handlers of an application reject the same way: see [`Rejection::forbidden`].
//!
//! | [`Reason`]                                                | [`Problem`]            | status | code                   | challenge                       | gRPC |
//! |-----------------------------------------------------------|------------------------|--------|------------------------|---------------------------------|------|
//! | `Missing`, `WrongScheme`                                  | `MissingKey`           | 401    | `AUTHENTICATION_ERROR` | one per scheme                  | 16   |
//! | `Malformed`                                               | `MalformedCredential`  | 401    | `AUTHENTICATION_ERROR` | `invalid_request` for Bearer    | 16   |
//! | `Ambiguous`                                               | `AmbiguousCredential`  | 401    | `AUTHENTICATION_ERROR` | `invalid_request` for Bearer    | 16   |
//! | `BadFormat`, `Unknown`, `Revoked`, `Disabled`, `Expired`, `NotYetValid`, `WrongEnvironment`, `WrongOrganization`, `OwnerBlocked`, `BadToken`, `TokenExpired` | `InvalidKey` | 401 | `AUTHENTICATION_ERROR` | `invalid_token` for Bearer | 16 |
//! | `Forbidden`, `ForeignResource`, `NoMatchingRoute`, `WrongAddress`, `UnknownAddress` | `Forbidden`            | 403    | `PERMISSION_DENIED`    | `insufficient_scope` for Bearer | 7 |
//! | `InsecureTransport`                                       | `InsecureTransport`    | 403    | `INSECURE_TRANSPORT`   | none                            | 7    |
//! | `ForeignResourceHidden`, `NotFound`                       | `NotFound`             | 404    | `NOT_FOUND`            | none                            | 5    |
//! | `TooManyRequests`                                         | `TooManyRequests`      | 429    | `TOO_MANY_REQUESTS`    | none; `Retry-After`             | 8    |
//! | `TooManyFailures`                                         | `TooManyFailures`      | 429    | `TOO_MANY_FAILURES`    | none; `Retry-After`             | 8    |
//! | `RateLimited`                                             | `RateLimited`          | 429    | `RATE_LIMITED`         | none; `Retry-After`             | 8    |
//! | `QuotaExceeded`                                           | `QuotaExceeded`        | 429    | `QUOTA_EXCEEDED`       | none; `Retry-After`             | 8    |
//! | `ConcurrencyLimited`                                      | `ConcurrencyLimited`   | 429    | `CONCURRENCY_LIMITED`  | none; `Retry-After: 1`          | 8    |
//! | `CreditsExhausted`                                        | `CreditsExhausted`     | 429    | `CREDITS_EXHAUSTED`    | none; `Retry-After` of a refill | 8    |
//! | `PaymentRequired`                                         | `PaymentRequired`      | 402    | `PAYMENT_REQUIRED`     | none                            | 8    |
//! | `Misconfigured`                                           | `Internal`             | 500    | `INTERNAL_ERROR`       | none                            | 13   |
//! | `StoreFailed`, `StoreTimeout`, `MeterStoreFailed`, `OwnerRightsFailed`, `RolesFailed`, `CheckUnavailable` | `Unavailable`          | 503    | `UNAVAILABLE`          | none; `Retry-After: 1`          | 14   |
//!
//! Reasons in one row give the same response, byte for byte, with three exceptions:
//!
//! - For a credential of the wrong form, the detail says what the layer has read and what to send:
//!   see [`Cause`].
//! - The detail of a 403 names the permissions that the key lacks, says that a route table does not
//!   list the route, or is the sentence of the application. The `scope` of the Bearer challenge
//!   also names the permissions.
//!   [`hide_forbidden_details`](crate::layer::ApiKeyLayerBuilder::hide_forbidden_details) gives
//!   every `Forbidden` the same body.
//! - The 429 of a limit names the limits that are used up, in the member `violated-policies` of
//!   problem+json. If the request can never pass, because the limit is 0 or the cost is above it,
//!   the detail says so, and there is no `Retry-After`.
//!
//! Every 401 has one challenge per distinct advertised scheme, each with a realm (RFC 9110
//! §11.6.1). Only the Bearer challenge has an error attribute, and only if the key came by Bearer
//! (RFC 6750 §3.1). Every rejection has `Cache-Control: no-store` and a `Vary` over the headers
//! that can carry a key. A rejected HEAD has no body.
//!
//! # gRPC
//!
//! A rejection is never a 2xx, so that proxies, logs and tools that block clients recognize it by
//! the HTTP status. The exception is a layer built with
//! [`grpc`](crate::layer::ApiKeyLayerBuilder::grpc). It answers a POST with a content type that
//! begins with `application/grpc` in the form of gRPC ("Trailers-Only"): status 200, the code in
//! `grpc-status`, a sentence in `grpc-message`, no body and no challenge. A 429 has its time as a
//! `google.rpc.RetryInfo` in `grpc-status-details-bin`, which clients read to retry. The client
//! chooses the
//! content type. So do not set `grpc` on a service that returns an authentication status to other
//! servers (nginx `auth_request`, Envoy `ext_authz` over HTTP).
//!
//! Without `grpc` a gRPC client gets the HTTP status with challenges. It maps 401 to
//! `UNAUTHENTICATED`, 403 to `PERMISSION_DENIED`, 429 and 503 to `UNAVAILABLE`, but 404 to
//! `UNIMPLEMENTED` and 500 to `UNKNOWN`, and it sees no message. A client that sends `te:
//! trailers`, as gRPC over HTTP/2 does, gets no body, because tonic would read it as a message.
//!
//! # Problem types
//!
//! The `type` member of a problem+json body (RFC 9457 §3.1.1) points to one of the sections below,
//! unless [`RejectionFormat::problem_types`] sets another base. The `code` member is the same name
//! with underscores.
//!
//! ## missing-key
//! The request has no API key, or has it in a place that this service does not read. The
//! `WWW-Authenticate` lines list the accepted schemes.
//! ## malformed-credential
//! No key can be read from the credential: it is empty, too long, or has a character that keys do
//! not have.
//! ## ambiguous-credential
//! The request has more than one credential. Send one.
//! ## invalid-key
//! The key does not give access to this service. The response does not say whether it is mistyped,
//! revoked or expired.
//! ## forbidden
//! The key is valid but not authorized. It lacks a permission, belongs to another organization, or
//! is not accepted from the address of the client; or the service does not list the route.
//! ## insecure-transport
//! The request came in clear text. Send it over HTTPS, and replace the key if it had one.
//! ## not-found
//! There is no such resource.
//! ## too-many-requests
//! The caller has sent too many requests. Try again after the time in `Retry-After`.
//! ## too-many-failures
//! The key does not work, and neither did too many others from this address. A valid key still
//! works. After the time in `Retry-After`, an invalid one gets 401 again.
//! ## rate-limited
//! The key has sent too many requests in a short time. `violated-policies` names the limits, and
//! `Retry-After` says when a request passes again.
//! ## quota-exceeded
//! The key has used up its quota for the present day, week or month. It is full again when the next
//! one begins, after the time in `Retry-After`.
//! ## concurrency-limited
//! The key has too many requests at the same time. Try again when one of them has ended.
//! ## internal
//! The service is not set up correctly. Its log says why.
//! ## unavailable
//! The key cannot be verified at the moment. Try again.

mod advice;
mod broken;
mod cause;
mod diagnosis_texts;
mod format;
mod getters;
mod grpc_details;
mod limited;
mod missing;
mod open;
mod prerendered;
mod problem;
mod protocol;
mod reason;
mod renderer;
mod verdict;

use std::{borrow::Cow, error::Error, net::IpAddr, sync::Arc, time::Duration};

use bytes::Bytes;
pub use cause::Cause;
pub use format::RejectionFormat;
pub(crate) use format::RenderOnce;
#[cfg(feature = "axum")]
pub(crate) use format::in_json;
use http::HeaderMap;
pub(crate) use missing::Missing;
pub use missing::MissingPermission;
pub use problem::Problem;
pub(crate) use protocol::ResponseProtocol;
pub use reason::Reason;
pub(crate) use renderer::Renderer;
#[cfg(feature = "axum")]
pub(crate) use renderer::retry_after;
pub use verdict::Verdict;
pub(crate) use verdict::Wait;

use crate::{
    record::KeyRecord,
    scheme::{Diagnosis, Scheme},
};

/// Describes a rejected request: the reason, the scheme of the credential, and the key's record.
///
/// A guard or an extractor puts the rejection into the extensions of an empty response, and the
/// layer renders it. With the `axum` feature, a rejection implements `IntoResponse`, so that a
/// handler can return it:
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

/// The properties that few rejections have. Boxed, so that all others are small to move.
#[derive(Clone, Default)]
struct RejectionDetails {
    error: Option<Arc<dyn Error + Send + Sync>>,
    problem_json: Option<Bytes>,
    missing: Option<Arc<Missing>>,
    detail: Option<Cow<'static, str>>,
    retry_after: Option<Duration>,
    headers: Option<Box<HeaderMap>>,
    violated: Option<Arc<[Box<str>]>>,
    client_address: Option<IpAddr>,
}

impl Rejection {
    pub(crate) fn new(reason: Reason) -> Self {
        Self { reason, diagnosis: None, scheme: None, record: None, rare: None }
    }

    pub(crate) fn by_scheme(mut self, scheme: Option<&'static Scheme>) -> Self {
        self.scheme = scheme;
        self
    }

    /// Adds what is wrong with the form of the credential.
    pub(crate) fn diagnosed(mut self, diagnosis: Diagnosis) -> Self {
        self.diagnosis = Some(diagnosis);
        self
    }

    /// Sets the likely mistake in the text of an invalid key.
    pub(crate) fn suspected(mut self, diagnosis: impl FnOnce() -> Option<Diagnosis>) -> Self {
        if self.reason.problem() == Problem::InvalidKey {
            self.diagnosis = diagnosis();
        }
        self
    }

    /// Adds why no key was read to a rejection that only says that the key is missing.
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

    /// Adds the address that the key does not allow.
    pub(crate) fn at_address(mut self, address: IpAddr) -> Self {
        self.rare.get_or_insert_default().client_address = Some(address);
        self
    }

    pub(crate) fn lacking(mut self, missing: Option<Arc<Missing>>) -> Self {
        if missing.is_some() {
            self.rare.get_or_insert_default().missing = missing;
        }
        self
    }

    /// Replaces the body in problem+json.
    #[cfg(feature = "admin-api")]
    pub(crate) fn with_problem_json(mut self, body: Bytes) -> Self {
        self.rare.get_or_insert_default().problem_json = Some(body);
        self
    }
}
