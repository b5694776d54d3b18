//! The operations on events.

use axum::{Json, extract::State};

use super::{
    extract::{ApiError, CanRead, RequestActor},
    handlers::{IdInPath, key_id},
    list_events::ListEvents,
    parse::QueryParams,
    responses::{EventList, ProblemBody},
};
use crate::manage::{KeyManager, problem::PROBLEM_JSON};

#[utoipa::path(get, path = "/events", operation_id = "list_events", tag = "events", params(ListEvents), responses(
    (status = 200, description = "One page of the events of all keys, newest first", body = EventList),
))]
pub(super) async fn all_events(
    State(manager): State<KeyManager>,
    caller: RequestActor<CanRead>,
    QueryParams(query): QueryParams<ListEvents>,
) -> Result<Json<EventList>, ApiError> {
    let page = caller.map_err(manager.events(caller.actor(), query.into_filter()).await)?;
    Ok(Json(EventList::from(&page)))
}

#[utoipa::path(get, path = "/{id}/events", operation_id = "list_events_of_key", tag = "events", params(("id" = String, Path), ListEvents), responses(
    (status = 200, description = "One page of the events of the key, newest first", body = EventList),
    (status = 404, description = "There is no such key, and it has no events", body = ProblemBody, content_type = PROBLEM_JSON),
))]
pub(super) async fn events_of_key(
    State(manager): State<KeyManager>,
    caller: RequestActor<CanRead>,
    id: IdInPath,
    QueryParams(query): QueryParams<ListEvents>,
) -> Result<Json<EventList>, ApiError> {
    let filter = query.into_filter().key(key_id(id)?);
    let page = caller.map_err(manager.events(caller.actor(), filter).await)?;
    Ok(Json(EventList::from(&page)))
}
