//! Who asks, and what was sent: extractors that answer with a problem.

use axum::{
    extract::{FromRequest, FromRequestParts, OptionalFromRequest, Request},
    http::{
        HeaderMap, StatusCode,
        header::{CONTENT_TYPE, ORIGIN},
        request::Parts,
    },
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::MethodRouter,
};
use bytes::Bytes;
use http_body::Body as _;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::error::Category;

use super::{
    json::{ListKeys, Members},
    problem::{ApiError, of_error, problem, problem_json},
};
use crate::{
    manage::{Actor, KeyManager, ManageError},
    permission::Action,
    principal::{CallerIdentity, Principal},
    rejection::Reason,
};

/// The actor of a request, and the principal behind it, if there is one.
#[derive(Clone)]
pub(super) struct RequestActor {
    actor: Actor,
    principal: Option<Principal>,
}

/// The mark of a router on its requests: each actor is confined to its own keys.
#[derive(Clone, Copy)]
pub(super) struct OwnKeysOnly;

/// A JSON body.
pub(super) struct Body<T>(pub(super) T);

/// A query string.
pub(super) struct QueryParams<T>(pub(super) T);

/// A route whose actor must be allowed to do this to keys.
pub(super) fn require_action(action: Action, route: MethodRouter<KeyManager>) -> MethodRouter<KeyManager> {
    route.route_layer(middleware::from_fn(move |asking: RequestActor, request: Request, next: Next| {
        let action = action.clone();
        async move {
            if asking.actor.may(&action) {
                next.run(request).await
            } else {
                asking.failed(&ManageError::PermissionDenied(action)).into_response()
            }
        }
    }))
}

impl RequestActor {
    pub(super) fn actor(&self) -> &Actor {
        &self.actor
    }

    pub(super) fn map_err<T>(&self, done: Result<T, ManageError>) -> Result<T, ApiError> {
        done.map_err(|error| self.failed(&error))
    }

    /// What the caller is told. A 403 to a key goes through the layer, which renders it in its own format and reports it.
    fn failed(&self, error: &ManageError) -> ApiError {
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

impl<S: Sync> FromRequestParts<S> for RequestActor {
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
        match CallerIdentity::of(&parts.extensions, "the management API") {
            Ok(_) => Err(crate::Rejection::new(Reason::Missing).into_response()),
            Err(misconfigured) => Err(misconfigured.into_response()),
        }
    }
}

/// Takes the page behind a request out of it where it is of no account: another site can make a browser send what the browser adds by
/// itself, but no private header.
pub(super) async fn without_the_page_behind(mut request: Request) -> Request {
    let extensions = request.extensions();
    let is_private = extensions.get::<Principal>().is_some_and(|principal| {
        let acts_itself = |actor: &Actor| actor.key_id() == Some(principal.id());
        !principal.scheme().is_ambient() && extensions.get().is_none_or(acts_itself)
    });
    if is_private {
        request.headers_mut().remove(ORIGIN);
        request.headers_mut().remove("sec-fetch-site");
    }
    request
}

impl<S: Send + Sync, T: DeserializeOwned + Members> FromRequest<S> for Body<T> {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        if !is_json(request.headers()) {
            return Err(problem(StatusCode::UNSUPPORTED_MEDIA_TYPE, "The body must be application/json."));
        }
        let body = Bytes::from_request(request, state).await;
        let body =
            body.map_err(|rejection| problem(rejection.status(), "The body is too large, or did not come whole."))?;
        parsed(&body).map(Self)
    }
}

const NO_OBJECT: &str = "The body must be an object.";

/// Reads a body. What is wrong with it is said without a part of it.
#[allow(clippy::result_large_err, reason = "a response, as an extractor's rejection is")]
fn parsed<T: DeserializeOwned + Members>(body: &[u8]) -> Result<T, Response> {
    // serde takes a list of values for an object of them.
    let is_object = body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{');
    let mut json = serde_json::Deserializer::from_slice(body);
    let read = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let member = error.path().iter().next().map(ToString::to_string).unwrap_or_default();
        (member, error.into_inner())
    });
    let read = read.and_then(|body| json.end().map(|()| body).map_err(|error| (String::new(), error)));
    let (member, error) = match read {
        Ok(body) if is_object => return Ok(body),
        Ok(_) => return Err(problem(StatusCode::UNPROCESSABLE_ENTITY, NO_OBJECT)),
        Err(wrong) => wrong,
    };
    // What serde_json takes for no JSON may be some: half of a surrogate pair, say.
    let is_json = error.classify() == Category::Data || serde_json::from_slice::<IgnoredAny>(body).is_ok();
    if !is_json {
        let (line, column) = (error.line(), error.column());
        let detail = format!("The body is no JSON: line {line}, column {column}.");
        return Err(problem(StatusCode::BAD_REQUEST, &detail));
    }
    if !is_object {
        return Err(problem(StatusCode::UNPROCESSABLE_ENTITY, NO_OBJECT));
    }
    if T::MEMBERS.iter().any(|(name, _)| *name == member) {
        return Err(invalid::<T>(&member));
    }
    let text = error.to_string();
    let said = |begin: &str| T::MEMBERS.iter().find(|(name, _)| text.starts_with(&format!("{begin} `{name}`")));
    let names: Vec<&str> = T::MEMBERS.iter().map(|(name, _)| *name).collect();
    let detail = match (said("missing field"), said("duplicate field")) {
        (Some((name, expected)), _) => format!("{name}: it is missing; {expected}."),
        (None, Some((name, _))) => format!("{name}: it is given twice."),
        (None, None) if text.starts_with("unknown field") && names.is_empty() => "The body must be {}.".to_owned(),
        (None, None) if text.starts_with("unknown field") => {
            format!("There is a member that is none of {}.", names.join(", "))
        }
        (None, None) => NO_OBJECT.to_owned(),
    };
    Err(problem(StatusCode::UNPROCESSABLE_ENTITY, &detail))
}

/// The refusal of a member, with what it must be.
pub(super) fn invalid<T: Members>(member: &str) -> Response {
    let known = T::MEMBERS.iter().find(|(name, _)| *name == member);
    let detail = known.map_or_else(String::new, |(name, expected)| format!("{name}: {expected}."));
    problem(StatusCode::UNPROCESSABLE_ENTITY, &detail)
}

/// `application/json`, or another type in JSON (RFC 6839 §3.1).
fn is_json(headers: &HeaderMap) -> bool {
    let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let subtype = essence.strip_prefix("application/");
    subtype.is_some_and(|subtype| subtype == "json" || subtype.ends_with("+json"))
}

/// An empty body is none; any other must be JSON.
impl<S: Send + Sync, T: DeserializeOwned + Members> OptionalFromRequest<S> for Body<T> {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Option<Self>, Response> {
        let may_be_none = !request.headers().contains_key(CONTENT_TYPE) || is_json(request.headers());
        if may_be_none && request.body().size_hint().exact() == Some(0) {
            return Ok(None);
        }
        <Self as FromRequest<S>>::from_request(request, state).await.map(Some)
    }
}

impl<S: Sync> FromRequestParts<S> for QueryParams<ListKeys> {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Response> {
        let list = ListKeys::parse(parts.uri.query().unwrap_or_default());
        list.map(Self).map_err(|detail| problem(StatusCode::BAD_REQUEST, &detail))
    }
}
