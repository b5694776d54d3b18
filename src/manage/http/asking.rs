//! Who asks, and what was sent: extractors that answer with a problem.

use axum::{
    Json,
    extract::{FromRequest, FromRequestParts, OptionalFromRequest, Request, rejection::JsonRejection},
    http::{HeaderValue, StatusCode, header::CONTENT_TYPE, request::Parts},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::MethodRouter,
};
use http_body::Body as _;
use serde::de::DeserializeOwned;

use super::problem::{Failure, of_error, problem, problem_json};
use crate::{
    manage::{Actor, KeyManager, ManageError},
    permission::Action,
    principal::{Caller, Principal},
    rejection::Reason,
};

/// The actor of a request, and the principal behind it, if there is one.
#[derive(Clone)]
pub(super) struct Asking {
    actor: Actor,
    principal: Option<Principal>,
}

/// The mark of a router on its requests: each actor is confined to its own keys.
#[derive(Clone, Copy)]
pub(super) struct OwnKeysOnly;

/// A JSON body.
pub(super) struct Body<T>(pub(super) T);

/// A query string.
pub(super) struct Query<T>(pub(super) T);

/// A route whose actor must be allowed to do this to keys.
pub(super) fn needs(action: Action, route: MethodRouter<KeyManager>) -> MethodRouter<KeyManager> {
    route.route_layer(middleware::from_fn(move |asking: Asking, request: Request, next: Next| {
        let action = action.clone();
        async move {
            if asking.actor.may(&action) {
                next.run(request).await
            } else {
                asking.failed(&ManageError::MayNot(action)).into_response()
            }
        }
    }))
}

impl Asking {
    pub(super) fn actor(&self) -> &Actor {
        &self.actor
    }

    pub(super) fn told<T>(&self, done: Result<T, ManageError>) -> Result<T, Failure> {
        done.map_err(|error| self.failed(&error))
    }

    /// What the caller is told. A 403 to a key goes through the layer, which renders it in its own format and reports it.
    fn failed(&self, error: &ManageError) -> Failure {
        let (status, detail) = of_error(error);
        match &self.principal {
            Some(principal) if status == StatusCode::FORBIDDEN => {
                let rejection = principal.refused(Reason::Forbidden).with_problem_json(problem_json(status, &detail));
                rejection.into_response().into()
            }
            _ => problem(status, &detail).into(),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Asking {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Response> {
        let confined = parts.extensions.get::<OwnKeysOnly>().is_some();
        let confine = |actor: Actor| if confined { actor.own_keys_only() } else { actor };
        let signed_in = parts.extensions.get::<Actor>();
        if let Some(principal) = parts.extensions.get::<Principal>() {
            let actor = Actor::from(principal);
            let actor = signed_in.iter().fold(actor, |actor, signed_in| actor.confined_like(signed_in));
            return Ok(Self { actor: confine(actor), principal: Some(principal.clone()) });
        }
        if let Some(actor) = signed_in {
            return Ok(Self { actor: confine(actor.clone()), principal: None });
        }
        match Caller::of(&parts.extensions, "the management API") {
            Ok(_) => Err(crate::Rejection::new(Reason::Missing).into_response()),
            Err(misconfigured) => Err(misconfigured.into_response()),
        }
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        match <Json<T> as FromRequest<S>>::from_request(request, state).await {
            Ok(Json(body)) => Ok(Self(body)),
            Err(rejection) => Err(refused(&rejection)),
        }
    }
}

/// An empty body is none; any other must be JSON.
impl<S: Send + Sync, T: DeserializeOwned> OptionalFromRequest<S> for Body<T> {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Option<Self>, Response> {
        let media_type = request.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes);
        let is_json = media_type.is_none_or(|media_type| media_type.starts_with(b"application/json"));
        if is_json && request.body().size_hint().exact() == Some(0) {
            return Ok(None);
        }
        <Self as FromRequest<S>>::from_request(request, state).await.map(Some)
    }
}

impl<S: Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Response> {
        match axum::extract::Query::try_from_uri(&parts.uri) {
            Ok(axum::extract::Query(query)) => Ok(Self(query)),
            Err(rejection) => Err(problem(rejection.status(), &rejection.body_text())),
        }
    }
}

fn refused(rejection: &JsonRejection) -> Response {
    problem(rejection.status(), &rejection.body_text())
}
