//! The actor of a request, with the permission that the operation requires.

use std::marker::PhantomData;

use axum::{
    extract::{FromRequestParts, Request},
    http::{StatusCode, header::ORIGIN, request::Parts},
    response::{IntoResponse, Response},
};

use super::{
    bodies::ChangeReason,
    conditions::{address, request_id, required_versions},
};
use crate::{
    manage::{
        Actor, ManageError,
        problem::{problem, problem_json},
    },
    permission::Action,
    principal::{CallerIdentity, Principal},
    rejection::{Reason, Rejection},
};

/// Extracts the actor of a request, if it has the permission `A` on `apiKeys`, where `A` is one.
///
/// It comes before the body in a handler's arguments, so a caller without the permission gets 403
/// before the body is read. The manager checks the permission again, with the current record of the
/// key, since the key may be revoked while the body arrives.
pub(super) struct RequestActor<A> {
    identity: Identity,
    requires: PhantomData<A>,
}

/// The actor, and the principal from which it was built, if any.
struct Identity {
    actor: Actor,
    principal: Option<Principal>,
}

/// The action on `apiKeys` that an operation requires, if any.
pub(super) trait RequiredAction {
    const ACTION: Option<Action>;

    /// Returns why the actor may not make the request, if so.
    fn denial(actor: &Actor) -> Option<ManageError> {
        Self::ACTION.filter(|action| !actor.may(action)).map(ManageError::PermissionDenied)
    }
}

pub(super) struct CanCreate;
pub(super) struct CanRead;
pub(super) struct CanUpdate;
pub(super) struct CanDelete;
/// Any caller: the operation is about the caller's own key.
pub(super) struct IsHolder;

/// The request extension that confines each actor of the self-service router to its own keys.
#[derive(Clone, Copy)]
pub(super) struct OwnKeysOnly;

/// An error response.
pub(super) struct ApiError(Box<Response>);

impl RequiredAction for CanCreate {
    const ACTION: Option<Action> = Some(Action::CREATE);
}

impl RequiredAction for CanRead {
    const ACTION: Option<Action> = Some(Action::READ);
}

impl RequiredAction for CanUpdate {
    const ACTION: Option<Action> = Some(Action::UPDATE);
}

impl RequiredAction for CanDelete {
    const ACTION: Option<Action> = Some(Action::DELETE);
}

impl RequiredAction for IsHolder {
    const ACTION: Option<Action> = None;
}

// === impl RequestActor ===

impl<A> RequestActor<A> {
    pub(super) fn actor(&self) -> &Actor {
        &self.identity.actor
    }

    /// Sets why the caller makes the change.
    pub(super) fn because(mut self, reason: Option<ChangeReason>) -> Self {
        if let Some(ChangeReason(reason)) = reason {
            self.identity.actor = self.identity.actor.because(reason);
        }
        self
    }

    pub(super) fn error(&self, error: ManageError) -> ApiError {
        self.identity.error(error)
    }

    pub(super) fn map_err<T>(&self, done: Result<T, ManageError>) -> Result<T, ApiError> {
        done.map_err(|error| self.identity.error(error))
    }
}

impl<S: Sync, A: RequiredAction> FromRequestParts<S> for RequestActor<A> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let mut identity = Identity::of(parts).map_err(|rejection| ApiError::from(rejection.into_response()))?;
        if let Some(denial) = A::denial(&identity.actor) {
            return Err(identity.error(denial));
        }
        identity.actor = described(identity.actor, parts).at_versions(required_versions(&parts.headers)?);
        Ok(Self { identity, requires: PhantomData })
    }
}

/// Adds the id of the request and the address of the caller, unless the application has set them.
fn described(mut actor: Actor, parts: &Parts) -> Actor {
    if let Some(id) = request_id(&parts.headers).filter(|_| actor.request_id().is_none()) {
        actor = actor.with_request_id(id);
    }
    match address(parts) {
        Some(address) if actor.address().is_none() => actor.with_address(address),
        _ => actor,
    }
}

impl Identity {
    fn of(parts: &Parts) -> Result<Self, Rejection> {
        let is_confined = parts.extensions.get::<OwnKeysOnly>().is_some();
        let confine = |actor: Actor| if is_confined { actor.own_keys_only() } else { actor };
        let signed_in = parts.extensions.get::<Actor>();
        if let Some(principal) = parts.extensions.get::<Principal>() {
            let actor = Actor::from(principal);
            let actor = signed_in
                .iter()
                .fold(actor, |actor, signed_in| actor.confined_like(signed_in).described_like(signed_in));
            return Ok(Self { actor: confine(actor), principal: Some(principal.clone()) });
        }
        if let Some(actor) = signed_in {
            return Ok(Self { actor: confine(actor.clone()), principal: None });
        }
        CallerIdentity::of(&parts.extensions, "the management API")?;
        Err(Rejection::new(Reason::Missing))
    }

    /// Returns the response for an error. For a request with a key, a 403 becomes a rejection, so
    /// that the layer renders and reports it like its own rejections.
    fn error(&self, error: ManageError) -> ApiError {
        match &self.principal {
            Some(principal) if error.status() == StatusCode::FORBIDDEN => {
                let problem = problem_json(error.status(), &error.detail());
                principal.refused(Reason::Forbidden).with_problem_json(problem).into_response().into()
            }
            _ => error.into_response().into(),
        }
    }
}

/// Removes the headers in which a browser describes the origin of a request (`Origin`,
/// `Sec-Fetch-Site`), if the request has a key in a private header. Another site cannot make a
/// browser send such a header, so the request is exempt from the check for cross-site requests.
pub(super) async fn without_page_headers(mut request: Request) -> Request {
    let extensions = request.extensions();
    let is_private = extensions.get::<Principal>().is_some_and(|principal| {
        let is_same_key = |actor: &Actor| actor.key_id() == Some(principal.id());
        !principal.scheme().is_ambient() && extensions.get().is_none_or(is_same_key)
    });
    if is_private {
        request.headers_mut().remove(ORIGIN);
        request.headers_mut().remove("sec-fetch-site");
    }
    request
}

impl ApiError {
    pub(super) fn problem(status: StatusCode, detail: &str) -> Self {
        problem(status, detail).into()
    }
}

impl From<ManageError> for ApiError {
    fn from(error: ManageError) -> Self {
        error.into_response().into()
    }
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
