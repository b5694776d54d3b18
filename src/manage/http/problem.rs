//! What went wrong, as RFC 9457 has it.

use axum::{
    http::{HeaderValue, StatusCode, header::CONTENT_TYPE, header::RETRY_AFTER},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{manage::ManageError, store::RegistryError};

/// What went wrong (RFC 9457).
#[derive(Serialize, ToSchema)]
pub(super) struct ProblemBody<'p> {
    /// `about:blank`: the status says all.
    r#type: &'static str,
    title: &'p str,
    status: u16,
    /// What exactly, in a sentence.
    detail: &'p str,
}

/// An answer that is no success.
pub(super) struct ApiError(Box<Response>);

pub(super) fn problem(status: StatusCode, detail: &str) -> Response {
    let mut response = (status, problem_json(status, detail)).into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(super::PROBLEM));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

pub(super) fn problem_json(status: StatusCode, detail: &str) -> Bytes {
    let title = status.canonical_reason().unwrap_or_default();
    let problem = ProblemBody { r#type: "about:blank", title, status: status.as_u16(), detail };
    serde_json::to_vec(&problem).unwrap_or_default().into()
}

/// The status of an error, and what its caller is told.
pub(super) fn of_error(error: &ManageError) -> (StatusCode, String) {
    use ManageError as E;
    let status = match error {
        E::PermissionDenied(_)
        | E::ActorInvalid
        | E::Escalation { .. }
        | E::NotOwner(_)
        | E::OwnKeysOnly
        | E::EnvironmentRestricted => StatusCode::FORBIDDEN,
        E::NotFound(_) | E::Registry(RegistryError::NotFound(_)) => StatusCode::NOT_FOUND,
        E::UserRequired
        | E::Environment(_)
        | E::NoEnvironment
        | E::Name
        | E::PermissionName
        | E::TooManyPermissions { .. }
        | E::UnsupportedKeyCharacters(_)
        | E::Expiry
        | E::OutlivesActor => StatusCode::UNPROCESSABLE_ENTITY,
        E::Expired(_) | E::Registry(_) => StatusCode::CONFLICT,
        E::Format(_) | E::Store(_) => StatusCode::SERVICE_UNAVAILABLE,
    };
    let text = match status {
        // What was sent as an id may have been a key.
        StatusCode::NOT_FOUND => "there is no such key".to_owned(),
        StatusCode::UNPROCESSABLE_ENTITY if matches!(error, E::Environment(_)) => {
            "environment: there are no keys for the one that is named".to_owned()
        }
        // Names as a body has them: one that is longer may be a key in the wrong place.
        StatusCode::FORBIDDEN if matches!(error, E::Escalation { resource, action } if resource.len().max(action.as_str().len()) > 13) => {
            "a key cannot hold a permission that its maker lacks: one of permissions".to_owned()
        }
        _ => error.to_string(),
    };
    let mut letters = text.chars();
    let first: String = letters.next().into_iter().flat_map(char::to_uppercase).collect();
    (status, format!("{first}{}.", letters.as_str()))
}

impl From<Response> for ApiError {
    fn from(response: Response) -> Self {
        Self(Box::new(response))
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        *self.0
    }
}
