//! `/manage/session`: exchanges a key for a session, shows the session, and ends it.

use axum::{
    Json, Router,
    extract::{Extension, State},
    response::{IntoResponse, Response},
    routing::{delete, get, post},
};
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{SET_COOKIE, WWW_AUTHENTICATE},
};
use serde_json::{Value, json};

use super::{gate::Confinement, sessions::Sessions};
use crate::{
    guard::Require,
    layer::ApiKeyLayer,
    manage::{Actor, problem::problem},
    principal::Principal,
    record::{KeyId, Owner},
};

#[derive(Clone)]
struct KeySignIn {
    sessions: Sessions,
    confinement: Confinement,
}

/// Returns the routes that begin and end a session with a key.
pub(super) fn routes(sessions: Sessions, confinement: Confinement, layer: ApiKeyLayer) -> Router {
    let with_a_key = Router::new().route("/session", post(sign_in));
    with_a_key
        .route_layer(Require::permission("apiKeys", "read"))
        .route_layer(layer)
        .route("/session", delete(sign_out))
        .with_state(KeySignIn { sessions, confinement })
}

/// Returns the route that shows a session.
pub(super) fn session(confinement: &Confinement) -> Router {
    let show = async |State(confinement): State<Confinement>, Extension(actor): Extension<Actor>| {
        Json(session_view(&actor, &confinement))
    };
    Router::new().route("/session", get(show)).with_state(confinement.clone())
}

async fn sign_in(
    State(KeySignIn { sessions, confinement }): State<KeySignIn>,
    headers: HeaderMap,
    key: Principal,
) -> Response {
    if key.token_ends_at().is_some() {
        return unauthorized("Sign in with a key: a token ends too soon.");
    }
    match sessions.begin(&headers, &key).await {
        Ok(Some((cookie, actor))) => {
            ([(SET_COOKIE, cookie)], Json(session_view(&confinement.confine(actor), &confinement))).into_response()
        }
        Ok(None) => unauthorized("This key was replaced: sign in with the new one."),
        Err(error) => error.into_response(),
    }
}

async fn sign_out(State(KeySignIn { sessions, .. }): State<KeySignIn>, headers: HeaderMap) -> Response {
    ([(SET_COOKIE, sessions.end(&headers))], Json(json!({ "signed_in": false }))).into_response()
}

/// Returns what the page shows of the actor. The server decides again on every request.
fn session_view(actor: &Actor, confinement: &Confinement) -> Value {
    let permissions = actor.permissions();
    let may =
        ["create", "read", "update", "delete"].into_iter().filter(|action| permissions.allows("apiKeys", *action));
    json!({
        "key_id": actor.key_id().map(KeyId::as_str),
        "owner": actor.owner().map(ToString::to_string),
        "is_user": matches!(actor.owner(), Some(Owner::User(_))),
        "organization": actor.organization(),
        "permissions": permissions,
        "may": may.collect::<Vec<_>>(),
        "tops_up": permissions.allows("credits", "create"),
        "finds_by_text": confinement.may_find_by_text(actor),
        "own_keys_only": actor.is_own_keys_only(),
    })
}

pub(super) fn unauthorized(detail: &str) -> Response {
    let mut response = problem(StatusCode::UNAUTHORIZED, detail);
    response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Session realm=\"dashboard\""));
    response
}
