//! Lets a request of `/manage` through with the actor of its session, or rejects it.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use http::{HeaderMap, Method, StatusCode, header::CONTENT_TYPE, request::Parts};

use super::{host::HostSession, sessions::Sessions, sign_in::unauthorized};
use crate::{
    manage::{Actor, ManageError, problem::problem},
    principal::Principal,
};

/// Who is signed in, and what they may see.
#[derive(Clone)]
pub(super) struct SessionGate {
    pub(super) source: SessionSource,
    pub(super) confinement: Confinement,
}

/// Where the session of a request comes from.
#[derive(Clone)]
pub(super) enum SessionSource {
    Host(HostSession),
    Key(Sessions),
}

/// Confines actors to their own keys. Administrators, who are not confined, may also find a key by
/// its text.
#[derive(Clone, Default)]
pub(super) struct Confinement {
    pub(super) own_keys_only: bool,
    pub(super) administrators: Option<Administrators>,
}

pub(super) type Administrators = Arc<dyn Fn(&Actor) -> bool + Send + Sync>;

// === impl SessionGate ===

impl SessionGate {
    async fn actor(&self, parts: &Parts) -> Result<Option<Actor>, ManageError> {
        let actor = match &self.source {
            SessionSource::Host(session) => session.actor(parts.clone()).await,
            SessionSource::Key(sessions) => sessions.actor(parts).await,
        }?;
        Ok(actor.map(|actor| self.confinement.confine(actor)))
    }
}

impl Confinement {
    /// Confines an actor that is not an administrator to its own keys.
    pub(super) fn confine(&self, actor: Actor) -> Actor {
        let is_administrator = |administrators: &Administrators| administrators(&actor);
        if self.own_keys_only || !self.administrators.as_ref().is_none_or(is_administrator) {
            return actor.own_keys_only();
        }
        actor
    }

    /// Returns the actor with which a key is found by its text. That of an administrator's key acts
    /// without the key.
    fn actor_for_find(&self, actor: Actor) -> Actor {
        match actor.key_id() {
            Some(_) if self.may_find_by_text(&actor) => actor.without_key().unwrap_or(actor),
            _ => actor,
        }
    }

    /// Returns whether the actor, which is confined already, may find a key by its text.
    pub(super) fn may_find_by_text(&self, actor: &Actor) -> bool {
        !actor.is_own_keys_only() && (actor.key_id().is_none() || self.administrators.is_some())
    }
}

/// Rejects a request without a session. Passes the actor of the session to the handlers, in place
/// of any principal.
pub(super) async fn require_session(State(gate): State<SessionGate>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let actor = match gate.actor(&parts).await {
        Ok(Some(actor)) => actor,
        Ok(None) => return unauthorized("Sign in first."),
        // The cause is logged.
        Err(_) => return problem(StatusCode::SERVICE_UNAVAILABLE, "Your session cannot be read now. Try again soon."),
    };
    let actor = match parts.uri.path() {
        "/keys/find" => gate.confinement.actor_for_find(actor),
        // It describes how to present a key, which this session does not need.
        "/keys/openapi.json" => return problem(StatusCode::NOT_FOUND, "The dashboard has no such path."),
        _ => actor,
    };
    parts.extensions.remove::<Principal>();
    parts.extensions.insert(actor);
    next.run(Request::from_parts(parts, body)).await
}

/// Rejects a change whose body is a form or a plain text, the only ones that another site can send
/// without asking.
pub(super) async fn require_json(request: Request, next: Next) -> Response {
    let is_change = !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    if is_change && !is_json(request.headers()) {
        return problem(StatusCode::UNSUPPORTED_MEDIA_TYPE, "Send Content-Type: application/json.");
    }
    next.run(request).await
}

fn is_json(headers: &HeaderMap) -> bool {
    let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = media_type.split(';').next().unwrap_or_default().trim_ascii();
    ["application/json", "application/merge-patch+json"].iter().any(|json| essence.eq_ignore_ascii_case(json))
}
