//! Finds a key by its text. The text is in the body of the request, since servers log URLs.

use axum::{Json, extract::State, http::StatusCode};
use serde::{Deserialize, Deserializer};
use utoipa::ToSchema;
use zeroize::Zeroizing;

use super::{
    extract::{ApiError, CanRead, RequestActor},
    members::Members,
    parse::Body,
    responses::ProblemBody,
};
use crate::manage::{KeyManager, KeyView, problem::PROBLEM_JSON};

/// The text of a key.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct FindKey {
    /// The whole key.
    #[serde(deserialize_with = "wiped")]
    #[schema(value_type = String)]
    key: Zeroizing<String>,
}

impl Members for FindKey {
    const MEMBERS: &[(&str, &str)] = &[("key", "must be a string")];
}

#[utoipa::path(post, path = "/find", operation_id = "find_key", tag = "keys", request_body = FindKey, responses(
    (status = 200, description = "The key. This request does not count as its use", body = KeyView),
    (status = 404, description = "There is no such key", body = ProblemBody, content_type = PROBLEM_JSON),
))]
pub(super) async fn find(
    State(manager): State<KeyManager>,
    caller: RequestActor<CanRead>,
    Body(body): Body<FindKey>,
) -> Result<Json<KeyView>, ApiError> {
    let found = caller.map_err(manager.find_by_key(caller.actor(), &body.key).await)?;
    let unknown = || ApiError::problem(StatusCode::NOT_FOUND, "There is no such key.");
    Ok(Json(KeyView::new(&found.ok_or_else(unknown)?, manager.validity())))
}

/// Deserializes a text that is wiped when it is dropped.
fn wiped<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Zeroizing<String>, D::Error> {
    String::deserialize(deserializer).map(Zeroizing::new)
}
