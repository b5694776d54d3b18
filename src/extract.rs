//! axum extractors for the principal; a rejection as an axum response.

use axum::{
    body::Body,
    extract::{FromRequestParts, OptionalFromRequestParts},
    response::{IntoResponse, Response},
};
use http::request::Parts;

use crate::{
    principal::{CallerIdentity, Principal},
    rejection::{Reason, Rejection},
};

/// Extracts the principal, and rejects a request without one.
///
/// # Errors
///
/// Returns a rejection with 401 for an anonymous request or a skipped path, and with 500 if there
/// is no layer around the handler.
impl<S: Sync> FromRequestParts<S> for Principal {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Rejection> {
        match CallerIdentity::of(&parts.extensions, "a Principal extractor")? {
            CallerIdentity::Known(principal) => Ok(principal.clone()),
            CallerIdentity::Nobody(_) => Err(Rejection::new(Reason::Missing)),
        }
    }
}

/// Extracts the principal, or `None` for an anonymous request or a skipped path.
///
/// # Errors
///
/// Returns a rejection with 500 if there is no layer around the handler.
impl<S: Sync> OptionalFromRequestParts<S> for Principal {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Rejection> {
        match CallerIdentity::of(&parts.extensions, "an Option<Principal> extractor")? {
            CallerIdentity::Known(principal) => Ok(Some(principal.clone())),
            CallerIdentity::Nobody(_) => Ok(None),
        }
    }
}

/// Returns an empty response that carries the rejection. The layer around the handler renders it.
impl IntoResponse for Rejection {
    fn into_response(self) -> Response {
        self.into_response_with(Body::empty())
    }
}
