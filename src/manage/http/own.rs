//! The handlers of `/self`: the caller's own key.

use axum::{Json, extract::State, http::StatusCode};

use super::{
    bodies::ChangeReason,
    conditions::QueryReason,
    extract::{ApiError, IsHolder, RequestActor},
    responses::ProblemBody,
};
use crate::manage::{KeyManager, OwnKeyView, problem::PROBLEM_JSON};

#[utoipa::path(get, path = "/self", operation_id = "show_own_key", tag = "own key", responses(
    (status = 200, description = "The caller's own key; no permission is needed", body = OwnKeyView),
    (status = 404, description = "The caller was signed in without a key", body = ProblemBody, content_type = PROBLEM_JSON),
))]
pub(super) async fn show_self(
    State(manager): State<KeyManager>,
    caller: RequestActor<IsHolder>,
) -> Result<Json<OwnKeyView>, ApiError> {
    let record = caller.map_err(manager.own_key(caller.actor()).await)?;
    Ok(Json(OwnKeyView::until(&record, manager.validity().end(&record))))
}

#[utoipa::path(delete, path = "/self", operation_id = "revoke_own_key", tag = "own key", params(
    ("reason" = Option<ChangeReason>, Query, description = "Why the key is revoked."),
), responses(
    (status = 204, description = "The caller's own key is revoked; no permission is needed"),
    (status = 404, description = "The caller was signed in without a key", body = ProblemBody, content_type = PROBLEM_JSON),
))]
pub(super) async fn revoke_self(
    State(manager): State<KeyManager>,
    caller: RequestActor<IsHolder>,
    QueryReason(reason): QueryReason,
) -> Result<StatusCode, ApiError> {
    let caller = caller.because(reason);
    caller.map_err(manager.revoke_self(caller.actor()).await)?;
    Ok(StatusCode::NO_CONTENT)
}
