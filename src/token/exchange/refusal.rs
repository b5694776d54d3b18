//! Errors of the token endpoint (RFC 6749 §5.2, RFC 8693 §2.2.2).

use std::borrow::Cow;

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, StatusCode, header::RETRY_AFTER};
use serde::Serialize;

use crate::{
    rejection::{Problem, Rejection, retry_after},
    token::TokenError,
};

/// Why a key was not exchanged.
pub(super) struct Refusal {
    status: StatusCode,
    error: ErrorCode,
    description: Cow<'static, str>,
    /// Few refusals have any.
    headers: Option<Box<HeaderMap>>,
}

/// The member `error`. `temporarily_unavailable` and `server_error` are those of RFC 6749 §4.1.2.1,
/// since §5.2 has none for them.
#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ErrorCode {
    InvalidRequest,
    InvalidScope,
    InvalidTarget,
    UnsupportedGrantType,
    TemporarilyUnavailable,
    ServerError,
}

#[derive(Serialize)]
struct Body<'r> {
    error: ErrorCode,
    error_description: &'r str,
}

/// The longest name that a description repeats. A longer one may be a key in the wrong parameter.
const LONGEST_REPEATED: usize = 13;

// === impl Refusal ===

impl Refusal {
    pub(super) fn new(error: ErrorCode, description: impl Into<Cow<'static, str>>) -> Self {
        let (status, description) = (StatusCode::BAD_REQUEST, description.into());
        Self { status, error, description, headers: None }
    }

    pub(super) fn request(description: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::InvalidRequest, description)
    }

    pub(super) fn with_status(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }

    /// The refusal of each key that does not work, whatever the reason (RFC 8693 §2.2.2).
    pub(super) fn invalid_key() -> Self {
        Self::request("subject_token is not a valid key, or is not accepted from this address")
    }

    /// The refusal if the answer could not be written.
    pub(super) fn unwritten() -> Self {
        Self::new(ErrorCode::ServerError, "the answer could not be written")
            .with_status(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// Returns the refusal of a key that the layer rejects.
    pub(super) fn of(rejection: &Rejection) -> Self {
        let problem = rejection.reason().problem();
        let (error, description) = match problem {
            Problem::InsecureTransport => {
                return Self::request("the request came in clear text: send it over HTTPS, and replace the key");
            }
            Problem::TooManyRequests
            | Problem::TooManyFailures
            | Problem::RateLimited
            | Problem::QuotaExceeded
            | Problem::ConcurrencyLimited
            | Problem::CreditsExhausted => {
                (ErrorCode::TemporarilyUnavailable, "too many requests: repeat this one later")
            }
            Problem::Unavailable => {
                (ErrorCode::TemporarilyUnavailable, "the key cannot be verified at the moment: repeat the request")
            }
            Problem::Internal => (ErrorCode::ServerError, "the service is not set up correctly"),
            Problem::MissingKey
            | Problem::MalformedCredential
            | Problem::AmbiguousCredential
            | Problem::InvalidKey
            | Problem::Forbidden
            | Problem::NotFound
            | Problem::PaymentRequired => return Self::invalid_key(),
        };
        let mut headers = rejection.headers().cloned().unwrap_or_default();
        if let Some(after) = rejection.retry_after() {
            headers.insert(RETRY_AFTER, retry_after(after));
        }
        let headers = Some(Box::new(headers));
        Self { status: problem.status(), headers, ..Self::new(error, description) }
    }
}

impl From<TokenError> for Refusal {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::PermissionNotHeld { resource, action } => {
                let is_short = resource.len().max(action.as_str().len()) <= LONGEST_REPEATED;
                let lacking = if is_short { format!("{resource}:{action}") } else { "one of the scope".to_owned() };
                Self::new(ErrorCode::InvalidScope, format!("the key lacks a permission: {lacking}"))
            }
            TokenError::Lifetime { .. } => Self::request(format!("expires_in: {error}")),
            TokenError::AddressNotAllowed => {
                Self::request("allowed_addresses: the key is not accepted from one of these networks")
            }
            TokenError::FromToken | TokenError::TooLong => Self::request(error.to_string()),
            TokenError::KeyExpires => Self::invalid_key(),
        }
    }
}

/// `error_description` has no quotes, backslashes or characters beyond ASCII (RFC 6749 §5.2): a
/// name in it comes from a scope, which has none either.
impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let Self { status, error, description, headers } = self;
        (
            status,
            headers.map(|headers| *headers).unwrap_or_default(),
            Json(Body { error, error_description: &description }),
        )
            .into_response()
    }
}
