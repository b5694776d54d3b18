//! Webhooks for operators: which endpoints are disabled, and what could not be delivered. Endpoints
//! are set in code only. No response has a URL, which may contain a password or a token.

use std::num::NonZeroU8;

use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    routing::{get, post},
};
use jiff::Timestamp;
use serde::Serialize;
use utoipa::{IntoParams, OpenApi, ToSchema};

use super::{
    extract::{ApiError, CanRead, CanUpdate, RequestActor, RequiredAction},
    handlers::{IdInPath, key_id},
    list::HUNDRED,
    parse::{QueryParams, QueryString},
    responses::ProblemBody,
};
use crate::{
    manage::{
        Actor, EventView, KeyManager, KeyManagerBuilder, ManageError, concurrency::WorkKind, problem::PROBLEM_JSON,
        view::timestamp,
    },
    permission::Action,
    webhook::{WebhookDeliverer, WebhookDelivery, WebhookError},
};

/// The operations on webhooks, for the OpenAPI document.
#[derive(OpenApi)]
#[openapi(paths(list_webhooks, list_dead_letters, revive_webhook))]
pub(super) struct WebhookOperations;

/// The endpoints of webhooks.
#[derive(Serialize, ToSchema)]
pub(super) struct WebhookList {
    webhooks: Vec<WebhookState>,
}

/// An endpoint.
#[derive(Serialize, ToSchema)]
pub(super) struct WebhookState {
    id: String,
    /// Whether events are sent to it. A 410 of the endpoint disables it.
    enabled: bool,
    /// The number of its dead letters; 100 means 100 or more.
    #[schema(maximum = 100)]
    dead_letters: usize,
}

/// The dead letters of an endpoint, oldest first.
#[derive(Serialize, ToSchema)]
pub(super) struct DeadLetterList {
    dead_letters: Vec<DeadLetter>,
}

/// An event that could not be delivered.
#[derive(Serialize, ToSchema)]
pub(super) struct DeadLetter {
    event: EventView,
    /// The number of attempts.
    attempts: u32,
    /// When the delivery was queued.
    #[schema(value_type = String, format = DateTime)]
    queued_at: Timestamp,
}

/// What is sent again.
#[derive(Serialize, ToSchema)]
pub(super) struct RevivedWebhook {
    /// The number of dead letters that are sent again.
    revived: u32,
}

/// The parameters of a list of dead letters.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ListDeadLetters {
    /// The maximum number of dead letters.
    #[param(value_type = u8, minimum = 1, maximum = 255, default = 100, required = false)]
    limit: NonZeroU8,
}

/// The number of dead letters that are counted.
const COUNTED: u32 = 100;

pub(super) fn routes() -> Router<KeyManager> {
    Router::new()
        .route("/webhooks", get(list_webhooks))
        .route("/webhooks/{id}/dead", get(list_dead_letters))
        .route("/webhooks/{id}/revive", post(revive_webhook))
}

#[utoipa::path(get, path = "/webhooks", tag = "webhooks", responses(
    (status = 200, description = "The endpoints of webhooks, for a caller that is trusted with every organization", body = WebhookList),
))]
async fn list_webhooks(
    State(manager): State<KeyManager>,
    caller: RequestActor<CanRead>,
) -> Result<Json<WebhookList>, ApiError> {
    let webhooks = manager.as_operator(&caller, None, |deliverer| async move {
        let mut webhooks = Vec::new();
        for id in deliverer.endpoint_ids() {
            let dead_letters = deliverer.dead_letters(id, COUNTED).await?.len();
            webhooks.push(WebhookState { id: id.to_owned(), enabled: deliverer.is_enabled(id).await?, dead_letters });
        }
        Ok::<_, WebhookError>(webhooks)
    });
    Ok(Json(WebhookList { webhooks: webhooks.await? }))
}

#[utoipa::path(get, path = "/webhooks/{id}/dead", tag = "webhooks", params(("id" = String, Path), ListDeadLetters), responses(
    (status = 200, description = "The dead letters of the endpoint, oldest first", body = DeadLetterList),
    (status = 404, description = "There is no such webhook", body = ProblemBody, content_type = PROBLEM_JSON),
))]
async fn list_dead_letters(
    State(manager): State<KeyManager>,
    caller: RequestActor<CanRead>,
    id: IdInPath,
    QueryParams(query): QueryParams<ListDeadLetters>,
) -> Result<Json<DeadLetterList>, ApiError> {
    let (id, limit) = (key_id(id)?.to_string(), query.limit.get().into());
    let letters = manager.as_operator(&caller, Some(id.clone()), move |deliverer| {
        let id = id.clone();
        async move { deliverer.dead_letters(&id, limit).await }
    });
    Ok(Json(DeadLetterList { dead_letters: letters.await?.iter().map(DeadLetter::from).collect() }))
}

