//! Adding credits to those of a key: its body, its handler and its response.

use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::post,
};
use serde::{Deserialize, Serialize};
use utoipa::{OpenApi, ToSchema};

use super::{
    extract::{ApiError, RequestActor, RequiredAction},
    handlers::{IdInPath, key_id},
    members::Members,
    parse::{Body, invalid},
    responses::ProblemBody,
};
use crate::{
    limit::{Balance, TopUpId},
    manage::{Actor, KeyManager, ManageError, problem::PROBLEM_JSON},
    permission::Action,
};

/// The operations on credits, for the OpenAPI document.
#[derive(OpenApi)]
#[openapi(paths(top_up))]
pub(super) struct CreditOperations;

/// Credits to add.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AddCredits {
    /// The name of the credits in the plan of the key.
    #[schema(min_length = 1, max_length = 64)]
    limit: String,
    #[schema(minimum = 1, maximum = 9_007_199_254_740_992_u64)]
    amount: u64,
    /// Makes the request safe to repeat: requests with the same id add credits once. For example
    /// the number of an invoice, of at most 128 bytes.
    #[schema(min_length = 1, max_length = 128, pattern = "^[^\\u0000]*$")]
    id: String,
}

/// The answer to a top-up.
#[derive(Serialize, ToSchema)]
pub(super) struct AddedCredits {
    limit: String,
    amount: u64,
    /// Whether this request has added the credits, or an earlier one with the same id.
    is_new: bool,
    balance: CreditBalance,
}

/// The credits of a key. `topped_up` is the sum of the other members.
#[derive(Serialize, ToSchema)]
pub(super) struct CreditBalance {
    /// What no node has leased.
    available: u64,
    /// What nodes have leased, and will spend or give back.
    leased: u64,
    /// What requests have spent, as far as nodes have said so.
    spent: u64,
    /// What nodes had leased that never came back.
    lost: u64,
    /// What a refill has replaced.
    expired: u64,
    /// All top-ups and refills.
    topped_up: u64,
}

/// An operator, or a caller with the permission to add credits.
pub(super) struct CanTopUp;

impl RequiredAction for CanTopUp {
    const ACTION: Option<Action> = None;

    fn denial(actor: &Actor) -> Option<ManageError> {
        (!actor.may_top_up()).then_some(ManageError::TopUpDenied)
    }
}

impl Members for AddCredits {
    const MEMBERS: &[(&str, &str)] = &[
        ("limit", "must be a string of 1 to 64 visible ASCII characters"),
        ("amount", "must be a whole number from 1 to 9007199254740992"),
        ("id", "must be a string of 1 to 128 bytes, without U+0000"),
    ];
}

pub(super) fn routes() -> Router<KeyManager> {
    Router::new().route("/{id}/top-ups", post(top_up))
}

#[utoipa::path(post, path = "/{id}/top-ups", operation_id = "add_credits", tag = "keys", params(("id" = String, Path)), request_body = AddCredits, responses(
    (status = 201, description = "The credits are added", body = AddedCredits),
    (status = 200, description = "An earlier request with this id has added them; this one adds none", body = AddedCredits),
    (status = 404, description = "There is no such key", body = ProblemBody, content_type = PROBLEM_JSON),
    (status = 409, description = "An earlier request with this id has added another amount", body = ProblemBody, content_type = PROBLEM_JSON),
))]
async fn top_up(
    State(manager): State<KeyManager>,
    caller: RequestActor<CanTopUp>,
    id: IdInPath,
    Body(AddCredits { limit, amount, id: once }): Body<AddCredits>,
) -> Result<Response, ApiError> {
    let once = TopUpId::new(once).ok_or_else(|| invalid::<AddCredits>("id"))?;
    let top_up = caller.map_err(manager.top_up(caller.actor(), key_id(id)?, limit.clone(), amount, once).await)?;
    let status = if top_up.is_new { StatusCode::CREATED } else { StatusCode::OK };
    let (is_new, balance) = (top_up.is_new, top_up.balance.into());
    Ok((status, Json(AddedCredits { limit, amount, is_new, balance })).into_response())
}

impl From<Balance> for CreditBalance {
    fn from(balance: Balance) -> Self {
        let Balance { available, leased, spent, lost, expired, topped_up } = balance;
        Self { available, leased, spent, lost, expired, topped_up }
    }
}
