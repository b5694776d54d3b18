//! axum extractors, and a rejection as a response.

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

/// The caller of this request; refused where there is none.
///
/// # Errors
///
/// 401 for an anonymous request and a skipped path, 500 where no layer is around the handler.
impl<S: Sync> FromRequestParts<S> for Principal {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Rejection> {
        match CallerIdentity::of(&parts.extensions, "a Principal extractor")? {
            CallerIdentity::Known(principal) => Ok(principal.clone()),
            CallerIdentity::Nobody(_) => Err(Rejection::new(Reason::Missing)),
        }
    }
}

/// The caller of this request, or `None` for an anonymous request and a skipped path.
///
/// # Errors
///
/// 500 where no layer is around the handler.
impl<S: Sync> OptionalFromRequestParts<S> for Principal {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Rejection> {
        match CallerIdentity::of(&parts.extensions, "an Option<Principal> extractor")? {
            CallerIdentity::Known(principal) => Ok(Some(principal.clone())),
            CallerIdentity::Nobody(_) => Ok(None),
        }
    }
}

/// An empty response, which the layer around the handler fills in.
impl IntoResponse for Rejection {
    fn into_response(self) -> Response {
        self.into_response_with(Body::empty())
    }
}
