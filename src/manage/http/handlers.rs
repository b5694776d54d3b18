//! The handlers: one for each operation of the API. Their attributes describe them in the OpenAPI
//! document.

use axum::{
    Json,
    extract::{Path, State, rejection::PathRejection},
    response::Response,
};
use serde::Deserialize;

use super::{
    bodies::{ChangeReason, CreateKey, EditKey, RegenerateKey, RotateKey},
    conditions::QueryReason,
    extract::{ApiError, CanCreate, CanDelete, CanRead, CanUpdate, RequestActor},
    idempotency::{IdempotencyHeader, RequestIdempotencyKey},
    list::ListKeys,
    parse::{Body, QueryParams, invalid},
    responses::{IssuedKey, KeyList, ProblemBody, created, shown},
    search::Conditions,
};
use crate::{
    manage::{KeyManager, KeyView, problem::PROBLEM_JSON},
    record::KeyId,
};

#[utoipa::path(post, path = "/", operation_id = "create_key", tag = "keys", params(IdempotencyHeader), request_body = CreateKey, responses(
    (status = 201, description = "The key, with its plain text, which no later response contains", body = IssuedKey),
    (status = 409, description = "The user, or the service accounts of the organization, have the maximum number of keys; or a request with this Idempotency-Key has already issued the key `key_id`", body = ProblemBody, content_type = PROBLEM_JSON),
))]
pub(super) async fn create(
    State(manager): State<KeyManager>,
    caller: RequestActor<CanCreate>,
    idempotency: RequestIdempotencyKey,
    Body(body): Body<CreateKey>,
) -> Result<Response, ApiError> {
    let new = body.into_new(caller.actor());
    let issued = caller.map_err(manager.issue(&idempotency.of(caller.actor()), new).await)?;
    created(&issued, manager.validity())
}

#[utoipa::path(get, path = "/", operation_id = "list_keys", tag = "keys", params(ListKeys, Conditions), responses(
    (status = 200, description = "One page of the keys. It may have fewer keys than the limit, even none, while `next` is not null", body = KeyList),
))]
pub(super) async fn list(
    State(manager): State<KeyManager>,
    caller: RequestActor<CanRead>,
    QueryParams(query): QueryParams<ListKeys>,
) -> Result<Json<KeyList>, ApiError> {
    let page = caller.map_err(manager.list(caller.actor(), query.into_filter()).await)?;
    Ok(Json(KeyList::new(&page, manager.validity())))
}

#[utoipa::path(get, path = "/{id}", operation_id = "show_key", tag = "keys", params(("id" = String, Path)), responses(
    (status = 200, description = "The key", body = KeyView),
    (status = 404, description = "There is no such key", body = ProblemBody, content_type = PROBLEM_JSON),
))]
pub(super) async fn show(
    State(manager): State<KeyManager>,
    caller: RequestActor<CanRead>,
    id: IdInPath,
) -> Result<Response, ApiError> {
    let record = caller.map_err(manager.get(caller.actor(), key_id(id)?).await)?;
    Ok(shown(&record, manager.validity()))
}

#[utoipa::path(patch, path = "/{id}", operation_id = "edit_key", tag = "keys", params(("id" = String, Path)), request_body(content(
    (EditKey = "application/json"),
    (EditKey = "application/merge-patch+json"),
)), responses(
    (status = 200, description = "The changed key", body = KeyView),
    (status = 404, description = "There is no such key", body = ProblemBody, content_type = PROBLEM_JSON),
    (status = 409, description = "The key is revoked, or it is replaced and the expiry would be later", body = ProblemBody, content_type = PROBLEM_JSON),
))]
pub(super) async fn edit(
    State(manager): State<KeyManager>,
    caller: RequestActor<CanUpdate>,
    id: IdInPath,
    Body(mut body): Body<EditKey>,
) -> Result<Response, ApiError> {
    let caller = caller.because(body.take_reason());
    let edit = body.into_edit(caller.actor());
    let record = caller.map_err(manager.edit(caller.actor(), key_id(id)?, edit).await)?;
    Ok(shown(&record, manager.validity()))
}