#[utoipa::path(post, path = "/webhooks/{id}/revive", tag = "webhooks", params(("id" = String, Path)), responses(
    (status = 200, description = "The endpoint is enabled, and its dead letters are sent again", body = RevivedWebhook),
    (status = 404, description = "There is no such webhook", body = ProblemBody, content_type = PROBLEM_JSON),
))]
async fn revive_webhook(
    State(manager): State<KeyManager>,
    caller: RequestActor<CanUpdate>,
    id: IdInPath,
) -> Result<Json<RevivedWebhook>, ApiError> {
    let id = key_id(id)?.to_string();
    let revived = manager.as_operator(&caller, Some(id.clone()), move |deliverer| {
        let id = id.clone();
        async move { deliverer.revive(&id).await }
    });
    Ok(Json(RevivedWebhook { revived: revived.await? }))
}

impl KeyManager {
    /// Runs `work` with the deliverer, if the caller is an operator and the webhook exists.
    async fn as_operator<A, T, W, F>(
        &self,
        caller: &RequestActor<A>,
        webhook: Option<String>,
        work: W,
    ) -> Result<T, ApiError>
    where
        A: RequiredAction,
        T: Send + 'static,
        W: Fn(WebhookDeliverer) -> F + Send + Sync + 'static,
        F: Future<Output = Result<T, WebhookError>> + Send,
    {
        let (action, kind) = (A::ACTION.unwrap_or(Action::UPDATE), WorkKind::Read);
        let done = self.run_as(caller.actor(), action, kind, move |manager, actor| {
            let deliverer = manager.0.http.webhooks.clone();
            let deliverer = deliverer.filter(|deliverer| {
                webhook.as_deref().is_none_or(|id| deliverer.endpoint_ids().any(|known| known == id))
            });
            let done = is_operator(&actor).then(|| deliverer.map(&work)).ok_or(ManageError::TrustedActorRequired);
            async move {
                let Some(done) = done? else { return Ok(None) };
                done.await.map(Some).map_err(|WebhookError::Store(error)| ManageError::Store(error))
            }
        });
        let unknown = || ApiError::problem(StatusCode::NOT_FOUND, "There is no such webhook.");
        caller.map_err(done.await)?.ok_or_else(unknown)
    }
}

/// A dead letter has an event of any organization, environment and owner.
fn is_operator(actor: &Actor) -> bool {
    actor.is_across_organizations() && actor.environment().is_none() && !actor.is_own_keys_only()
}

// === impl DeadLetter, ListDeadLetters ===

impl From<&WebhookDelivery> for DeadLetter {
    fn from(letter: &WebhookDelivery) -> Self {
        let event = EventView::from(&letter.event);
        Self { event, attempts: letter.attempts, queued_at: timestamp(letter.queued_at) }
    }
}

impl QueryString for ListDeadLetters {
    fn parse(query: &str) -> Result<Self, String> {
        let mut limit = None;
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            if name != "limit" {
                return Err("Unknown parameter: use limit.".into());
            }
            let given = value.parse().map_err(|_| "limit: must be a number from 1 to 255.")?;
            if limit.replace(given).is_some() {
                return Err("limit: given twice.".into());
            }
        }
        Ok(Self { limit: limit.unwrap_or(HUNDRED) })
    }
}

impl KeyManagerBuilder {
    /// Serves the webhooks of this deliverer at the routers of the management API: their state,
    /// their dead letters, and sending these again. By default there are no such routes.
    ///
    /// Dead letters have events of every organization. So only an actor without a key, which is
    /// [across organizations](super::super::Actor::across_organizations) and not confined
    /// otherwise, may use the routes. The deliverer is not run: call
    /// [`WebhookDeliverer::run`].
    ///
    /// ```
    /// use tower_api_key::{ConfigError, KeyFormat, KeyManager, store::MemoryStore, webhook::WebhookDeliverer};
    ///
    /// fn manager(store: MemoryStore, deliverer: &WebhookDeliverer) -> Result<KeyManager, ConfigError> {
    ///     KeyManager::builder(store).format(KeyFormat::new("acme").unwrap()).webhooks(deliverer.clone()).build()
    /// }
    /// ```
    pub fn webhooks(mut self, deliverer: WebhookDeliverer) -> Self {
        self.http.webhooks = Some(deliverer);
        self
    }
}
