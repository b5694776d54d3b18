//! Errors as `application/problem+json` (RFC 9457): one writer for [`ManageError`] as a response
//! and for the HTTP API.

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{
    HeaderValue, StatusCode,
    header::{CONTENT_TYPE, RETRY_AFTER},
};

use super::ManageError;
use crate::{
    record::KeyId,
    rejection::{Problem, in_json, retry_after},
    store::RegistryError,
};

pub(super) const PROBLEM_JSON: &str = "application/problem+json";

/// The longest resource or action that a detail repeats. A longer one may be a key in the wrong
/// field.
const LONGEST_REPEATED: usize = 13;

/// A response in `application/problem+json`: `{"type": "about:blank", "title", "status",
/// "detail"}`, with `Retry-After: 1` if the status is 503.
///
/// The problem of [`RegistryError::AlreadyDone`] has the member `key_id` too.
///
/// The detail is the text of the error, without ids, environments and long names that the caller
/// sent: one of them may be a key in the wrong field.
///
/// ```
/// use axum::response::IntoResponse;
/// use tower_api_key::manage::ManageError;
///
/// let response = ManageError::NotFound("key_1".into()).into_response();
/// assert_eq!(response.status(), 404);
/// assert_eq!(response.headers()["content-type"], "application/problem+json");
/// ```
impl IntoResponse for ManageError {
    fn into_response(self) -> Response {
        let Self::Registry(RegistryError::AlreadyDone(id)) = &self else {
            return problem(self.status(), &self.detail());
        };
        respond(self.status(), with_key_id(problem_json(self.status(), &self.detail()), id))
    }
}

impl ManageError {
    /// Returns a sentence for the caller, without a value that may be a key.
    pub(super) fn detail(&self) -> String {
        let text = match self {
            Self::NoOwnKey => self.to_string(),
            _ if self.status() == StatusCode::NOT_FOUND => "there is no such key".to_owned(),
            Self::Environment(_) => "no keys are issued for this environment".to_owned(),
            Self::Escalation { resource, action } if resource.len().max(action.as_str().len()) > LONGEST_REPEATED => {
                "cannot grant a permission that the caller lacks: one of permissions".to_owned()
            }
            _ => self.to_string(),
        };
        let mut letters = text.chars();
        let first: String = letters.next().into_iter().flat_map(char::to_uppercase).collect();
        format!("{first}{}.", letters.as_str())
    }
}

/// Returns a problem as a response.
pub(crate) fn problem(status: StatusCode, detail: &str) -> Response {
    respond(status, problem_json(status, detail))
}

fn respond(status: StatusCode, body: Bytes) -> Response {
    let mut response = (status, body).into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
    if let Some(after) = Problem::Unavailable.retry_after().filter(|_| status == StatusCode::SERVICE_UNAVAILABLE) {
        response.headers_mut().insert(RETRY_AFTER, retry_after(after));
    }
    response
}

/// Returns the body of a problem. The feature `axum` has no `serde_json`, so it is written by hand.
pub(super) fn problem_json(status: StatusCode, detail: &str) -> Bytes {
    let (title, detail) = (status.canonical_reason().unwrap_or_default(), in_json(detail));
    format!(r#"{{"type":"about:blank","title":"{title}","status":{},"detail":"{detail}"}}"#, status.as_u16()).into()
}

/// Adds the id of the key that an earlier request has issued.
fn with_key_id(problem: Bytes, id: &KeyId) -> Bytes {
    let Some(members) = problem.strip_suffix(b"}") else { return problem };
    let id = format!(r#","key_id":"{}"}}"#, in_json(id.as_str()));
    [members, id.as_bytes()].concat().into()
}