#[utoipa::path(post, path = "/{id}/regenerate", operation_id = "regenerate_key", tag = "keys", params(("id" = String, Path), IdempotencyHeader), request_body = RegenerateKey, responses(
    (status = 201, description = "The new key, with its plain text, which no later response contains; the old key is revoked", body = IssuedKey),
    (status = 404, description = "There is no such key", body = ProblemBody, content_type = PROBLEM_JSON),
    (status = 409, description = "The key is revoked, replaced or expired; or a request with this Idempotency-Key has already issued the key `key_id`", body = ProblemBody, content_type = PROBLEM_JSON),
))]
pub(super) async fn regenerate(
    State(manager): State<KeyManager>,
    caller: RequestActor<CanUpdate>,
    id: IdInPath,
    idempotency: RequestIdempotencyKey,
    body: Option<Body<RegenerateKey>>,
) -> Result<Response, ApiError> {
    let caller = caller.because(body.and_then(|Body(body)| body.into_reason()));
    let issued = caller.map_err(manager.regenerate(&idempotency.of(caller.actor()), key_id(id)?).await)?;
    created(&issued, manager.validity())
}

#[utoipa::path(post, path = "/{id}/rotate", operation_id = "rotate_key", tag = "keys", params(("id" = String, Path), IdempotencyHeader), request_body = RotateKey, responses(
    (status = 201, description = "The new key, with its plain text, which no later response contains; the old key works until the end of the grace period", body = IssuedKey),
    (status = 404, description = "There is no such key", body = ProblemBody, content_type = PROBLEM_JSON),
    (status = 409, description = "The key is revoked, replaced or expired; or a request with this Idempotency-Key has already issued the key `key_id`", body = ProblemBody, content_type = PROBLEM_JSON),
))]
pub(super) async fn rotate(
    State(manager): State<KeyManager>,
    caller: RequestActor<CanUpdate>,
    id: IdInPath,
    idempotency: RequestIdempotencyKey,
    Body(mut body): Body<RotateKey>,
) -> Result<Response, ApiError> {
    if !body.is_short() {
        return Err(invalid::<RotateKey>("grace_seconds"));
    }
    let caller = caller.because(body.take_reason());
    let actor = idempotency.of(caller.actor());
    let issued = caller.map_err(manager.rotate(&actor, key_id(id)?, body.into_rotation()).await)?;
    created(&issued, manager.validity())
}

#[utoipa::path(delete, path = "/{id}", operation_id = "revoke_key", tag = "keys", params(
    ("id" = String, Path),
    ("reason" = Option<ChangeReason>, Query, description = "Why the key is revoked."),
), responses(
    (status = 200, description = "The revoked key", body = KeyView),
    (status = 404, description = "There is no such key", body = ProblemBody, content_type = PROBLEM_JSON),
))]
pub(super) async fn revoke(
    State(manager): State<KeyManager>,
    caller: RequestActor<CanDelete>,
    id: IdInPath,
    QueryReason(reason): QueryReason,
) -> Result<Response, ApiError> {
    let caller = caller.because(reason);
    let record = caller.map_err(manager.revoke(caller.actor(), key_id(id)?).await)?;
    Ok(shown(&record, manager.validity()))
}

pub(super) type IdInPath = Result<Path<KeyPath>, PathRejection>;

/// The `{id}` of the path. Parameters of a path under which the router is nested are ignored.
#[derive(Deserialize)]
pub(super) struct KeyPath {
    id: String,
}

pub(super) fn key_id(id: IdInPath) -> Result<KeyId, ApiError> {
    match id {
        Ok(Path(KeyPath { id })) => Ok(id.into()),
        Err(rejection) => Err(ApiError::problem(rejection.status(), "The path is not valid UTF-8.")),
    }
}
